"""Every key and channel of a fleet, on one page.

====================================  ======  =====================================================
key                                   type    holds
====================================  ======  =====================================================
<ns>:leader                           STRING  token of the active coordinator; expires
<ns>:standby                          ZSET    standing-by coordinators -> when each was last there
<ns>:fleet                            HASH    schema, epoch, epochs (history), run_id, log_n,
                                              log_bytes, events_n, events_bytes, credentials_n,
                                              pepper_id, restoring (JSON) until a restore is
                                              whole, restored (JSON) once it is
<ns>:totals                           HASH    messages committed, by type
<ns>:verdicts                         HASH    verdicts of validations, by their word
<ns>:metrics                          HASH    what the active coordinator tells of itself, once
                                              a second: commit_le_<seconds>, commit_count,
                                              commit_sum_s since it began; units (JSON): state ->
                                              how many, sessions (JSON): type -> state -> how
                                              many, of those that are open
<ns>:archives                         HASH    archive -> up to where it has stored log and events,
                                              epoch, ms (JSON)
<ns>:doors                            SET     names of the ingress streams
<ns>:gateways                         ZSET    gateway -> when it last spoke, ms
<ns>:gateway:<id>                     HASH    a gateway that is there: address; expires
<ns>:ingress:<door>                   STREAM  messages on their way in: body, instance, n, ai
<ns>:instance:<owner>/<instance>      STRING  last number taken from that instance; expires
<ns>:seen:<owner>/<instance>          LIST    message_ids last taken from one that does not number
                                              its messages; expires
<ns>:log                              STREAM  n-0: broadcasts
<ns>:events                           STREAM  n-0: all else that was committed
<ns>:inbox:<ai>                       STREAM  n-0: messages for one AI
<ns>:dead                             STREAM  messages that broke a handler
<ns>:ai:<ai>                          HASH    live registry record; expires with its heartbeats
<ns>:leases                           ZSET    live AI -> when its lease ends, ms
<ns>:member:<ai>                      HASH    what outlives a connection: profile, access (JSON),
                                              inbox_n, inbox_bytes, inbox_begins, draining,
                                              units_completed, units_failed,
                                              collaborations_completed, features_implemented,
                                              validations_since_ms, validations_queued,
                                              contribution_score
<ns>:enrolled                         SET     AIs that were ever enrolled
<ns>:credentials:<ai>                 HASH    key id -> credential (JSON): digest of a token, expiry
<ns>:capability:<c>                   SET     live AIs that have it
<ns>:specialization:<s>               SET     live AIs of it
<ns>:pattern|component|feature:<id>   HASH    record (JSON), specialization, contributor, timestamp,
                                              revision, in:<s> of each index that lists it,
                                              contributors (JSON) if it has several,
                                              origins (JSON): <kind>:<id> of each it began from;
                                              of a component and a feature: hash, hash_ms (since
                                              when), validating (JSON), validation (JSON),
                                              quality_score, credited (JSON) for it besides its
                                              contributors
<ns>:patterns|components|features     ZSET    id -> when it was last shared, ms
<ns>:patterns:<s> (and so on)         ZSET    the same, of one specialization
<ns>:patterns:of:<ai> (and so on)     ZSET    the same, of one contributor
<ns>:benchmarks:<component>           STREAM  performance reports
<ns>:validations                      ZSET    <kind>:<id> that waits for its verdict -> since when,
                                              ms
<ns>:best:components|features:<p>     ZSET    id -> quality_score of those that passed, of one
                                              problem
<ns>:evaluators                       HASH    problem -> version of what measures it
<ns>:derived:<kind>:<id>              ZSET    <kind>:<id> that builds on it -> 1, or 0 if it is of
                                              the same AI
<ns>:credit:<ai>                      HASH    own:<problem>, built:<ai>:<problem> -> what it is
                                              credited for (JSON)
<ns>:sessions                         ZSET    session -> when it ended, ms; inf while it is open
<ns>:session:<id>                     HASH    session (JSON); expires once it has ended, as do
<ns>:unit:<id>                        HASH    ... unit (JSON), attempt, output
<ns>:workspace:<session>              HASH    ... key -> value, version, by, ms (JSON)
<ns>:artifact:<ai>:<sha256>           STRING  what is too large for a message; expires. Shared with
                                              all: without an ai
<ns>:artifacts:<ai>                   HASH    sha256 -> what it put: bytes, ends_ms, copies (JSON);
                                              expires
====================================  ======  =====================================================

Channels: ``<ns>:broadcast`` and ``<ns>:to:<ai>``. RQ queues: ``<ns>.ai.<ai>`` and
``<ns>.validation``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["pattern", "component", "feature"]
KINDS: tuple[Kind, ...] = ("pattern", "component", "feature")
"""Kinds of record; RECORD_FIELD is what a share calls one, SYNC_MAP what a training_sync does."""
RECORD_FIELD: dict[Kind, str] = {"pattern": "pattern", "component": "code", "feature": "component"}
SYNC_MAP: dict[Kind, str] = {
    "pattern": "shared_patterns",
    "component": "shared_components",
    "feature": "collective_features",
}


class RecordKey(NamedTuple):
    """Which record. ``name`` is what sets and fields call it; as a string it is what people do."""

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.id}"

    @staticmethod
    def from_name(name: str) -> RecordKey | None:
        """None for what names no record; strangers may have written it."""
        kind, _, record_id = name.partition(":")
        return RecordKey(kind, record_id) if kind in KINDS else None


SHARED = ""
"""Whose space of artifacts everybody may read: nobody's."""

