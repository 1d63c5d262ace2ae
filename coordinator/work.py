"""What a fleet works on together: sessions, and the units that they are divided into."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from coordinator.clock import LAST_MS

SessionState = Literal[
    "pending", "active", "completed", "failed", "cancelled", "declined", "expired"
]
UnitState = Literal["waiting", "queued", "running", "completed", "failed", "cancelled"]

FEATURE_REQUEST = "feature_request"
ID_LENGTH = 12
"""Of a session's id: short enough to be typed, and nobody guesses 48 random bits."""
OPEN_STATES = ("pending", "active")
END_STATES = ("completed", "failed", "cancelled", "declined", "expired")
"""Of a session; the first three of a unit, too."""
ASSIGNED_STATES = ("queued", "running")

Ms = Annotated[int, Field(ge=0, le=LAST_MS)]
"""A moment, since 1970."""
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(slots=True)
class Attempt:
    """One try at a unit: whose it is, from when to when (ms since 1970), and how it ended.

    ``outcome`` is "" while it lasts, then completed, failed, lost (its AI went) or cancelled.
    """

    ai: str
    began_ms: Ms
    ended_ms: Ms | None = None
    outcome: str = ""
    reason: str = ""


@dataclass(slots=True)
class Unit:
    """A piece of a session's work that one AI does, as one RQ job an attempt.

    ``kind`` names the skill that runs it, ``participant`` whose turn it is by the plan, ``needs``
    the ids of the units whose outputs it waits for. The n-th of ``attempts`` is attempt n; all
    but the last have ended. Two are on the clock that never steps: ``running_since_s``, since when
    the present attempt is known to run, and ``unowned_since_s``, since when the unit could run and
    nobody was there who can.
    """

    id: str
    session_id: str
    name: str
    kind: str
    participant: str | None
    needs: list[str]
    inputs: dict[str, Any]
    limit_s: float
    tries: int
    state: UnitState = "waiting"
    progress: Share = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    running_since_s: float | None = None
    unowned_since_s: float | None = None

    @property
    def attempt(self) -> int:
        """The number of the present attempt, from 1; 0 before the first."""
        return len(self.attempts)

    @property
    def assignee(self) -> str | None:
        """The AI that has it now."""
        return self.attempts[-1].ai if self.state in ASSIGNED_STATES else None

    @property
    def failures(self) -> int:
        """Attempts that failed; those that were lost with their AI do not count."""
        return sum(attempt.outcome == "failed" for attempt in self.attempts)

    def to_json(self) -> str:
        return _to_json(self, without=_UNIT_CLOCKS)

    def told(self) -> dict[str, Any]:
        """The unit as it is now for the history, which does without its inputs."""
        attempts = [asdict(attempt) for attempt in self.attempts]
        return _fields_of(self, without=(*_UNIT_CLOCKS, "inputs")) | {"attempts": attempts}

    @staticmethod
    def from_json(text: str | bytes) -> Unit:
        """ValueError for what is no unit."""
        return _UNIT.validate_json(text)


@dataclass(slots=True)
class Session:
    """Work that several AIs agreed on, or a feature that one asked for (FEATURE_REQUEST).

    Of a collaboration ``participants`` are those who said yes, the initiator first; of a feature
    request those it is assigned to. ``wanted`` is how many are looked for, ``in_reply_to`` the
    request's message_id, ``refusals`` how many said no, of which ``declined`` tells some with
    their reasons. ``plan`` is what the initiator wants done if not what the type stands for,
    ``workspace`` the version and the bytes of each key of the shared workspace. ``deadline_s`` is
    on the clock that never steps.
    """

    id: str
    type: str
    initiator: str
    description: str
    target: str | None
    wanted: int
    requirements: dict[str, Any]
    created_ms: Ms
    in_reply_to: str
    plan: list[dict[str, Any]] | None = None
    state: SessionState = "pending"
    refusals: int = 0
    declined: dict[str, str] = field(default_factory=dict)
    participants: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    units_planned: int = 0
    progress: Share = 0.0
    began_ms: Ms | None = None
    ended_ms: Ms | None = None
    reason: str = ""
    component_id: str | None = None
    result: dict[str, Any] | None = None
    workspace: dict[str, tuple[int, int]] = field(default_factory=dict)
    deadline_s: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def is_feature(self) -> bool:
        return self.type == FEATURE_REQUEST

    @property
    def feature(self) -> str:
        """What is asked for: only a feature request says it."""
        return str(self.requirements.get("feature", ""))

    def to_json(self) -> str:
        return _to_json(self, without=_SESSION_CLOCKS)

    def told(self) -> dict[str, Any]:
        """The session as it is now for the history, which does without the plan and has the units
        themselves."""
        told = _fields_of(self, without=(*_SESSION_CLOCKS, "plan"))
        return told | {"participants": list(self.participants), "units": list(self.units)}

    @staticmethod
    def from_json(text: str | bytes) -> Session:
        """ValueError for what is no session."""
        return _SESSION.validate_json(text)


_UNIT, _SESSION = TypeAdapter(Unit), TypeAdapter(Session)
_UNIT_CLOCKS = ("running_since_s", "unowned_since_s")
_SESSION_CLOCKS = ("deadline_s",)
"""What is told on the clock that never steps: it means nothing to another process."""


def _to_json(value: Unit | Session, without: tuple[str, ...]) -> str:
    stored = _fields_of(value, without)
    return json.dumps(
        stored, default=asdict, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _fields_of(value: Unit | Session, without: tuple[str, ...]) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value) if f.name not in without}
