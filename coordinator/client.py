"""AsyncClient: how an AI takes part in a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

import redis
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from coordinator.clock import Clock, Ids, RandomIds, SystemClock, instance_id, iso
from coordinator.connection import connect_async, resolve_url
from coordinator.errors import BadMessage, CoordError, NotAnswered, ServerUnusable
from coordinator.feed import Cut, EpochChanged, Feed, StreamName, find_reply
from coordinator.keys import Keys
from coordinator.mailbox import Mailbox, Message, refusal
from coordinator.messages import (
    HUB,
    ID_RULE,
    OPERATOR,
    Cursor,
    Push,
    decode_push,
    encode_message,
    is_ai_id,
)
from coordinator.settings import Settings

log = logging.getLogger("coord.client")

T = TypeVar("T")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
REPLY_WAIT_S = 1.0
REPLY_WAITS_PER_HELLO = 5
REREAD_EVERY_S = 5.0
CONFIRM_POLL_S = 0.01
MAX_REMEMBERED = 1000

OUTAGES = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.OutOfMemoryError,
    redis.ReadOnlyError,
)

PASSING_REFUSALS = ("MISCONF", "NOREPLICAS")
REJOIN_CODES = ("rejoin", "superseded")

Handler = Callable[[Message], Awaitable[None] | None]


class QueryResult(NamedTuple):
    """``items`` of one page, the ``cursor`` of the next (None at the end), ``total`` in all."""

    items: list[dict[str, Any]]
    cursor: str | None
    total: int


class AsyncClient:
    """One AI in a fleet: ``async with AsyncClient("AI_1", specialization="audio") as client: ...``

    It says hello, heartbeats by itself, reads what others send in order and without loss, and
    comes back by itself after any outage. Sending waits while the server is away. Give ``url``, or
    let it be found as every coord command finds it (COORD_REDIS_URL, or the embedded server).
    ``cursor`` (from an earlier client's ``cursor``) replays what came since. ``profile`` is passed
    on in the hello.
    """

    def __init__(
        self,
        ai_id: str,
        url: str | None = None,
        *,
        specialization: str = "general",
        capabilities: Sequence[str] = (),
        cursor: Cursor | None = None,
        profile: dict[str, Any] | None = None,
        settings: Settings | None = None,
        connection: Redis | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        if not is_ai_id(ai_id):
            raise BadMessage(
                "bad_envelope",
                f"{ai_id!r} cannot be an AI's id: {ID_RULE}; {HUB} and {OPERATOR} are reserved",
                "sender_id",
            )
        self.ai_id = ai_id
        self.instance = instance_id()
        self.settings = settings or Settings()
        self._redis = connection or connect_async(url or resolve_url(self.settings))
        self._keys = Keys(self.settings.namespace)
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._hello = {
            **(profile or {}),
            "specialization": specialization,
            "capabilities": list(capabilities),
        }
        self._heartbeat: dict[str, Any] = {"status": "ready", "load": 0.0}
        self._log = Feed(self._redis, self._keys.log, self._keys.fleet)
        self._inbox = Feed(self._redis, self._keys.inbox(ai_id), self._keys.fleet)
        self._feeds: dict[StreamName, Feed] = {"inbox": self._inbox, "log": self._log}
        self._reading = asyncio.Lock()
        self._mailbox = Mailbox()
        self._seen = cursor
        self._handlers: dict[str, Handler] = {}
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._sent: OrderedDict[str, bytes] = OrderedDict()
        self._to_resend: list[str] = []
        self._refusals: list[CoordError] = []
        self._asked: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._n = 0
        self._sending = asyncio.Lock()
        self._is_listening = asyncio.Event()
        self._is_joined = False
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._rejoining: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: CoordError | None = None
        self._lease_s = self.settings.lease_s
        self._retry: Retry = Retry(
            ExponentialWithJitterBackoff(cap=LONGEST_WAIT_S, base=FIRST_WAIT_S),
            retries=-1,
            supported_errors=(redis.RedisError,),
        )

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, timeout_s: float | None = 30) -> None:
        """Join the fleet; ``timeout_s`` None waits for ever.

        Raises IdTaken, Refused, ServerUnusable, NotAnswered when no coordinator is active.
        """
        self._tasks.append(self._background(self._listen()))
        try:
            async with asyncio.timeout(timeout_s):
                await self._join()
        except BaseException as error:
            failure = self._failure
            await self._stop()
            if failure:
                raise failure from None
            if isinstance(error, TimeoutError):
                raise NotAnswered(
                    f"no coordinator answered within {timeout_s} s; is one active, and the "
                    "server up? (`coord status`)"
                ) from None
            raise
        self._tasks.append(self._background(self._beat()))

    async def close(self, reason: str = "") -> None:
        """Say goodbye, if the server answers soon, and disconnect."""
        try:
            if self._is_joined and not self._failure:
                with contextlib.suppress(TimeoutError, CoordError):
                    async with asyncio.timeout(REPLY_WAIT_S):
                        await self.send("goodbye", {"reason": reason})
        finally:
            await self._stop()

    async def send(
        self, message_type: str, payload: dict[str, Any], target_ai: str | None = None
    ) -> str:
        """Send a message; its message_id. Returns once the server has it, however long that takes.

        Raises BadMessage when it is too large or cannot be written as JSON. What the coordinator
        refuses comes back as an ``error`` message, and from ``confirm``.
        """
        return await self._send(self._ids.new(), message_type, payload, target_ai)

    async def _send(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> str:
        await self._may_send.wait()
        body = self._encode(message_id, message_type, payload, target_ai)
        self._sent[message_id] = body
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)
        await self._transmit(body)
        return message_id

    async def confirm(self, timeout_s: float = 30) -> None:
        """Wait until all that was sent has taken effect.

        Raises Refused for the first message that was refused since the last call, NotAnswered, and
        IdTaken when another instance took the id over.
        """
        key = self._keys.instance(self.ai_id, self.instance)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._failure:
                        raise self._failure
                    n = self._n
                    with contextlib.suppress(redis.RedisError):
                        if int(await self._redis.get(key) or 0) >= n:
                            await self._catch_up()
                            if not self._rejoining and n == self._n:
                                break
                    await asyncio.sleep(CONFIRM_POLL_S)
        except TimeoutError:
            raise NotAnswered(
                f"not everything that {self.ai_id} sent took effect within {timeout_s:g} s"
            ) from None
        if self._refusals:
            first, self._refusals = self._refusals[0], []
            raise first

    async def share_pattern(self, pattern: dict[str, Any], target_ai: str | None = None) -> str:
        """Share what was learned: ``{id, type, data, confidence, specialization}``; any other
        fields are kept."""
        return await self.send("pattern_share", {"pattern": pattern}, target_ai)

    async def share_code(self, code: dict[str, Any], target_ai: str | None = None) -> str:
        """Share a component: ``{id, name, language, specialization, code, dependencies}``."""
        return await self.send("code_share", {"code": code}, target_ai)

    async def share_component(
        self, component: dict[str, Any], target_ai: str | None = None, **more: Any
    ) -> str:
        """Share a feature's component; ``more`` are further fields of an os_component_share."""
        return await self.send("os_component_share", {"component": component, **more}, target_ai)

    async def report(self, component_id: str, performance: dict[str, float]) -> str:
        """Report what was measured of a component: metric -> finite number."""
        payload = {"component_id": component_id, "performance": performance}
        return await self.send("performance_report", payload)

    async def query(
        self,
        what: str,
        filter: dict[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
        timeout_s: float | None = 30,
    ) -> QueryResult:
        """Ask for ais, patterns, components, features, benchmarks or counts, a page at a time.

        Raises Refused, NotAnswered.
        """
        payload = {"what": what, "filter": filter or {}, "limit": limit, "cursor": cursor}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message_id = self._ids.new()
                    self._asked.append(message_id)
                    await self._send(message_id, "query", payload, None)
                    with contextlib.suppress(TimeoutError):
                        found = await self._reply(message_id, REPLY_WAIT_S)
                        return QueryResult(found["items"], found["cursor"], found["total"])
        except TimeoutError:
            raise NotAnswered(f"no coordinator answered the query in {timeout_s} s") from None

    def set_status(self, status: str, load: float = 0.0) -> None:
        """What the next heartbeats tell: a word, and how busy (0 idle, 1 fully)."""
        heartbeat = {"status": status, "load": load}
        self._encode("", "heartbeat", heartbeat)
        self._heartbeat = heartbeat

    def on(self, message_type: str) -> Callable[[Handler], Handler]:
        """Register the decorated function (plain or async) for messages of a type; see ``run``."""

        def register(handler: Handler) -> Handler:
            self._handlers[message_type] = handler
            return handler

        return register

    def handler_of(self, message_type: str) -> Handler | None:
        return self._handlers.get(message_type)

    async def run(self) -> None:
        """Call the registered handlers for every message, until the client is closed."""
        async for message in self.messages():
            handler = self.handler_of(message.message_type)
            if handler is None:
                continue
            result = handler(message)
            if inspect.isawaitable(result):
                await result

    async def messages(self) -> AsyncIterator[Message]:
        """Everything that others send to this AI and to all, in the order of each stream."""
        while (message := await self.receive()) is not None:
            yield message

    async def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the client is closed or ``timeout_s`` is over.

        Raises IdTaken when another instance took the id over while this one was away.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if self._mailbox.missed and self._mailbox.has_room:
                    await self._catch_up_if_possible()
                return await self._mailbox.take()
        except TimeoutError:
            return None

    @property
    def cursor(self) -> Cursor:
        """How far ``receive`` has come: give it to a later client to go on from there."""
        taken = {
            name: self._mailbox.taken.get(name, feed.last) for name, feed in self._feeds.items()
        }
        return Cursor(epoch=self._log.epoch, log=taken["log"], inbox=taken["inbox"])

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        if self._rejoining:
            tasks.append(self._rejoining)
        for task in tasks:
            task.cancel()
        self._is_joined = False
        self._failure = self._failure or CoordError(f"the client of {self.ai_id} is closed")
        self._mailbox.close()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            with contextlib.suppress(redis.RedisError):
                await self._redis.aclose()

    def _fail(self, error: CoordError) -> None:
        """Nothing can be sent or received any more, for this reason."""
        self._failure = self._failure or error
        self._mailbox.close(error)
        self._is_listening.set()

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the caller's; an error in it is no secret."""

        def note_end(task: asyncio.Task[None]) -> None:
            error = None if task.cancelled() else task.exception()
            if error and not self._failure:
                log.error("%s: %r", self.ai_id, error, exc_info=error)
                self._fail(CoordError(f"the client of {self.ai_id} failed: {error!r}"))

        task = asyncio.create_task(work)
        task.add_done_callback(note_end)
        return task

    def _encode(
        self,
        message_id: str,
        message_type: str,
        payload: dict[str, Any],
        target_ai: str | None = None,
    ) -> bytes:
        """The message as it travels. Raises BadMessage."""
        timestamp = iso(self._clock.now_ms())
        text = encode_message(message_id, self.ai_id, message_type, timestamp, payload, target_ai)
        try:
            body = text.encode()
        except UnicodeEncodeError as error:
            raise BadMessage("not_json", f"payload is not Unicode: {error}", "payload") from None
        max_bytes = self.settings.message_max_bytes
        if len(body) > max_bytes:
            raise BadMessage(
                "too_large", f"the message has {len(body)} bytes; at most {max_bytes} are allowed"
            )
        return body

    async def _transmit(self, body: bytes) -> None:
        """Number the message and hand it to the server, again and again under the same number."""
        async with self._sending:
            if self._failure:
                raise self._failure
            self._n += 1
            entry = {"body": body, "instance": self.instance, "n": self._n}

            async def add() -> None:
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.xadd(self._keys.ingress(self.ai_id), entry)  # type: ignore[arg-type]
                    pipe.sadd(self._keys.doors, self.ai_id)
                    replies = await pipe.execute(raise_on_error=False)
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply

            await self._through_outages(add)

    async def _through_outages(self, action: Callable[[], Awaitable[T]]) -> T:
        """Try until the server takes it. What no waiting can cure raises ServerUnusable."""

        async def note(error: Exception) -> None:
            if self._failure:
                raise self._failure
            if not _is_outage(error):
                unusable = ServerUnusable(f"the server refuses what {self.ai_id} needs: {error}")
                self._fail(unusable)
                raise unusable from None
            log.info("waiting for the server: %s", error)

        return await self._retry.call_with_retry(action, note)

    async def _reply(self, message_id: str, timeout_s: float) -> dict[str, Any]:
        """The payload that answers ``message_id``. Raises TimeoutError, Refused."""
        future = asyncio.get_running_loop().create_future()
        self._replies[message_id] = future
        try:
            async with asyncio.timeout(timeout_s):
                message = await future
        finally:
            del self._replies[message_id]
        return _answer(message)

    async def _join(self) -> None:
        """Say hello until it is answered, and go on from where the answer says."""
        await self._is_listening.wait()
        if self._log.epoch:
            log_n, inbox_n = self._log.last, self._inbox.last
            self._seen = Cursor(epoch=self._log.epoch, log=log_n, inbox=inbox_n)
        hello = dict(self._hello)
        if self._seen:
            hello["cursor"] = self._seen.model_dump()
        sync = None
        while sync is None:
            sync = await self._say_hello(hello)
        self._start_feeds(sync)
        self._is_joined = True
        await self._catch_up_if_possible()

    async def _say_hello(self, hello: dict[str, Any]) -> dict[str, Any] | None:
        """The answer's payload; None when none came, neither pushed nor in the inbox.

        A hello may be lost with the server that had it, so it is said again then.
        """
        message_id = self._ids.new()
        waiting = asyncio.create_task(self._reply(message_id, REPLY_WAIT_S * REPLY_WAITS_PER_HELLO))
        try:
            await self._transmit(self._encode(message_id, "hello", hello))
            for _ in range(REPLY_WAITS_PER_HELLO):
                done, _pending = await asyncio.wait([waiting], timeout=REPLY_WAIT_S)
                if done:
                    break
                with contextlib.suppress(redis.RedisError):
                    inbox = self._keys.inbox(self.ai_id)
                    found = await find_reply(self._redis, inbox, message_id)
                    if found:
                        return _answer(found)
            with contextlib.suppress(TimeoutError):
                return await waiting
            return None
        finally:
            waiting.cancel()

    def _start_feeds(self, sync: dict[str, Any]) -> None:
        start = sync.get("resume", sync["cursor"])
        self._lease_s = sync["lease_s"]
        for name, feed in self._feeds.items():
            n = start[name]
            feed.start(start["epoch"], n)
            self._mailbox.rewind(name, n)
            forgotten = sync.get("forgot", {}).get(name, 0)
            if forgotten:
                gap = self._gap(name, Cut(n + 1, n + forgotten), "forgotten", n)
                self._mailbox.put(gap, after=None)

    def _begin_rejoin(self) -> None:
        if self._rejoining is None and self._failure is None:
            self._is_joined = False
            self._may_send.clear()
            self._rejoining = self._background(self._rejoin())

    async def _rejoin(self) -> None:
        """Join again, then send again what was refused because we were not registered."""
        try:
            await self._join()
            while self._to_resend:
                await self._transmit(self._sent[self._to_resend.pop(0)])
        except CoordError as error:
            self._fail(error)
        finally:
            self._rejoining = None
            self._may_send.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if self._is_joined:
                await self._transmit(self._encode(self._ids.new(), "heartbeat", self._heartbeat))

    async def _listen(self) -> None:
        """Subscribe, and read the streams again after every subscription: it may hide a gap.

        The end is looked for, since Python 3.11's wait_for can swallow a cancellation.
        """
        while not self._failure:
            pubsub = await self._through_outages(self._subscribe)
            try:
                await self._read_pushes(pubsub)
            except (*OUTAGES, OSError) as error:
                log.info("disconnected: %s", error)
            finally:
                with contextlib.suppress(redis.RedisError):
                    await pubsub.aclose()

    async def _subscribe(self) -> PubSub:
        pubsub = self._redis.pubsub()
        await pubsub.subscribe(self._keys.broadcast_channel, self._keys.channel(self.ai_id))
        return pubsub

    async def _read_pushes(self, pubsub: PubSub) -> None:
        subscribed = 0
        is_asked = False
        while not self._failure:
            raw = await pubsub.get_message(timeout=REREAD_EVERY_S)
            if raw is None:
                if is_asked:
                    raise redis.TimeoutError("no sign of life on the subscription")
                is_asked = True
                await pubsub.ping()
                await self._catch_up()
                continue
            is_asked = False
            if raw["type"] == "message":
                await self._on_push(raw["data"])
            elif raw["type"] == "subscribe":
                subscribed += 1
                if subscribed == len(self._feeds):
                    self._is_listening.set()
                    await self._catch_up()

    async def _on_push(self, data: bytes) -> None:
        try:
            push = decode_push(data)
            in_reply_to = push.message["payload"].get("in_reply_to") or ""
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("ignored a push that is none of coord's")
            return
        is_mine = push.after is not None or push.n is None
        future = self._replies.get(in_reply_to) if is_mine and self._is_meant(push) else None
        if future is not None and not future.done():
            future.set_result(push.message)
        if push.n is None or not self._is_joined:
            return
        name: StreamName = "inbox" if is_mine else "log"
        async with self._reading:
            try:
                accepted = self._feeds[name].offer(push)
            except EpochChanged:
                self._begin_rejoin()
                return
            if accepted:
                self._deliver(name, push)
        if accepted is None:
            await self._catch_up()

    async def _catch_up_if_possible(self) -> None:
        """The same as ``_catch_up``; in an outage the listener does it when it comes back."""
        with contextlib.suppress(redis.RedisError):
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Read both streams to their end, then what there was no room for, if there is now."""
        async with self._reading:
            if not self._is_joined:
                return
            try:
                for name, feed in self._feeds.items():
                    while items := await feed.read():
                        for item in items:
                            self._deliver(name, item)
                for name, feed in self._feeds.items():
                    await self._read_missed(name, feed)
            except EpochChanged:
                self._begin_rejoin()

    async def _read_missed(self, name: StreamName, feed: Feed) -> None:
        missed = self._mailbox.missed
        while name in missed and self._mailbox.has_room:
            items = await feed.read_again(missed[name])
            del missed[name]
            for item in items:
                self._deliver(name, item, is_new=False)
            read = items[-1].n or 0
            if read < feed.last:
                missed.setdefault(name, read)

    def _deliver(self, name: StreamName, item: Push | Cut, is_new: bool = True) -> None:
        """Put what was read into the mailbox; what the hub wants of *us* is done once, when new."""
        if isinstance(item, Cut):
            self._mailbox.put(self._gap(name, item, "retention", item.n), after=item.first - 1)
            return
        if not self._is_meant(item):
            return
        message = Message(**item.message, stream=name, n=item.n or 0)
        if message.message_type == "error" and message.sender_id == HUB:
            if message.payload["code"] in REJOIN_CODES:
                if is_new:
                    self._send_again(message.payload["in_reply_to"])
                return
            if is_new and message.payload["in_reply_to"] not in self._asked:
                self._refusals.append(refusal(message.payload))
                del self._refusals[MAX_REMEMBERED:]
        self._mailbox.put(message, after=message.n - 1)

    def _send_again(self, message_id: str) -> None:
        """We were not registered, or another instance was: it is sent again once we are."""
        if message_id in self._sent:
            self._to_resend.append(message_id)
        self._begin_rejoin()

    def _gap(self, name: StreamName, cut: Cut, reason: str, n: int) -> Message:
        payload = {"stream": name, "first": cut.first, "last": cut.n, "reason": reason}
        now = iso(self._clock.now_ms())
        return Message(self._ids.new(), HUB, "gap", now, payload, self.ai_id, name, n)

    def _is_meant(self, push: Push) -> bool:
        return self.ai_id not in push.exclude and push.instance in (None, self.instance)


def _is_outage(error: Exception) -> bool:
    """Whether it may end by itself, or by what its operator does about it.

    A refused login comes as a ConnectionError that it is the cause of.
    """
    if isinstance(error.__cause__ or error, redis.AuthenticationError):
        return False
    return isinstance(error, OUTAGES) or str(error).startswith(PASSING_REFUSALS)


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    """The payload of an answer. Raises what an error stands for."""
    payload: dict[str, Any] = message["payload"]
    if message["message_type"] == "error":
        raise refusal(payload)
    return payload
