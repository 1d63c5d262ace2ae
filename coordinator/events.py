"""What the events of a fleet's history say, in one form for all who read them.

Strangers may have written them, and people change archives by hand: what cannot be read is none.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, SkipValidation, model_validator

from coordinator.clock import LAST_MS
from coordinator.history import Line
from coordinator.keys import Kind, RecordKey
from coordinator.messages import Id
from coordinator.payloads import RecordId, Sha256, Verdict, Version, Word

SESSION_CHANGES = ("opened", "active", "completed", "failed", "cancelled", "declined", "expired")
UNIT_CHANGES = ("assigned", "completed", "failed", "lost", "cancelled")


class _Part(BaseModel):
    """Types are strict, so that "1" is no number; further fields are let through."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class FleetEvent(_Part):
    """Event ``n`` of the history: something that happened to ``ai`` (ms since 1970). ``event`` is
    its kind, and ``data`` all that was written of it."""

    n: int
    event: str
    ai: str
    ms: int = Field(ge=0, le=LAST_MS)
    data: SkipValidation[dict[str, Any]] = Field(repr=False)


class Origin(_Part):
    """The record ``name``, ``<kind>:<id>``, from which another one was begun; a use if by others
    than its ``contributors``."""

    name: str
    contributors: list[Id] = []
    is_use: bool = False


class Shared(FleetEvent):
    """``ai`` shared a record. ``origins`` is None if this revision names none: it keeps those that
    it had. ``hash`` is "" for a pattern."""

    ai: Id
    kind: Kind
    id: RecordId
    specialization: Word
    contributors: list[Id] = Field(min_length=1)
    record: dict[str, Any]
    hash: Sha256 | Literal[""] = ""
    origins: list[Origin] | None = None

    @property
    def record_key(self) -> RecordKey:
        return RecordKey(self.kind, self.id)


class _OfComponent(FleetEvent):
    """What is told of a record that can be validated."""

    kind: Literal["component", "feature"]
    component_id: RecordId

    @property
    def record_key(self) -> RecordKey:
        return RecordKey(self.kind, self.component_id)


class Validated(Verdict, _OfComponent):
    """There is a verdict on a record while it was what ``hash`` is of."""

    model_config = ConfigDict(extra="ignore")

    hash: Sha256
    contributors: list[Id] = Field(min_length=1)
    validator: Id | None
    regression: bool = False

    @cached_property
    def found(self) -> dict[str, Any]:
        """The verdict alone, all of it."""
        of_record = ("kind", "component_id", "hash", "contributors")
        return {name: value for name, value in self.data.items() if name not in of_record}


class ValidationLost(_OfComponent):
    """The job of a record that waits for its verdict was lost: it is queued again."""


class ValidationKept(_OfComponent):
    """A record was not measured again, and keeps its verdict."""


class EvaluatorChanged(FleetEvent):
    """``problem`` is measured by that ``version`` from now on."""

    problem: Word
    version: Version


class Retracted(FleetEvent):
    """The records of that id were taken back."""

    id: RecordId
    kinds: list[Kind]

    @property
    def record_keys(self) -> list[RecordKey]:
        return [RecordKey(kind, self.id) for kind in self.kinds]


class Credited(FleetEvent):
    """The contribution score that ``ai`` has now."""

    contribution_score: FiniteFloat


class Joined(FleetEvent):
    """``ai`` is there, and what it says of itself."""

    specialization: str
    capabilities: list[str] = []


class Left(FleetEvent):
    """``ai`` is there no more."""

    reason: str = ""


class Refused(FleetEvent):
    """A message of ``ai`` was refused."""

    code: str
    detail: str = ""


class ToldSession(_Part):
    """A session as an event tells of it (``work.Session``)."""

    id: str
    type: str
    initiator: str
    state: str
    created_ms: int
    target: str | None = None
    description: str = ""
    requirements: dict[str, Any] = {}
    in_reply_to: str = ""
    participants: list[str] = []
    refusals: int = 0
    units: list[str] = []
    progress: FiniteFloat = 0.0
    began_ms: int | None = None
    ended_ms: int | None = None
    reason: str = ""
    component_id: str | None = None
    result: dict[str, Any] | None = None


class SessionChanged(FleetEvent):
    """What became of a session: one of SESSION_CHANGES, after ``session_``."""

    session: ToldSession


class ToldAttempt(_Part):
    """One try at a unit (``work.Attempt``)."""

    ai: str
    began_ms: int
    ended_ms: int | None = None
    outcome: str = ""
    reason: str = ""


class ToldUnit(_Part):
    """A unit as an event tells of it (``work.Unit``)."""

    id: str
    session_id: str
    name: str
    kind: str
    state: str = ""
    attempts: list[ToldAttempt]


class UnitChanged(FleetEvent):
    """What became of a unit: one of UNIT_CHANGES, after ``unit_``, of the try ``attempt``, from 1.
    ``output`` is None unless it was completed."""

    unit: ToldUnit
    attempt: int = Field(ge=1)
    output: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_that_attempt(self) -> UnitChanged:
        if self.attempt > len(self.unit.attempts):
            raise ValueError(f"the unit has no attempt {self.attempt}")
        return self

    @property
    def tried(self) -> ToldAttempt:
        """The attempt that it tells of."""
        return self.unit.attempts[self.attempt - 1]


MODELS: dict[str, type[FleetEvent]] = {
    "shared": Shared,
    "validated": Validated,
    "validation_lost": ValidationLost,
    "validation_kept": ValidationKept,
    "evaluator_changed": EvaluatorChanged,
    "retracted": Retracted,
    "credited": Credited,
    "joined": Joined,
    "left": Left,
    "refused": Refused,
    **{f"session_{change}": SessionChanged for change in SESSION_CHANGES},
    **{f"unit_{change}": UnitChanged for change in UNIT_CHANGES},
}
"""What each kind of event that is read says; of the others there is the text."""


def read_event(line: Line) -> FleetEvent | None:
    """What the event says, of the class in MODELS; None for a line that is none, and for an event
    of another kind. Raises ValueError for one that is not as the coordinator writes it."""
    if line.kind != "event":
        return None
    event, data = line.data["event"], line.data["data"]
    model = MODELS.get(event)
    if model is None:
        return None
    if not isinstance(data, dict):
        raise ValueError("its data is no JSON object")
    head = {"n": line.n, "event": event, "ai": line.data["ai"], "ms": line.ms, "data": data}
    return model.model_validate(data | head)


def parse_event(line: Line) -> FleetEvent | None:
    """As ``read_event``; None also for what cannot be read."""
    try:
        return read_event(line)
    except ValueError:
        return None
