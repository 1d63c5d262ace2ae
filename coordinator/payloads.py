"""What each message type carries. Fields beyond these are kept and passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from coordinator.errors import BadMessage
from coordinator.messages import (
    LETTER_ID_PATTERN,
    RECORD_ID_PATTERN,
    WORD_PATTERN,
    Cursor,
    Id,
    describe,
)

Word = Annotated[str, Field(pattern=WORD_PATTERN)]
RecordId = Annotated[str, Field(pattern=RECORD_ID_PATTERN)]


class Payload(BaseModel):
    """Types are strict, so that "1" is no number; further fields are let through."""

    model_config = ConfigDict(extra="allow", strict=True)


P = TypeVar("P", bound=Payload)


class Hello(Payload):
    """An AI introduces itself; ``cursor`` is how far it has read, if it was here before."""

    specialization: Word = "general"
    capabilities: list[Word] = Field(default_factory=list, max_length=64)
    version: Any = None
    features_supported: list[str] = Field(default_factory=list, max_length=64)
    collaboration_ready: bool = True
    cursor: Cursor | None = None


class Heartbeat(Payload):
    """Clients of all ages send it with whatever payload: none is refused."""

    load: Any = None
    status: Any = None


class Goodbye(Payload):
    """An AI leaves."""

    reason: str = Field("", max_length=500)


class Pattern(Payload):
    """What somebody learned; ``confidence`` is a claim."""

    id: RecordId | None = None
    type: str | None = None
    confidence: FiniteFloat | None = None
    specialization: Word | None = None


class PatternShare(Payload):
    """A pattern for all, or for ``target_ai``."""

    pattern: Pattern


class Code(Payload):
    """A component as source text."""

    id: RecordId | None = None
    name: str | None = None
    language: str | None = None
    specialization: Word | None = None
    code: str | None = None
    dependencies: list[Any] = Field(default_factory=list)


class CodeShare(Payload):
    """Code for all, or for ``target_ai``."""

    code: Code


class Component(Payload):
    """A feature's component, in whatever shape its maker gives it."""

    id: RecordId | None = None
    name: str | None = None
    component_name: str | None = None
    specialization: Word | None = None


class ComponentShare(Payload):
    """A component; the other fields tell which request or session it answers."""

    component: Component
    original_requestor: Id | None = None
    feature_name: str | None = None
    session_id: str | None = None
    collaboration_complete: bool = False


class PerformanceReport(Payload):
    """What the sender measured of a component, metric by metric."""

    component_id: RecordId
    performance: dict[str, FiniteFloat] = Field(min_length=1, max_length=256)


class Query(Payload):
    """A question; ``cursor`` is that of the page before."""

    what: Literal["ais", "patterns", "components", "features", "benchmarks", "counts"]
    filter: dict[str, str] = Field(default_factory=dict, max_length=8)
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=128)


class Retract(Payload):
    """An operator takes a record back."""

    id: RecordId


class DeadLetter(Payload):
    """An operator has a dead letter tried again, or dropped. ``id`` is its stream id."""

    id: str = Field(pattern=LETTER_ID_PATTERN)


def parse_payload(model: type[P], payload: dict[str, Any]) -> P:
    """``payload`` as ``model``. BadMessage ``bad_payload`` names the field and the rule."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        field, detail = describe(error, "payload")
        raise BadMessage("bad_payload", detail, field) from None
