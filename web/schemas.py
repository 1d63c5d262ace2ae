"""What is told: one item of each endpoint, field by field."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from coordinator.keys import Kind
from coordinator.reads import Item


class Schema(BaseModel):
    """Moments are in ms since 1970 where a name ends in ``_ms``, else ISO 8601 in UTC."""

    model_config = ConfigDict(extra="forbid")


class Status(Schema):
    """How the fleet is, as `coord status --json` shows it."""

    connected_ais: int = Field(description="How many AIs are there.")
    ai_list: list[str] = Field(description="The first `limit` of their ids.")
    total_messages: int = Field(description="Messages since the fleet began.")
    shared_patterns: int
    shared_components: int
    collective_features: int
    open_validations: int = Field(description="Records that wait for their verdict.")
    active_collaborations: int = Field(description="Collaborations that are open.")
    open_feature_requests: int
    units: dict[str, int] = Field(description="Units of open sessions, by state.")
    performance_reports: int = Field(
        description="Those that were sent since the fleet began, or was restored."
    )
    messages_by_type: dict[str, int]
    coordinator: Item = Field(
        description="Who is active, its lease, who stands by, the gateways, the epoch, what waits"
        " in the ingress, how far log and events are, dead letters."
    )
    archives: list[Item] = Field(description="As `/archives` tells them.")
    server: Item = Field(description="What the Redis server says of itself.")
    ais: list[Item] = Field(description="The first `limit` AIs.")
    queues: list[Item] = Field(description="RQ's queues of the fleet, the first `limit`.")
    workers: list[Item] = Field(description="RQ's workers on them, the first `limit`.")


class Ai(Schema):
    """An AI that is there."""

    ai_id: str
    specialization: str
    capabilities: list[str]
    status: str = Field(description="What it says of itself.")
    load: float = Field(description="What it says of itself, 0 to 1.")
    instance: str = Field(description="One start of one process.")
    door: str = Field(description="By which ingress it comes in.")
    joined_ms: int
    heartbeat_ms: int = Field(description="When it was last heard of.")
    units_completed: int
    units_failed: int
    collaborations_completed: int
    features_implemented: int
    contribution_score: float = Field(description="What its work was worth; see operations.md.")


class Pattern(Schema):
    """A shared pattern; its scores are what its contributor claims."""

    id: str
    specialization: str
    contributor: str
    timestamp: str
    revision: int
    usage_count: int = Field(description="How many records of other AIs began from it.")
    pattern: Item = Field(description="The record as it was shared.")


class _ValidatedRecord(Schema):
    id: str
    specialization: str
    contributor: str
    timestamp: str
    revision: int
    usage_count: int = Field(description="How many records of others began from it since it passed")
    quality_score: float | None = Field(description="What a validator measured; null without.")
    integration_tested: bool = Field(description="Whether it passed its validation.")
    validation: Item | None = Field(description="All that a validator found; null if none looked.")


class Component(_ValidatedRecord):
    """A shared component."""

    code: Item = Field(description="The record as it was shared; code in it was run by nobody.")


class Feature(_ValidatedRecord):
    """A component that was made for a feature request."""

    component: Item = Field(description="The record as it was shared.")
    performance_benchmarks: Item


class RankedRecord(_ValidatedRecord):
    """A component or feature that passed, the best of its problem first."""

    kind: Kind
    code: Item | None = Field(None, description="Of a component.")
    component: Item | None = Field(None, description="Of a feature.")
    performance_benchmarks: Item | None = None


class Benchmark(Schema):
    """What an AI says to have measured of a component."""

    reporter: str
    timestamp: str
    metrics: Item


class Session(Schema):
    """A collaboration or feature request."""

    id: str
    type: str
    initiator: str
    description: str
    target: str | None = Field(description="The one AI that was asked, if one was.")
    wanted: int = Field(description="How many participants are looked for.")
    requirements: Item
    created_ms: int
    in_reply_to: str
    state: str
    refusals: int
    declined: dict[str, str] = Field(description="Some of those who said no, and why.")
    participants: list[str]
    units: list[str]
    units_planned: int
    progress: float
    began_ms: int | None
    ended_ms: int | None
    reason: str = Field(description="Why it ended as it did.")
    component_id: str | None
    result: Item | None = Field(description="What those who did the work tell of it.")


class Unit(Schema):
    """A piece of a session's work."""

    id: str
    session_id: str
    name: str
    kind: str = Field(description="The skill that runs it.")
    participant: str | None = Field(description="Whose turn it is by the plan.")
    needs: list[str] = Field(description="Units whose outputs it waits for.")
    inputs: Item
    limit_s: float
    tries: int
    state: str
    progress: float
    attempts: list[Item] = Field(description="ai, began_ms, ended_ms, outcome and reason of each.")
    attempt: int = Field(description="The number of the present attempt.")
    output: Item | None


class WorkspaceEntry(Schema):
    """A value that the participants of a session share."""

    key: str
    value: Any
    version: int
    by: str
    ms: int


class Lineage(Schema):
    """Records around one, by `<kind>:<id>`: what they came from and what came of them."""

    id: str
    roots: list[str]
    nodes: dict[str, Item]
    edges: list[Item] = Field(description="parent, child, and is_use: whether of another AI.")
    is_cut: bool = Field(description="Whether there are more.")


class Counts(Schema):
    """How many there are of everything."""

    ais: int
    patterns: int
    components: int
    features: int
    open_validations: int
    messages: int
    messages_by_type: dict[str, int]


class Problem(Schema):
    """What is trained for, and the best that passed."""

    name: str
    specializations: list[str]
    decides: str
    workload: str
    cost_unit: str
    baseline: str
    bound: str
    best: Item | None = Field(description="kind, id, contributor, quality_score, validation.")


class Member(Schema):
    """Who is enrolled, for what, and by which tokens; never a token or its digest."""

    ai_id: str
    role: str
    specializations: list[str] | None = Field(description="Null: any.")
    message_types: list[str] | None = Field(description="Null: any of its role.")
    is_revoked: bool
    is_here: bool
    tokens: list[Item] = Field(description="key_id, created_ms, expires_ms, is_weak, is_live.")


class DeadLetter(Schema):
    """A message that broke its handler."""

    id: str
    at: str
    owner: str
    door: str
    message_type: str | None
    error: str
    body: str = Field(description="The beginning of the message.")


class AuditEntry(Schema):
    """Who was let in, what was refused, what operators did."""

    n: int = Field(description="Its number among the events.")
    at: str
    kind: str
    ai: str
    text: str
    data: Item


class HistoryLine(BaseModel):
    """A message with its envelope, an event, a gap (what retention had cut), or a new epoch."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["message", "event", "gap", "epoch"]
    source: Literal["log", "events"]
    n: int = Field(description="Its number in its stream; of a gap the last that is missing.")
    epoch: str
    first: int | None = Field(None, description="Of a gap, the first that is missing.")
    ms: int | None = None


class Archive(Schema):
    """An archive that follows the fleet, and how far it has come."""

    id: str
    log: int = Field(description="The last number of the log that it has stored.")
    events: int = Field(description="The same of the events.")
    behind: int = Field(description="So many entries of both it has not stored yet.")
    seen_age_ms: int = Field(description="How long ago it was last heard of.")