SCHEMA_VERSION = "1"
"""How the keys below are laid out; stored as ``schema`` in ``<ns>:fleet``."""


class Keys:
    """Names in one namespace; nothing else in coord spells a key."""

    def __init__(self, namespace: str = "coord") -> None:
        self.namespace = namespace
        self.leader = f"{namespace}:leader"
        self.standby = f"{namespace}:standby"
        self.fleet = f"{namespace}:fleet"
        self.totals = f"{namespace}:totals"
        self.verdicts = f"{namespace}:verdicts"
        self.metrics = f"{namespace}:metrics"
        self.archives = f"{namespace}:archives"
        self.doors = f"{namespace}:doors"
        self.gateways = f"{namespace}:gateways"
        self.log = f"{namespace}:log"
        self.events = f"{namespace}:events"
        self.dead = f"{namespace}:dead"
        self.leases = f"{namespace}:leases"
        self.enrolled = f"{namespace}:enrolled"
        self.sessions = f"{namespace}:sessions"
        self.validations = f"{namespace}:validations"
        self.evaluators = f"{namespace}:evaluators"
        self.validation_queue = f"{namespace}.validation"
        self.broadcast_channel = f"{namespace}:broadcast"

    def ingress(self, door: str) -> str:
        return f"{self.namespace}:ingress:{door}"

    def gateway(self, gateway_id: str) -> str:
        return f"{self.namespace}:gateway:{gateway_id}"

    def instance(self, owner: str, instance: str) -> str:
        return f"{self.namespace}:instance:{owner}/{instance}"

    def seen(self, owner: str, instance: str) -> str:
        return f"{self.namespace}:seen:{owner}/{instance}"

    def inbox(self, ai: str) -> str:
        return f"{self.namespace}:inbox:{ai}"

    def ai(self, ai: str) -> str:
        return f"{self.namespace}:ai:{ai}"

    def member(self, ai: str) -> str:
        return f"{self.namespace}:member:{ai}"

    def credentials(self, ai: str) -> str:
        return f"{self.namespace}:credentials:{ai}"

    def capability(self, capability: str) -> str:
        return f"{self.namespace}:capability:{capability}"

    def specialization(self, specialization: str) -> str:
        return f"{self.namespace}:specialization:{specialization}"

    def record(self, kind: Kind, record_id: str) -> str:
        return f"{self.namespace}:{kind}:{record_id}"

    def records(self, kind: Kind, specialization: str | None = None) -> str:
        suffix = f":{specialization}" if specialization else ""
        return f"{self.namespace}:{kind}s{suffix}"

    def records_of(self, kind: Kind, contributor: str) -> str:
        """No specialization is called so: there is no colon in one."""
        return f"{self.namespace}:{kind}s:of:{contributor}"

    def best(self, kind: Kind, problem: str) -> str:
        return f"{self.namespace}:best:{kind}s:{problem}"

    def derived(self, kind: Kind, record_id: str) -> str:
        return f"{self.namespace}:derived:{kind}:{record_id}"

    def credit(self, ai: str) -> str:
        return f"{self.namespace}:credit:{ai}"

    def benchmarks(self, component_id: str) -> str:
        return f"{self.namespace}:benchmarks:{component_id}"

    def session(self, session_id: str) -> str:
        return f"{self.namespace}:session:{session_id}"

    def unit(self, unit_id: str) -> str:
        return f"{self.namespace}:unit:{unit_id}"

    def workspace(self, session_id: str) -> str:
        return f"{self.namespace}:workspace:{session_id}"

    def artifact(self, ai: str, sha256: str) -> str:
        return f"{self.namespace}:artifact:{ai}:{sha256}"

    def artifacts(self, ai: str) -> str:
        return f"{self.namespace}:artifacts:{ai}"

    def channel(self, ai: str) -> str:
        return f"{self.namespace}:to:{ai}"

    def queue(self, ai: str) -> str:
        return f"{self.namespace}.ai.{ai}"

    def validator(self, ai: str) -> str:
        """By which RQ knows a validator; a trainer it knows by the name of its queue."""
        return f"{self.validation_queue}.{ai}"
