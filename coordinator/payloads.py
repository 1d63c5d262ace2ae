"""What each message type carries. Fields beyond these are kept and passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from coordinator.errors import BadMessage
from coordinator.messages import (
    RECORD_ID_PATTERN,
    SHA256_PATTERN,
    WORD_PATTERN,
    Cursor,
    Id,
    describe,
)

MAX_PARTICIPANTS = 16
MAX_UNITS = 256

Role = Literal["trainer", "validator", "observer", "operator"]
VerdictWord = Literal["passed", "failed", "compiled", "not_validated"]
"""What a validation may end with. Only ``passed`` has a score; ``compiled`` was not measured."""

Word = Annotated[str, Field(pattern=WORD_PATTERN)]
RecordId = Annotated[str, Field(pattern=RECORD_ID_PATTERN)]
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]
Version = Annotated[str, Field(max_length=128)]
Name = Annotated[str, Field(max_length=200)]
Instance = Annotated[str, Field(max_length=128)]
SessionId = Annotated[str, Field(min_length=1, max_length=64)]


class Payload(BaseModel):
    """Types are strict, so that "1" is no number; further fields are let through."""

    model_config = ConfigDict(extra="allow", strict=True)


P = TypeVar("P", bound=Payload)


class Hello(Payload):
    """An AI introduces itself; ``cursor`` is how far it has read, if it was here before.

    ``skills`` are the kinds of units that its worker runs; one without a worker has none.
    ``evaluators`` are a validator's: by problem, the version of what it measures that by.
    """

    specialization: Word = "general"
    capabilities: list[Word] = Field(default_factory=list, max_length=64)
    version: Any = None
    features_supported: list[str] = Field(default_factory=list, max_length=64)
    skills: list[Word] = Field(default_factory=list, max_length=64)
    collaboration_ready: bool = True
    evaluators: dict[Word, Version] | None = Field(None, max_length=64)
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


class Verdict(Payload):
    """How a component's validation ended, and by what it was measured.

    ``reason`` says why it did not pass. ``score`` is the part of the gap between ``costs`` of the
    baseline and of the bound that was closed, 1 being all of it; it may be below 0. ``workload`` is
    a fingerprint of what it was measured on, ``sandbox`` what it ran in, ``tests`` those of its own
    tests that passed, ``not_run`` those that are no code. ``dropped`` are the scenarios without a
    gap, which count nowhere.
    """

    verdict: VerdictWord
    reason: str = Field("", max_length=500)
    problem: str = Field("", max_length=100)
    evaluator: str = Field("", max_length=128)
    workload: str = Field("", max_length=64)
    score: FiniteFloat | None = Field(None, le=1)
    costs: dict[Word, FiniteFloat] = Field(default_factory=dict, max_length=8)
    cost_unit: str = Field("", max_length=100)
    sandbox: str = Field("", max_length=200)
    limits: dict[Word, FiniteFloat] = Field(default_factory=dict, max_length=16)
    timings: dict[Word, FiniteFloat] = Field(default_factory=dict, max_length=32)
    tests: list[Name] = Field(default_factory=list, max_length=100)
    not_run: list[Name] = Field(default_factory=list, max_length=64)
    dropped: list[Name] = Field(default_factory=list, max_length=64)

    @model_validator(mode="after")
    def _is_measured_if_passed(self) -> Verdict:
        if (self.verdict == "passed") != (self.score is not None):
            raise ValueError(
                f"a score belongs to the verdict passed and to no other, and is {self.score} with "
                f"{self.verdict}"
            )
        if self.verdict == "passed" and not self.problem:
            raise ValueError("what passed names the problem that it was measured by")
        return self


class ValidationResult(Verdict):
    """The verdict on the record of that id while it was what ``hash`` is of."""

    kind: Literal["component", "feature"]
    component_id: RecordId
    hash: Sha256
    attempt: int = Field(ge=1)


class PerformanceReport(Payload):
    """What the sender measured of a component, metric by metric."""

    component_id: RecordId
    performance: dict[str, FiniteFloat] = Field(min_length=1, max_length=256)


class PlannedUnit(Payload):
    """A unit of an initiator's own plan; ``needs`` names units that stand before it.

    ``participant`` is whose turn it is: 0 the initiator, then the others as they said yes.
    """

    name: Word
    kind: Word
    needs: list[Word] = Field(default_factory=list, max_length=256)
    inputs: dict[str, Any] = Field(default_factory=dict)
    participant: int | None = Field(None, ge=0, lt=MAX_PARTICIPANTS)
    limit_s: FiniteFloat | None = Field(None, ge=1, le=86_400)
    tries: int | None = Field(None, ge=1, le=20)


class CollaborationRequest(Payload):
    """Work for several. ``participants`` is how many are looked for, the sender included; with a
    ``plan`` the units are these, without one those of the type."""

    type: Literal["feature_development", "cross_specialization", "performance_optimization"]
    target_ai: str = Field("", max_length=64)
    description: str = Field("", max_length=2000)
    expertise_offered: list[str] = Field(default_factory=list, max_length=64)
    seeking_expertise: list[str] = Field(default_factory=list, max_length=64)
    requirements: dict[str, Any] = Field(default_factory=dict)
    participants: int = Field(2, ge=1, le=MAX_PARTICIPANTS)
    plan: list[PlannedUnit] | None = Field(None, min_length=1, max_length=MAX_UNITS)


class CollaborationResponse(Payload):
    """Yes or no to a collaboration, with the reason for a no."""

    session_id: SessionId
    accept: bool
    reason: str = Field("", max_length=500)


class FeatureRequest(Payload):
    """Somebody lacks a feature."""

    feature: RecordId
    requirements: dict[str, Any] = Field(default_factory=dict)


class FeatureResponse(Payload):
    """What an AI says to a feature that it was assigned: only a no needs to be said."""

    request_id: SessionId
    accept: bool
    reason: str = Field("", max_length=500)


class WorkspaceUpdate(Payload):
    """A value for all participants; ``expected_version`` is what it must be a change of, 0 for a
    key that is not there yet."""

    session_id: SessionId
    key: Word
    value: Any
    expected_version: int | None = Field(None, ge=0)


class WorkResult(Payload):
    """How an attempt at a unit goes (``running``) or ended. ``output`` is what it made,
    ``workspace`` what it puts into the shared workspace by that, ``reason`` why it failed."""

    session_id: SessionId
    unit_id: str = Field(max_length=64)
    attempt: int = Field(ge=1)
    outcome: Literal["running", "completed", "failed"]
    progress: FiniteFloat = Field(0.0, ge=0, le=1)
    output: dict[str, Any] = Field(default_factory=dict)
    workspace: dict[Word, Any] = Field(default_factory=dict, max_length=64)
    reason: str = Field("", max_length=500)


class Query(Payload):
    """A question; ``cursor`` is that of the page before."""

    what: Literal[
        "ais",
        "patterns",
        "components",
        "features",
        "benchmarks",
        "sessions",
        "units",
        "workspace",
        "counts",
    ]
    filter: dict[str, str] = Field(default_factory=dict, max_length=8)
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=128)


class ArtifactReference(Payload):
    """The sender has put an artifact into its own space: for ``target_ai``, or to ``share`` it with
    everybody, or else to keep it for itself."""

    artifact: Sha256
    bytes: int = Field(ge=0)
    name: str | None = Field(None, max_length=200)
    share: bool = False


class GatewayHeartbeat(Payload):
    """A gateway is there, listens at ``address``, and serves these instances of ``ais``; of its
    ``connections`` some may not have logged in."""

    address: str = Field(max_length=200)
    tls: bool = False
    connections: int = Field(0, ge=0)
    ais: dict[Id, Instance] = Field(max_length=1000)


class LoginRefused(Payload):
    """Somebody did not get in by a gateway, ``count`` times since it was last told."""

    ai_id: str = Field(max_length=200)
    address: str = Field(max_length=200)
    reason: str = Field(max_length=500)
    count: int = Field(1, ge=1)


def parse_payload(model: type[P], payload: dict[str, Any], where: str = "payload") -> P:
    """``payload``, which stands at ``where``, as ``model``. BadMessage ``bad_payload`` names the
    field and the rule."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        field, detail = describe(error, where)
        raise BadMessage("bad_payload", detail, field) from None
