"""A fleet's history as spans: what became of each message, in the terms of OpenTelemetry.

Ids are made of names (``trace_id_of``, ``span_id_of``), so that whoever tells it again tells the
same, and an AI's own spans can join. A session is a trace: its root lasts from when its request was
sent to its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

from coordinator.events import SessionChanged, ToldSession, UnitChanged, parse_event
from coordinator.history import Line
from coordinator.messages import one_line
from coordinator.reads import Item

REQUESTS = ("collaboration_request", "feature_request")
"""Messages that open sessions, and are told in the traces of those."""
REMEMBERED = 10_000
"""So many requests that opened nothing yet are remembered, and so many open sessions."""
TEXT_MAX = 200
EARLIEST_MS = 86_400_000
"""Who claims to have sent a message longer ago than this has a clock that is wrong."""
Attributes = dict[str, str | int | float | bool]
T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """Something that lasted from ``begin_ms`` to ``end_ms``, ms since 1970. ``trace_id`` is 32 hex
    digits, the other ids 16; ``parent_id`` is "" for the root of a trace. ``error`` is why it
    failed, None if it did not."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begin_ms: int
    end_ms: int
    attributes: Attributes = field(default_factory=dict)
    error: str | None = None

    def as_json(self) -> Item:
        return asdict(self)


def trace_id_of(name: str) -> str:
    """Of ``session:<id>``, or ``message:<id>`` for a message that opened no session."""
    return sha256(name.encode("utf-8", "replace")).hexdigest()[:32]


def span_id_of(name: str) -> str:
    """Of ``session:<id>`` (the root of its trace), ``unit:<id>:<attempt>`` or ``message:<id>``."""
    return sha256(name.encode("utf-8", "replace")).hexdigest()[-16:]


def spans_of(lines: Iterable[Line]) -> list[Span]:
    """All that ``lines`` tell, in the order in which it ended."""
    teller = Teller()
    return [span for line in lines for span in teller.take(line)]


class Teller:
    """Makes spans of a history line by line; what has not ended is not told yet."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, Span] = OrderedDict()
        self._sent_ms: OrderedDict[str, int] = OrderedDict()

    def take(self, line: Line) -> list[Span]:
        """The spans that end with ``line``."""
        if (message := line.envelope) is not None:
            return self._message(message, line.ms)
        match parse_event(line):
            case SessionChanged(event="session_opened", session=session):
                return self._opened(session)
            case SessionChanged(event="session_active", session=session):
                return [_recruiting(session, session.began_ms or line.ms)]
            case SessionChanged(session=session):
                return self._ended(session, session.ended_ms or line.ms)
            case UnitChanged() as changed:
                return _attempt(changed)
        return []

    def _message(self, message: Item, committed_ms: int) -> list[Span]:
        told = _sent(message, committed_ms)
        if message["message_type"] not in REQUESTS:
            return [told]
        self._requests[str(message["message_id"])] = told
        return _trimmed(self._requests)

    def _opened(self, session: ToldSession) -> list[Span]:
        """The request's way to the coordinator, as a part of the session's trace."""
        told = self._requests.pop(session.in_reply_to, None)
        if told is None:
            return []
        self._sent_ms[session.id] = told.begin_ms
        _trimmed(self._sent_ms)
        trace_id, parent_id = _place(session.id)
        return [replace(told, trace_id=trace_id, parent_id=parent_id)]

    def _ended(self, session: ToldSession, ended_ms: int) -> list[Span]:
        begin_ms = min(self._sent_ms.pop(session.id, session.created_ms), ended_ms)
        reason = one_line(session.reason, TEXT_MAX)
        error = (reason or "failed") if session.state == "failed" else None
        trace_id, root_id = _place(session.id)
        attributes = _attributes(
            session_id=session.id,
            session_type=session.type,
            initiator=session.initiator,
            state=session.state,
            component_id=session.component_id,
            units=len(session.units),
            participants=", ".join(session.participants),
            reason=reason or None,
        )
        result_id = span_id_of(f"result:{session.id}")
        recruiting = [] if session.began_ms else [_recruiting(session, ended_ms)]
        name = one_line(f"session {session.type}", TEXT_MAX)
        return [
            *recruiting,
            Span("result", trace_id, result_id, root_id, ended_ms, ended_ms, attributes, error),
            Span(name, trace_id, root_id, "", begin_ms, ended_ms, attributes, error),
        ]


def _trimmed(kept: OrderedDict[str, T]) -> list[T]:
    """What is too much goes, the oldest first."""
    return [kept.popitem(last=False)[1] for _ in range(len(kept) - REMEMBERED)]


def _place(session_id: str) -> tuple[str, str]:
    """The trace of a session, and its root."""
    return trace_id_of(f"session:{session_id}"), span_id_of(f"session:{session_id}")


def _sent(message: Item, committed_ms: int) -> Span:
    """A message from when it was sent to when it was committed. The clock of who sent it may be
    wrong: what cannot be is put right, and told."""
    sent_ms = _ms_of(str(message["timestamp"]), committed_ms)
    begin_ms = min(max(sent_ms, committed_ms - EARLIEST_MS), committed_ms)
    attributes = _attributes(
        message_id=message["message_id"],
        message_type=message["message_type"],
        sender=message["sender_id"],
        target=message["target_ai"],
    )
    if begin_ms != sent_ms:
        attributes["coord.clock_ahead_ms"] = sent_ms - committed_ms
    name = f"message:{message['message_id']}"
    title = one_line(f"message {message['message_type']}", TEXT_MAX)
    return Span(title, trace_id_of(name), span_id_of(name), "", begin_ms, committed_ms, attributes)


def _recruiting(session: ToldSession, ended_ms: int) -> Span:
    """From when a session was opened to when enough had said yes, or it was over."""
    trace_id, root_id = _place(session.id)
    span_id = span_id_of(f"recruiting:{session.id}")
    attributes = _attributes(session_id=session.id, refusals=session.refusals)
    begin_ms = min(session.created_ms, ended_ms)
    return Span("recruiting", trace_id, span_id, root_id, begin_ms, ended_ms, attributes)


def _attempt(changed: UnitChanged) -> list[Span]:
    """An attempt at a unit, once it has ended."""
    unit, tried = changed.unit, changed.tried
    if not tried.ended_ms:
        return []
    trace_id, root_id = _place(unit.session_id)
    attributes = _attributes(
        unit_id=unit.id,
        unit_name=unit.name,
        unit_kind=unit.kind,
        session_id=unit.session_id,
        ai=tried.ai,
        outcome=tried.outcome,
        attempt=changed.attempt,
    )
    reason = one_line(tried.reason, TEXT_MAX)
    has_failed = tried.outcome in ("failed", "lost")
    return [
        Span(
            one_line(f"unit {unit.name}", TEXT_MAX),
            trace_id,
            span_id_of(f"unit:{unit.id}:{changed.attempt}"),
            root_id,
            min(tried.began_ms, tried.ended_ms),
            tried.ended_ms,
            attributes,
            (reason or tried.outcome) if has_failed else None,
        )
    ]


def _attributes(**named: object) -> Attributes:
    """Those names, with our prefix; texts are cut, and what is None is left out."""
    return {
        f"coord.{name}": value if isinstance(value, int) else one_line(str(value), TEXT_MAX)
        for name, value in named.items()
        if value is not None
    }


def _ms_of(timestamp: str, otherwise_ms: int) -> int:
    """ISO 8601 as ms since 1970, UTC where it does not say; ``otherwise_ms`` if it is none."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return otherwise_ms
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int((moment - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000)
