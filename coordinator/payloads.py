"""What each message type carries. Fields beyond these are kept and passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from coordinator.errors import BadMessage
from coordinator.messages import ID_PATTERN, ID_RULE, Cursor, Id, describe

WORD_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$"
RECORD_ID_PATTERN = r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,127}$"
LETTER_ID_PATTERN = r"^[0-9]{1,20}-[0-9]{1,20}$"

Word = Annotated[str, Field(pattern=WORD_PATTERN)]
RecordId = Annotated[str, Field(pattern=RECORD_ID_PATTERN)]

_PATTERN_RULES = {
    ID_PATTERN: f"is not an id: {ID_RULE}",
    WORD_PATTERN: "is not a word: 1 to 64 letters, digits, '_', '.', '+' or '-', beginning with a "
    "letter or digit",
    RECORD_ID_PATTERN: "is not a record's id: 1 to 128 characters, none of them a control "
    "character, not beginning with a space",
    LETTER_ID_PATTERN: "is not a dead letter's id, such as 1750000000000-0",
}


class Payload(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


P = TypeVar("P", bound=Payload)


class Hello(Payload):
    specialization: Word = "general"
    capabilities: list[Word] = Field(default_factory=list, max_length=64)
    version: Any = None
    features_supported: list[str] = Field(default_factory=list, max_length=64)
    collaboration_ready: bool = True
    cursor: Cursor | None = None


class Heartbeat(Payload):
    load: Any = None
    status: Any = None


class Goodbye(Payload):
    reason: str = Field("", max_length=500)


class Pattern(Payload):
    id: RecordId | None = None
    type: str | None = None
    confidence: FiniteFloat | None = None
    specialization: Word | None = None


class PatternShare(Payload):
    pattern: Pattern


class Code(Payload):
    id: RecordId | None = None
    name: str | None = None
    language: str | None = None
    specialization: Word | None = None
    code: str | None = None
    dependencies: list[Any] = Field(default_factory=list)


class CodeShare(Payload):
    code: Code


class Component(Payload):
    id: RecordId | None = None
    name: str | None = None
    component_name: str | None = None
    specialization: Word | None = None


class ComponentShare(Payload):
    component: Component
    original_requestor: Id | None = None
    feature_name: str | None = None
    session_id: str | None = None
    collaboration_complete: bool = False


class PerformanceReport(Payload):
    component_id: RecordId
    performance: dict[str, FiniteFloat] = Field(min_length=1, max_length=256)


class Query(Payload):
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
        field, detail = describe(error, "payload", _PATTERN_RULES)
        raise BadMessage("bad_payload", detail, field) from None
