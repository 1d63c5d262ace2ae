"""What the only writer keeps in memory: live AIs, open work, the last number of all numbered."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from coordinator.doors import Speaker
from coordinator.enrolment import Access
from coordinator.epochs import Begin
from coordinator.history import Cursor
from coordinator.keys import RecordKey
from coordinator.validation.models import Judged, OpenValidation
from coordinator.work import Session, Unit

MAX_INSTANCES = 20_000
MAX_AWAY_MEMBERS = 10_000
SEEN_KEPT = 1000
"""So many message_ids are remembered of an instance that does not number its messages."""
MAX_SEEN = 200_000
MAX_RECORDS = 20_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class Numbered:
    """A stream with ids 1-0, 2-0, ...: its last number, and all bytes ever appended to it."""

    n: int = 0
    total_bytes: int = 0

    def append(self, size_bytes: int) -> int:
        """The number of the next entry, of ``size_bytes``."""
        self.n += 1
        self.total_bytes += size_bytes
        return self.n


@dataclass(slots=True)
class Member(Numbered):
    """What of an AI outlives its connection; the numbers and bytes are those of its inbox.

    ``begins`` tells where those epochs began in which the inbox was written to, oldest first.
    ``has_joined`` says that it once did, so that others may write to it while it is away;
    ``checked_bytes`` is what ``total_bytes`` was when retention last looked. The units are those
    it brought to an end, and those it failed. One that ``is_draining`` is given no more work.
    ``access`` is None for one that was never enrolled. Since ``validations_since_ms`` so many of
    its components were queued for validation as ``validations_queued`` says.
    """

    begins: list[Begin] = field(default_factory=list)
    has_joined: bool = False
    checked_bytes: int = 0
    units_completed: int = 0
    units_failed: int = 0
    is_draining: bool = False
    access: Access | None = None
    validations_since_ms: int = 0
    validations_queued: int = 0

    @property
    def is_known(self) -> bool:
        """Whether others may write to it, also while it is away."""
        return self.has_joined or self.access is not None

    @property
    def takes_part(self) -> bool:
        """Whether it could answer who asks for a collaboration."""
        return self.access is None or self.access.may_send("collaboration_response")

    @property
    def takes_work(self) -> bool:
        """Whether it is given units, and could say what became of them."""
        may_work = self.access is None or self.access.may_send("work_result")
        return may_work and not self.is_draining


class Loaded(dict[K, V]):
    """What Redis has, as far as it was needed. What is not in memory is loaded where it is asked
    for, so that nothing is guessed; ``prefetch`` loads many at once."""

    def __init__(self, load: Callable[[list[K]], dict[K, V]]) -> None:
        super().__init__()
        self._load = load

    def __missing__(self, key: K) -> V:
        self.prefetch([key])
        return self[key]

    def prefetch(self, keys: Iterable[K]) -> None:
        missing = [key for key in dict.fromkeys(keys) if key not in self]
        if missing:
            self.update(self._load(missing))


@dataclass(slots=True)
class ArchiveMark:
    """Up to where an archive has stored the history.

    ``heard_ms`` is when it said so; since ``waits_since_s``, on the clock that never steps, another
    word of it is waited for.
    """

    cursor: Cursor
    heard_ms: int
    waits_since_s: float = 0.0


def _new_members() -> Loaded[str, Member]:
    return Loaded(lambda ais: {ai: Member() for ai in ais})


def _no_contributors() -> Loaded[RecordKey, tuple[str, ...]]:
    return Loaded(lambda records: dict.fromkeys(records, ()))


def _no_origins() -> Loaded[RecordKey, tuple[RecordKey, ...]]:
    return Loaded(lambda records: dict.fromkeys(records, ()))


def _nothing_judged() -> Loaded[RecordKey, Judged]:
    return Loaded(lambda records: dict.fromkeys(records, Judged()))


@dataclass(slots=True)
class Ai:
    """A live AI. ``door`` and ``instance`` are those of its hello. ``_ms`` are milliseconds since
    1970; ``lease_ends_s`` is on the clock that never steps, and decides."""

    id: str
    specialization: str
    capabilities: list[str]
    instance: str
    door: str
    profile: dict[str, Any]
    joined_ms: int
    heartbeat_ms: int
    lease_ends_ms: int
    lease_ends_s: float
    status: str = "ready"
    load: float = 0.0

    @property
    def skills(self) -> list[str]:
        """The kinds of units that its worker can run."""
        skills: list[str] = self.profile.get("skills", [])
        return skills


@dataclass
class Fleet:
    """Everything the coordinator holds of a fleet; all of it can be read from Redis again.

    ``contributors`` are those of a record, the first one first, ``origins`` what it says that it
    began from, ``judged`` what is known of its worth. ``waiting`` are the records whose validation
    is open, ``jobless`` those of them without a job, ``evaluators`` the version of what measures
    each problem. ``sessions`` are the open ones, ``units`` all of theirs,
    ``assigned`` how many units each AI has now.
    """

    epoch: str = ""
    run_id: str = ""
    begins: list[Begin] = field(default_factory=list)
    log: Numbered = field(default_factory=Numbered)
    events: Numbered = field(default_factory=Numbered)
    ais: dict[str, Ai] = field(default_factory=dict)
    members: Loaded[str, Member] = field(default_factory=_new_members)
    contributors: Loaded[RecordKey, tuple[str, ...]] = field(default_factory=_no_contributors)
    origins: Loaded[RecordKey, tuple[RecordKey, ...]] = field(default_factory=_no_origins)
    judged: Loaded[RecordKey, Judged] = field(default_factory=_nothing_judged)
    waiting: dict[RecordKey, OpenValidation] = field(default_factory=dict)
    jobless: set[RecordKey] = field(default_factory=set)
    evaluators: dict[str, str] = field(default_factory=dict)
    archives: dict[str, ArchiveMark] = field(default_factory=dict)
    last_numbers: OrderedDict[Speaker, int] = field(default_factory=OrderedDict)
    seen: OrderedDict[Speaker, dict[str, None]] = field(default_factory=OrderedDict)
    sessions: dict[str, Session] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    assigned: Counter[str] = field(default_factory=Counter)

    def take_number(self, speaker: Speaker, n: int) -> bool:
        """Take message ``n`` of that instance; False for a repeat, which was taken before."""
        if n <= self.last_numbers.get(speaker, 0):
            return False
        self.last_numbers[speaker] = n
        return True

    def has_seen(self, speaker: Speaker, message_id: str) -> bool:
        """Whether that message was taken before, of one that does not number its messages."""
        return message_id in self.seen.get(speaker, {})

    def see(self, speaker: Speaker, message_id: str) -> None:
        """Remember a message_id, the oldest least."""
        seen = self.seen.setdefault(speaker, {})
        self.seen.move_to_end(speaker)
        seen[message_id] = None
        if len(seen) > SEEN_KEPT:
            del seen[next(iter(seen))]

    def units_of(self, session: Session) -> list[Unit]:
        """In the order of the plan."""
        return [self.units[unit_id] for unit_id in session.units]

    def forget_surplus(self) -> None:
        """Keep memory bounded: what is dropped here is read from Redis again when it is needed."""
        while len(self.last_numbers) > MAX_INSTANCES:
            self.last_numbers.popitem(last=False)
        surplus = sum(map(len, self.seen.values())) - MAX_SEEN
        while surplus > 0 or len(self.seen) > MAX_INSTANCES:
            surplus -= len(self.seen.popitem(last=False)[1])
        if len(self.members) > len(self.ais) + MAX_AWAY_MEMBERS:
            for ai in self.members.keys() - self.ais.keys():
                del self.members[ai]
        if len(self.contributors) > MAX_RECORDS:
            self.contributors.clear()
        if len(self.origins) > MAX_RECORDS:
            self.origins.clear()
        if len(self.judged) > MAX_RECORDS:
            self.judged.clear()
