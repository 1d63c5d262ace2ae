"""A run of a fleet, gathered from the lines of its history in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coordinator.events import (
    Origin,
    Refused,
    Retracted,
    Shared,
    UnitChanged,
    Validated,
    parse_event,
)
from coordinator.history import Line
from coordinator.keys import RecordKey

DAY_MS = 86_400_000
PASSED = "passed"
TO_ONE = "to one AI"
"""What messages that were not for all are counted as."""


class Share(NamedTuple):
    """That a record was shared; ``name`` is ``<kind>:<id>``, ``origins`` None where it names none
    anew."""

    ms: int
    name: str
    makers: tuple[str, ...]
    specialization: str
    origins: tuple[Origin, ...] | None


class Judgement(NamedTuple):
    """What was found of a record; ``score`` is the part of the gap that it closed, None unless it
    passed."""

    ms: int
    name: str
    makers: tuple[str, ...]
    word: str
    reason: str
    problem: str
    score: float | None
    found: Mapping[str, Any]

    @property
    def maker(self) -> str:
        return self.makers[0] if self.makers else ""


@dataclass
class Run:
    """What the lines tell, in their order. ``messages`` counts by type, ``units_done`` by session,
    ``refused`` what was refused by code, each with the senders."""

    first_ms: int = 0
    last_ms: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    shares: list[Share] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    origins: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    specializations: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    refused_for: dict[str, str] = field(default_factory=dict)
    units_done: Counter[str] = field(default_factory=Counter)
    gaps: list[Line] = field(default_factory=list)
    epochs: int = 0
    retracted: set[str] = field(default_factory=set)
    lines: int = 0

    def followed(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The same lines, each taken on its way."""
        for line in lines:
            self.take(line)
            yield line

    def take(self, line: Line) -> None:
        self.lines += 1
        if line.ms:
            self.first_ms = min(self.first_ms or line.ms, line.ms)
            self.last_ms = max(self.last_ms, line.ms)
        if line.kind == "gap":
            self.gaps.append(line)
        elif line.kind == "epoch":
            self.epochs += 1
        elif (message := line.envelope) is not None:
            self.messages[str(message["message_type"]) if line.source == "log" else TO_ONE] += 1
        else:
            self._take_event(line)

    def _take_event(self, line: Line) -> None:
        match parse_event(line):
            case Shared() as shared:
                self._take_share(shared)
            case Validated() as validated:
                self.judgements.append(_judgement(validated))
            case Retracted() as retracted:
                for key in retracted.record_keys:
                    self.retracted.add(key.name)
                    self.origins.pop(key.name, None)
            case UnitChanged(event="unit_completed", unit=unit):
                self.units_done[unit.session_id] += 1
            case Refused() as refused:
                self.refused.setdefault(refused.code, Counter())[refused.ai] += 1
                self.refused_for.setdefault(refused.code, refused.detail)

    def _take_share(self, shared: Shared) -> None:
        name = shared.record_key.name
        origins = None if shared.origins is None else tuple(shared.origins)
        share = Share(shared.ms, name, tuple(shared.contributors), shared.specialization, origins)
        self.shares.append(share)
        self.retracted.discard(name)
        self.specializations[name] = share.specialization
        if origins is not None:
            self.origins[name] = origins

    @property
    def is_short(self) -> bool:
        """Whether the time of the day tells when something was."""
        return self.last_ms - self.first_ms < DAY_MS

    @property
    def latest(self) -> dict[str, Judgement]:
        """The last judgement on each record that is still there."""
        found = {one.name: one for one in self.judgements}
        return {name: one for name, one in found.items() if name not in self.retracted}

    @property
    def measured(self) -> list[Judgement]:
        """Those that passed, by whom and when."""
        return [one for one in self.judgements if one.score is not None]


def _judgement(validated: Validated) -> Judgement:
    return Judgement(
        ms=validated.ms,
        name=validated.record_key.name,
        makers=tuple(validated.contributors),
        word=validated.verdict,
        reason=validated.reason,
        problem=validated.problem,
        score=validated.score if validated.verdict == PASSED else None,
        found=validated.found,
    )


def record_id(name: str) -> str:
    """The id in ``<kind>:<id>``."""
    key = RecordKey.from_name(name)
    return key.id if key else name
