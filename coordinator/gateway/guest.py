"""One AI that has logged in: what it says, what the hub wants of it, and how it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any, Literal

import redis

from coordinator.clock import instance_id, iso
from coordinator.errors import EXPELLED_CODES, REJOIN_CODES, BadMessage
from coordinator.gateway.chunks import Chunks
from coordinator.gateway.connection import Connection
from coordinator.gateway.deliveries import Deliveries
from coordinator.gateway.hub_message import answering, read_hub_message
from coordinator.gateway.introduction import Introduction
from coordinator.gateway.keepalive import PROBE_S
from coordinator.gateway.login import Login
from coordinator.gateway.outgoing import Outgoing
from coordinator.gateway.relay import Run
from coordinator.gateway.shared import Shared
from coordinator.gateway.stream import Item
from coordinator.gateway.strict_json import parse_strict
from coordinator.gateway.timers import Timers
from coordinator.gateway.uploads import CHUNK_LINE_BYTES
from coordinator.messages import Cursor, Envelope, encode_message, parse_envelope, to_json

log = logging.getLogger("coord.gateway")

HELLO_WAIT_S = 1.0
"""One that says nothing for this long gets a hello said for it."""
AWAY_S = 2.0
"""One that keeps its instance has this long to come back before goodbye is said for it."""
RATE_PAUSE_S = 0.1
ANSWER_S = 0.02
"""How long what tells of an effect may be on its way."""
MAX_UNANSWERED = 1000
PROBED_S = PROBE_S + 0.5

State = Literal["new", "joining", "present", "left", "away", "gone"]
"""``new``: no hello was said; ``left``: it said goodbye, or is to go; ``away``: it may come back;
``gone``: over for good."""


class Guest:
    """Its hello goes through as its first message; from then on it is the gateway that keeps it in
    the fleet: says hello again when that is needed, heartbeats, and says goodbye for it."""

    def __init__(
        self,
        login: Login,
        connection: Connection,
        shared: Shared,
        on_gone: Callable[[Guest], None],
    ) -> None:
        shake = login.handshake
        self.ai = shake.ai_id
        self.login = login
        self.instance = shake.instance or instance_id(shared.ids)
        self.state: State = "new"
        self._is_named = shake.instance is not None
        self._has_ack = shake.ack
        self._since = shake.since
        self._connection = connection
        self._shared = shared
        self._on_gone = on_gone
        self._bucket = shared.buckets.of(self.ai)
        self._profile: dict[str, Any] = {"specialization": login.specialization}
        self._outgoing = Outgoing(self.ai, self.instance, self._is_named, shared.writer)
        cursor = shake.since or login.cursor
        to_client = (cursor, shake.ack, connection, shared)
        self._deliveries = Deliveries(self.ai, self.instance, *to_client, self._show)
        floor = login.cursor.inbox
        self._introduction = Introduction(self.ai, floor, self._say_hello, self._joined, shared)
        self._chunks = Chunks(self.ai, self._send, shared)
        self._unanswered: set[str] = set()
        self._began_at = 0
        self._joined_at = 0
        self._joining: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._timers = Timers()

    @property
    def address(self) -> str:
        return self._connection.address

    @property
    def is_here(self) -> bool:
        """Whether its connection, or what is left of it, is a heartbeat."""
        return self.state in ("present", "away")

    def is_same_instance(self, other: Guest) -> bool:
        """Whether both are one client that has come back."""
        return self._is_named and other._is_named and self.instance == other.instance

    def begin(self) -> None:
        """Take what the client says. If it is not a hello, or nothing, one is said for it."""
        if self._has_ack:
            buckets = self._shared.buckets
            limits = {"messages_per_s": buckets.per_s, "burst": buckets.burst}
            ok = {"ok": True, **self._deliveries.cursor.model_dump(), **limits}
            self._connection.send(to_json(ok).encode() + b"\n")
        self._timers.start("hello", HELLO_WAIT_S, self._introduce)
        self._connection.belong_to(
            self, max(self._shared.fleet_settings.message_max_bytes, CHUNK_LINE_BYTES)
        )

    # -- what the client says ----------------------------------------------------------------------

    def take_line(self, line: bytes) -> bool:
        if not self._bucket.take():
            self._slow_down(line)
            return True
        if not line.strip():
            return True
        self._shared.metrics.received += 1
        message_id: str | None = None
        try:
            raw = parse_strict(line)
            named = raw.get("message_id")
            message_id = named if isinstance(named, str) else None
            return self._take(self._checked(line, raw), line)
        except BadMessage as error:
            self._refuse(error, message_id)
            return True

    def _checked(self, line: bytes, raw: dict[str, Any]) -> Envelope:
        """Raises BadMessage. A chunk of an artifact ends here, and may be larger than a message."""
        largest = self._shared.fleet_settings.message_max_bytes
        if raw.get("message_type") == "payload":
            largest = max(largest, CHUNK_LINE_BYTES)
        envelope = parse_envelope(line, largest)
        if envelope.sender_id != self.ai:
            raise BadMessage(
                "foreign_sender",
                f"sender_id is {envelope.sender_id!r}, but {self.ai} has logged in; nobody may "
                "speak in another's name",
                "sender_id",
            )
        return envelope

    def _take(self, envelope: Envelope, line: bytes) -> bool:
        message_type, is_out = envelope.message_type, self.state in ("new", "left")
        if message_type == "hello":
            self._profile = dict(envelope.payload)
            if is_out:
                self._join(envelope.message_id)
                return True
            self._introduction.expect(envelope.message_id, envelope.message_id)
        elif is_out and message_type != "goodbye":
            self._introduce()
            return False  # it is taken again once the hello is answered
        if message_type == "payload":
            self._connection.hold("chunk")
            self._shared.spawn(self._take_chunk(envelope))
        elif not is_out:
            if message_type == "query" and len(self._unanswered) < MAX_UNANSWERED:
                self._unanswered.add(envelope.message_id)
            self._send(envelope.message_id, line)
        if message_type == "goodbye":
            self._since = None
            self._leave_fleet()
        return True

    async def _take_chunk(self, envelope: Envelope) -> None:
        try:
            await self._connection.can_write.wait()  # one answer at a time is held, and no more
            answer = await self._chunks.take(envelope, self.login.access)
            if answer:
                self._deliveries.tell(answer)
        except BadMessage as error:
            self._refuse(error, envelope.message_id)
        finally:
            self._connection.release("chunk")

    def _send(self, message_id: str, body: bytes) -> None:
        self._outgoing.send(message_id, body)
        self._shared.metrics.relayed += 1
        if self._shared.writer.is_full:
            self._connection.hold("writer")
        if self._outgoing.is_full:
            self._connection.hold("unsettled")

    def writer_has_room(self) -> None:
        self._connection.release("writer")

    def forget_settled(self) -> None:
        self._outgoing.forget_settled()
        if not self._outgoing.is_full:
            self._connection.release("unsettled")

    # -- what is refused ---------------------------------------------------------------------------

    def line_too_long(self) -> None:
        most = self._shared.fleet_settings.message_max_bytes
        self._refuse(BadMessage("too_large", f"a message has {most} bytes at most"), None)

    def _slow_down(self, line: bytes) -> None:
        """Say so, and read no more for a moment: who storms is not answered line by line."""
        self._shared.metrics.rate_limited += 1
        message_id = None
        with contextlib.suppress(BadMessage):
            named = parse_strict(line).get("message_id")
            message_id = named if isinstance(named, str) else None
        detail = (
            f"{self.ai} sends more than it may, and this message was left out; send fewer, and this"
            " one again"
        )
        self._refuse(BadMessage("rate_limited", detail), message_id)
        self._connection.hold("rate")
        self._timers.start("rate", RATE_PAUSE_S, lambda: self._connection.release("rate"))

    def _refuse(self, error: BadMessage, in_reply_to: str | None) -> None:
        """Tell the client what was wrong; one that does not read is not told."""
        if not self._connection.is_paused:
            line = self._shared.error_line(
                error.code, error.detail, self.ai, in_reply_to, error.field
            )
            self._deliveries.tell(line)

    # -- joining -----------------------------------------------------------------------------------

    def rejoin(self) -> None:
        """The fleet does not know the AI any more, or is in another epoch: say hello again."""
        if self.state == "present":
            self._shared.metrics.rejoins += 1
            self._since = self._deliveries.cursor
            self._join(None)

    def _introduce(self) -> None:
        if self.state in ("new", "left"):
            self._join(None)

    def _join(self, asked: str | None) -> None:
        """Nothing else is taken of the client until it has joined."""
        self._timers.cancel("hello")
        self.state = "joining"
        self._deliveries.stop()
        self._connection.hold("joining")
        self._joining = self._shared.spawn(self._introduce_as(asked))

    async def _introduce_as(self, asked: str | None) -> None:
        refusal = await self._introduction.make(asked)
        if refusal is not None and self.state == "joining":
            self._turn_away(refusal, asked)

    def _say_hello(self, message_id: str) -> None:
        payload = self._profile
        if self._since is not None:
            payload = {**payload, "cursor": self._since.model_dump()}
        self._send(message_id, self._encode("hello", payload, message_id))

    def _joined(self, sync: dict[str, Any], item: Item) -> None:
        if self.state != "joining":
            return
        self._shared.lease_s = sync["lease_s"]
        self._joined_at = item.n
        self._began_at = self._began_at or item.n
        self.state = "present"
        start = Cursor.model_validate(sync.get("resume", sync["cursor"]))
        self._deliveries.start(start, sync.get("forgot", {}), item)
        self._outgoing.send_again()
        self._connection.release("joining")

    def _turn_away(self, refusal: Item, asked: str | None) -> None:
        """The client's own hello may have been a bad one: it can say another."""
        code = json.loads(refusal.line)["payload"]["code"]
        line = answering(refusal.line, asked)
        if asked is None or code in EXPELLED_CODES | {"id_taken"}:
            self.state = "left"
            self._connection.end(self._deliveries.with_offset(line))
            return
        self.state = "new"
        self._timers.start("hello", HELLO_WAIT_S, self._introduce)
        self._deliveries.tell(line)
        self._connection.release("joining")

    # -- what the client is told -------------------------------------------------------------------

    def take_run(self, run: Run) -> None:
        self._deliveries.take_run(run)

    def take_push(self, item: Item) -> None:
        if self.state == "joining":
            if self._deliveries.is_meant(item):
                self._introduction.take(item)
        elif self.state == "away":
            self._notice_move(item)
        else:
            if self._unanswered:
                self._note_answer(item)
            self._deliveries.take_push(item)

    def _note_answer(self, item: Item) -> None:
        message = read_hub_message(item.line)
        if message is not None:
            self._unanswered.discard(message["payload"].get("in_reply_to"))

    def catch_up(self) -> None:
        self._deliveries.catch_up()

    def can_write_again(self) -> None:
        self._deliveries.go_on()

    def _show(self, item: Item) -> bytes:
        """What the hub says may be meant for the gateway. What the client sees of it."""
        message = read_hub_message(item.line)
        if message is None:
            return item.line
        payload = message["payload"]
        if message["message_type"] == "training_sync":
            return self._show_sync(payload.get("in_reply_to"), item)
        if message["message_type"] == "error":
            return self._show_error(payload, item)
        return item.line

    def _show_sync(self, in_reply_to: str, item: Item) -> bytes:
        if self._introduction.is_ours(in_reply_to):
            return self._introduction.shown(in_reply_to, item.line)
        if item.n > self._joined_at:
            self._give_way("another connection joined under this id")
            return b""
        return item.line  # it answers an earlier connection of this client

    def _show_error(self, payload: dict[str, Any], item: Item) -> bytes:
        """What was said before this connection began is over."""
        code, is_news = payload["code"], item.n > self._began_at
        if code in REJOIN_CODES:
            if is_news:
                self._outgoing.note_unheeded(payload["in_reply_to"])
                self._say_again(item)
            return b""
        if code in EXPELLED_CODES and is_news:
            self._connection.end(self._deliveries.with_offset(item.line))
            if item.n > self._joined_at:
                self._leave_fleet()
            return b""
        is_over = item.n < self._joined_at
        if code == "id_taken" and is_over and self._introduction.is_ours(payload["in_reply_to"]):
            return b""
        return item.line

    def _say_again(self, refusal: Item) -> None:
        """What was refused; if no hello was said since, one must be said first."""
        if refusal.n > self._joined_at:
            self.rejoin()
        else:
            self._outgoing.send_again()

    def _notice_move(self, item: Item) -> None:
        """Somebody who is away may have come back by another gateway."""
        message = read_hub_message(item.line)
        if message is not None and message["message_type"] == "training_sync":
            self._leave()

    # -- leaving -----------------------------------------------------------------------------------

    def has_said_all(self) -> None:
        if self._leaving is None:
            self._leaving = self._shared.spawn(self._end_when_answered())

    async def _end_when_answered(self) -> None:
        """The connection itself knows how long that may take."""
        last = self._outgoing.last_number
        if last and self.state != "left":
            try:
                await self._shared.writer.wait_until_committed(last)
                await asyncio.sleep(ANSWER_S)
                while self._unanswered:
                    await asyncio.sleep(ANSWER_S)
            except (redis.RedisError, OSError) as error:
                log.info("could not wait for answers to %s: %r", self.ai, error)
        self._connection.end()

    def is_slow(self) -> None:
        self._shared.metrics.dropped_readers += 1
        self.show_out("slow_reader", "the client has not read what was sent to it; come back")

    def show_out(self, code: str, detail: str) -> None:
        """End the connection, for this reason."""
        line = self._shared.error_line(code, detail, self.ai)
        self._connection.end(self._deliveries.with_offset(line))

    def make_way(self) -> None:
        """The same client has come back on another connection."""
        if self.state == "away":
            self._leave()
        else:
            self._give_way("it has come back on another connection")

    def shut_down(self) -> None:
        """The gateway ends. One that keeps its instance goes on at another gateway if it comes
        there before its lease has ended; another could not come back so soon without a goodbye."""
        if self.state == "away":
            self._leave()
            return
        if self.state in ("present", "joining") and not self._is_named:
            self._say_goodbye("the gateway shuts down")
        self._leave_fleet()
        self.show_out("shutting_down", "the gateway shuts down; come back, or to another one")

    def probe(self) -> None:
        """Somebody wants this id: is the client still there?"""
        if self.state == "away":
            self._leave_for_good()
        else:
            self._connection.probe()

    async def is_lost_soon(self) -> bool:
        """The same, and what came of it."""
        self.probe()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBED_S):
                await self._connection.lost.wait()
        return self._connection.lost.is_set()

    def connection_lost(self) -> None:
        """A closed connection is a goodbye, unless the client may come back as who it was."""
        was_in = self.state in ("present", "joining")
        self._leave_fleet()
        if self._leaving is not None:
            self._leaving.cancel()
        if not was_in:
            self._leave()
        elif self._is_named:
            self.state = "away"
            self._timers.start("away", AWAY_S, self._leave_for_good)
        else:
            self._leave_for_good()

    def _give_way(self, why: str) -> None:
        """Somebody else is this AI now: go without a word to the fleet."""
        self._leave_fleet()
        self.show_out("id_taken", f"{self.ai}: {why}")

    def _leave_fleet(self) -> None:
        """It is not in the fleet any more, as far as this connection is concerned."""
        self.state = "left"
        self._deliveries.stop()
        if self._joining is not None:
            self._joining.cancel()
        self._timers.cancel("hello", "away")
        if not self._connection.is_open:
            self._timers.cancel("rate")

    def _leave_for_good(self) -> None:
        self._say_goodbye("the connection was closed")
        self._leave()

    def _say_goodbye(self, reason: str) -> None:
        message_id = self._shared.ids.new()
        body = self._encode("goodbye", {"reason": reason}, message_id)
        self._outgoing.send(message_id, body)

    def _leave(self) -> None:
        self._timers.cancel("away")
        self.state = "gone"
        self._on_gone(self)

    # -- odds and ends -----------------------------------------------------------------------------

    def _encode(self, message_type: str, payload: dict[str, Any], message_id: str) -> bytes:
        now = iso(self._shared.clock.now_ms())
        text = encode_message(message_id, self.ai, message_type, now, payload)
        return text.encode("utf-8", "replace")
