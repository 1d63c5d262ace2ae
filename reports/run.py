"""A run of a fleet, gathered from the lines of its history in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coordinator.history import Line
from coordinator.keys import RecordKey
from coordinator.stored import finite_number

DAY_MS = 86_400_000
PASSED = "passed"
TO_ONE = "to one AI"
"""What messages that were not for all are counted as."""


class Origin(NamedTuple):
    """A record that another one began from; a use if it is another AI's."""

    name: str
    makers: tuple[str, ...]
    is_use: bool


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
    """What the lines tell, in their order. ``messages`` counts by type, ``refused`` what was
    refused by code, each with the senders."""

    first_ms: int = 0
    last_ms: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    shares: list[Share] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    origins: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    specializations: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    refused_for: dict[str, str] = field(default_factory=dict)
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
        elif line.kind == "message":
            self.messages[str(line.data.get("message_type"))] += 1
        else:
            self._take_event(line)

    def _take_event(self, line: Line) -> None:
        data = line.data.get("data")
        if not isinstance(data, dict):
            return
        match line.data.get("event"):
            case "message":
                self.messages[TO_ONE] += 1
            case "shared":
                self._take_share(line.ms, data)
            case "validated":
                self._take_judgement(line.ms, data)
            case "retracted":
                self._take_back(data)
            case "refused":
                code = str(data.get("code"))
                self.refused.setdefault(code, Counter())[str(line.data.get("ai"))] += 1
                self.refused_for.setdefault(code, str(data.get("detail")))

    def _take_share(self, ms: int, data: Mapping[str, Any]) -> None:
        name = f"{data.get('kind')}:{data.get('id')}"
        listed = data.get("origins")
        origins = None if listed is None else tuple(map(_origin, listed))
        share = Share(ms, name, _makers(data), str(data.get("specialization")), origins)
        self.shares.append(share)
        self.retracted.discard(name)
        self.specializations[name] = share.specialization
        if origins is not None:
            self.origins[name] = origins

    def _take_judgement(self, ms: int, data: Mapping[str, Any]) -> None:
        name = f"{data.get('kind')}:{data.get('component_id')}"
        word, score = str(data.get("verdict")), finite_number(data.get("score"))
        texts = (str(data.get("reason") or ""), str(data.get("problem") or ""))
        is_measured = word == PASSED and score is not None
        found = {name: value for name, value in data.items() if name not in ("limits", "timings")}
        given = Judgement(
            ms, name, _makers(data), word, *texts, score if is_measured else None, found
        )
        self.judgements.append(given)

    def _take_back(self, data: Mapping[str, Any]) -> None:
        for kind in data.get("kinds") or ():
            name = f"{kind}:{data.get('id')}"
            self.retracted.add(name)
            self.origins.pop(name, None)

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


def _makers(data: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(map(str, data.get("contributors") or ()))


def _origin(item: Mapping[str, Any]) -> Origin:
    return Origin(str(item.get("name")), _makers(item), bool(item.get("is_use")))


def record_id(name: str) -> str:
    """The id in ``<kind>:<id>``."""
    key = RecordKey.from_name(name)
    return key.id if key else name
