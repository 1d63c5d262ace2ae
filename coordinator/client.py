"""AsyncClient: how an AI takes part in a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
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
from coordinator.messages import HUB, Cursor, Push, decode_push, encode_message
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
        self._log = Feed(self._redis, self._keys.log)
        self._inbox = Feed(self._redis, self._keys.inbox(ai_id))
        self._feeds: dict[StreamName, Feed] = {"inbox": self._inbox, "log": self._log}
        self._reading = asyncio.Lock()
        self._mailbox = Mailbox()
        self._log_waits = False
        self._seen = cursor
        self._handlers: dict[str, Handler] = {}
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._sent: OrderedDict[str, tuple[str, dict[str, Any], str | None]] = OrderedDict()
        self._to_resend: list[str] = []
        self._refusals: list[CoordError] = []
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
            supported_errors=OUTAGES,
        )

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, timeout_s: float | None = 30) -> None:
        """Join the fleet; ``timeout_s`` None waits for ever. Raises IdTaken, Refused, NotAnswered when no coordinator is active."""
        self._tasks.append(asyncio.create_task(self._listen()))
        try:
            async with asyncio.timeout(timeout_s):
                await self._join()
        except BaseException as error:
            await self._stop()
            if self._failure:
                raise self._failure from error
            if isinstance(error, TimeoutError):
                raise NotAnswered(
                    f"no coordinator answered within {timeout_s} s; is one active, and the "
                    "server up? (`coord status`)"
                ) from None
            raise
        self._tasks.append(asyncio.create_task(self._beat()))

    async def close(self, reason: str = "") -> None:
        """Say goodbye, if the server answers soon, and disconnect."""
        if self._is_joined and not self._failure:
            with contextlib.suppress(TimeoutError, CoordError):
                async with asyncio.timeout(REPLY_WAIT_S):
                    await self.send("goodbye", {"reason": reason})
        await self._stop()

    async def send(
        self, message_type: str, payload: dict[str, Any], target_ai: str | None = None
    ) -> str:
        """Send a message; its message_id. Returns once the server has it, however long that takes.

        Raises BadMessage when it is too large or cannot be written as JSON. What the coordinator
        refuses comes back as an ``error`` message, and from ``confirm``.
        """
        await self._may_send.wait()
        message_id = self._ids.new()
        self._sent[message_id] = (message_type, payload, target_ai)
        if len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)
        await self._transmit(message_id, message_type, payload, target_ai)
        return message_id

    async def confirm(self, timeout_s: float = 30) -> None:
        """Wait until all that was sent has taken effect.

        Raises Refused for the first message that was refused since the last call, NotAnswered.
        """
        key = self._keys.instance(self.ai_id, self.instance)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
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
                    message_id = await self.send("query", payload)
                    with contextlib.suppress(TimeoutError):
                        found = await self._reply(message_id, REPLY_WAIT_S)
                        return QueryResult(found["items"], found["cursor"], found["total"])
        except TimeoutError:
            raise NotAnswered(f"no coordinator answered the query in {timeout_s} s") from None

    def set_status(self, status: str, load: float = 0.0) -> None:
        """What the next heartbeats tell: a word, and how busy (0 idle, 1 fully)."""
        self._heartbeat = {"status": status, "load": load}

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
        if self._log_waits and not self._mailbox.is_full:
            await self._catch_up_if_possible()
        try:
            async with asyncio.timeout(timeout_s):
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
        await asyncio.gather(*tasks, return_exceptions=True)
        self._is_joined = False
        self._mailbox.close()
        with contextlib.suppress(redis.RedisError):
            await self._redis.aclose()

    def _fail(self, error: CoordError) -> None:
        """Nothing can be sent or received any more, for this reason."""
        self._failure = error
        self._mailbox.close(error)
        self._is_listening.set()

    async def _transmit(
        self, message_id: str, message_type: str, payload: dict[str, Any], target_ai: str | None
    ) -> None:
        """Number the message and hand it to the server, again and again under the same number."""
        timestamp = iso(self._clock.now_ms())
        body = encode_message(
            message_id, self.ai_id, message_type, timestamp, payload, target_ai
        ).encode()
        max_bytes = self.settings.message_max_bytes
        if len(body) > max_bytes:
            raise BadMessage(
                "too_large", f"the message has {len(body)} bytes; at most {max_bytes} are allowed"
            )
        async with self._sending:
            if self._failure:
                raise self._failure
            self._n += 1
            entry = {"body": body, "instance": self.instance, "n": self._n}

            async def add() -> None:
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.xadd(self._keys.ingress(self.ai_id), entry)  # type: ignore[arg-type]
                    pipe.sadd(self._keys.doors, self.ai_id)
                    await pipe.execute()

            await self._through_outages(add)

    async def _through_outages(self, action: Callable[[], Awaitable[T]]) -> T:
        """Try until the server takes it. What no waiting can cure raises ServerUnusable."""

        async def note(error: Exception) -> None:
            if isinstance(error, redis.AuthenticationError):
                raise error
            log.info("waiting for the server: %s", error)

        try:
            return await self._retry.call_with_retry(action, note)
        except (redis.AuthenticationError, redis.ResponseError) as error:
            unusable = ServerUnusable(f"the server refuses what {self.ai_id} needs: {error}")
            self._fail(unusable)
            raise unusable from None

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
            await self._transmit(message_id, "hello", hello, None)
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
            feed.start(start["epoch"], start[name])
            taken = self._mailbox.taken
            taken[name] = min(taken.get(name, start[name]), start[name])
            forgotten = sync.get("forgot", {}).get(name, 0)
            if forgotten:
                cut = Cut(start[name] + 1, start[name] + forgotten)
                self._deliver_gap(name, cut, "forgotten")

    def _begin_rejoin(self) -> None:
        if self._rejoining is None and self._failure is None:
            self._is_joined = False
            self._may_send.clear()
            self._rejoining = asyncio.create_task(self._rejoin())

    async def _rejoin(self) -> None:
        """Join again, then send again what was refused because we were not registered."""
        try:
            await self._join()
            while self._to_resend:
                message_id = self._to_resend.pop(0)
                await self._transmit(message_id, *self._sent[message_id])
        except CoordError as error:
            self._fail(error)
        finally:
            self._rejoining = None
            self._may_send.set()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if self._is_joined:
                await self._transmit(self._ids.new(), "heartbeat", self._heartbeat, None)

    async def _listen(self) -> None:
        """Subscribe, and read the streams again after every subscription: it may hide a gap."""
        while True:
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
        while True:
            raw = await pubsub.get_message(timeout=REREAD_EVERY_S)
            if raw is not None and raw["type"] == "message":
                await self._on_push(raw["data"])
                continue
            if raw is not None and raw["type"] == "subscribe":
                subscribed += 1
                if subscribed < len(self._feeds):
                    continue
                self._is_listening.set()
            await self._catch_up()

    async def _on_push(self, data: bytes) -> None:
        try:
            push = decode_push(data)
        except (ValueError, KeyError, TypeError):
            log.warning("ignored a push that is none of coord's")
            return
        is_mine = push.after is not None or push.n is None
        if is_mine:
            self._settle_reply(push)
        if push.n is None or not self._is_joined or (self._log_waits and not is_mine):
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

    def _settle_reply(self, push: Push) -> None:
        if push.instance not in (None, self.instance):
            return
        future = self._replies.get(push.message["payload"].get("in_reply_to") or "")
        if future is not None and not future.done():
            future.set_result(push.message)

    async def _catch_up_if_possible(self) -> None:
        """The same as ``_catch_up``; in an outage the listener does it when it comes back."""
        with contextlib.suppress(redis.RedisError):
            await self._catch_up()

    async def _catch_up(self) -> None:
        """Read both streams to their end, the log only as far as somebody reads what comes."""
        async with self._reading:
            if not self._is_joined:
                return
            try:
                for name, feed in self._feeds.items():
                    await self._drain(name, feed)
            except EpochChanged:
                self._begin_rejoin()

    async def _drain(self, name: StreamName, feed: Feed) -> None:
        while True:
            if name == "log":
                self._log_waits = self._mailbox.is_full
                if self._log_waits:
                    return
            items = await feed.read()
            for item in items:
                if isinstance(item, Cut):
                    self._deliver_gap(name, item, "retention")
                else:
                    self._deliver(name, item)
            if not items:
                return

    def _deliver_gap(self, name: StreamName, cut: Cut, reason: str) -> None:
        payload = {"stream": name, "first": cut.first, "last": cut.last, "reason": reason}
        now = iso(self._clock.now_ms())
        gap = Message(self._ids.new(), HUB, "gap", now, payload, self.ai_id, name, cut.last)
        self._mailbox.put(gap)

    def _deliver(self, name: StreamName, push: Push) -> None:
        if self.ai_id in push.exclude or push.instance not in (None, self.instance):
            return
        message = Message(**push.message, stream=name, n=push.n or 0)
        if message.message_type == "error" and message.sender_id == HUB:
            if message.payload["code"] == "rejoin":
                if message.payload["in_reply_to"] in self._sent:
                    self._to_resend.append(message.payload["in_reply_to"])
                self._begin_rejoin()
                return
            self._refusals.append(refusal(message.payload))
            del self._refusals[MAX_REMEMBERED:]
        self._mailbox.put(message)


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    """The payload of an answer. Raises what an error stands for."""
    payload: dict[str, Any] = message["payload"]
    if message["message_type"] == "error":
        raise refusal(payload)
    return payload
