"""AsyncClient: how an AI takes part in a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import redis
from redis.asyncio import Connection, Redis
from redis.asyncio.client import PubSub

from coordinator.clock import Clock, Ids, RandomIds, SystemClock, instance_id
from coordinator.connection import connect_async, resolve_url
from coordinator.errors import (
    BadMessage,
    CoordError,
    NotAnswered,
    ServerUnusable,
    refusal,
)
from coordinator.keys import Keys
from coordinator.mailbox import Message
from coordinator.messages import HUB, ID_RULE, OPERATOR, Cursor, is_ai_id
from coordinator.outages import OUTAGES, through_outages
from coordinator.outbox import Outbox
from coordinator.reader import Reader
from coordinator.settings import Settings

log = logging.getLogger("coord.client")

T = TypeVar("T")

REPLY_WAIT_S = 1.0
REPLY_WAITS_PER_HELLO = 5
REREAD_EVERY_S = 5.0
CONFIRM_POLL_S = 0.01
MAX_REMEMBERED = 1000

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
        _check_id(ai_id)
        self.ai_id = ai_id
        self.settings = settings or Settings()
        self._ids = ids or RandomIds()
        self.instance = instance_id(self._ids)
        clock = clock or SystemClock()
        self._redis = connection or connect_async(url or resolve_url(self.settings))
        self._keys = Keys(self.settings.namespace)
        me = (ai_id, self.instance, self._redis, self._keys, clock)
        self._outbox = Outbox(*me, self.settings.message_max_bytes, self._through_outages)
        self._reader = Reader(*me, self._ids, self._rejoin_and_send, self._note_refusal)
        told = {"specialization": specialization, "capabilities": list(capabilities)}
        self._profile = {**(profile or {}), **told}
        self._cursor = cursor
        self._heartbeat: dict[str, Any] = {"status": "ready", "load": 0.0}
        self._lease_s = self.settings.lease_s
        self._handlers: dict[str, Handler] = {}
        self._refusals: list[CoordError] = []
        self._asked: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._is_listening = asyncio.Event()
        self._has_heard = False
        self._rejoining: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: CoordError | None = None
        self.sync: dict[str, Any] = {}
        """The payload of the last training_sync; empty before the first."""

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
            if self._reader.is_following and not self._failure:
                with contextlib.suppress(TimeoutError, CoordError):
                    async with asyncio.timeout(REPLY_WAIT_S):
                        await self.send("goodbye", {"reason": reason})
        finally:
            await self._stop()

    # -- sending -----------------------------------------------------------------------------------

    async def send(
        self, message_type: str, payload: dict[str, Any], target_ai: str | None = None
    ) -> str:
        """Send a message; its message_id. Returns once the server has it, however long that takes.

        Raises BadMessage when it is too large or cannot be written as JSON. What the coordinator
        refuses comes back as an ``error`` message, and from ``confirm``.
        """
        message_id = self._ids.new()
        await self._outbox.send(message_id, message_type, payload, target_ai)
        return message_id

    async def confirm(self, timeout_s: float = 30) -> None:
        """Wait until all that was sent has taken effect.

        Raises Refused for the first message that was refused since the last call, NotAnswered, and
        IdTaken when another instance took the id over.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._has_taken_effect():
                    await asyncio.sleep(CONFIRM_POLL_S)
        except TimeoutError:
            raise NotAnswered(
                f"not everything that {self.ai_id} sent took effect within {timeout_s:g} s"
            ) from None
        if self._refusals:
            first, self._refusals = self._refusals[0], []
            raise first

    async def _has_taken_effect(self) -> bool:
        """Whether the hub has dealt with all that was sent, and we have read its answers."""
        self._check()
        n = self._outbox.n
        with contextlib.suppress(redis.RedisError):
            done = await self._redis.get(self._keys.instance(self.ai_id, self.instance))
            if int(done or 0) >= n:
                await self._reader.catch_up()
                return not self._rejoining and n == self._outbox.n
        return False

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
                    await self._outbox.send(message_id, "query", payload, None)
                    with contextlib.suppress(TimeoutError):
                        found = await self._reader.reply(message_id, REPLY_WAIT_S)
                        return QueryResult(found["items"], found["cursor"], found["total"])
        except TimeoutError:
            raise NotAnswered(f"no coordinator answered the query in {timeout_s} s") from None

    def set_status(self, status: str, load: float = 0.0) -> None:
        """What the next heartbeats tell: a word, and how busy (0 idle, 1 fully)."""
        heartbeat = {"status": status, "load": load}
        self._outbox.encode("", "heartbeat", heartbeat)
        self._heartbeat = heartbeat

    # -- receiving ---------------------------------------------------------------------------------

    def on(self, message_type: str) -> Callable[[Handler], Handler]:
        """Register the decorated function (plain or async) for messages of a type; see ``run``."""

        def register(handler: Handler) -> Handler:
            self._handlers[message_type] = handler
            return handler

        return register

    def handler_of(self, message_type: str) -> Handler | None:
        """What was registered for messages of a type."""
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
        if timeout_s is None:
            return await self._reader.receive()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reader.receive()
        except TimeoutError:
            return None

    @property
    def cursor(self) -> Cursor:
        """How far ``receive`` has come: give it to a later client to go on from there."""
        return self._reader.taken

    # -- joining -----------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Say hello until it is answered, and go on from where the answer says."""
        await self._is_listening.wait()
        hello = dict(self._profile)
        if cursor := self._reader.read or self._cursor:
            hello["cursor"] = cursor.model_dump()
        sync = None
        while sync is None:
            sync = await self._say_hello(hello)
        self.sync = sync
        self._lease_s = sync["lease_s"]
        self._reader.start(sync)
        await self._reader.catch_up_if_possible()

    async def _say_hello(self, hello: dict[str, Any]) -> dict[str, Any] | None:
        """The answer's payload; None when none came, neither pushed nor in the inbox.

        A hello may be lost with the server that had it, so it is said again then.
        """
        message_id = self._ids.new()
        limit_s = REPLY_WAIT_S * REPLY_WAITS_PER_HELLO
        waiting = asyncio.create_task(self._reader.reply(message_id, limit_s))
        try:
            await self._outbox.transmit(self._outbox.encode(message_id, "hello", hello))
            for _ in range(REPLY_WAITS_PER_HELLO):
                done, _pending = await asyncio.wait([waiting], timeout=REPLY_WAIT_S)
                if done:
                    break
                with contextlib.suppress(redis.RedisError):
                    found = await self._reader.stored_reply(message_id)
                    if found:
                        return found
            with contextlib.suppress(TimeoutError):
                return await waiting
            return None
        finally:
            waiting.cancel()

    def _rejoin_and_send(self, message_id: str) -> None:
        """The hub does not know us any more; ``message_id``, if any, had no effect for that."""
        if message_id:
            self._outbox.note_unheeded(message_id)
        if self._rejoining is None and self._failure is None:
            self._reader.pause()
            self._outbox.hold()
            self._rejoining = self._background(self._rejoin())

    async def _rejoin(self) -> None:
        try:
            await self._join()
            await self._outbox.send_again()
        except CoordError as error:
            self._fail(error)
        finally:
            self._rejoining = None
            self._outbox.release()

    def _note_refusal(self, payload: dict[str, Any]) -> None:
        """Keep it for ``confirm``; a query's is raised where it was asked. Who is kicked is out."""
        if payload["code"] == "kicked":
            self._fail(refusal(payload))
        elif payload["in_reply_to"] not in self._asked:
            self._refusals.append(refusal(payload))
            del self._refusals[MAX_REMEMBERED:]

    # -- in the background -------------------------------------------------------------------------

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

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if self._reader.is_following:
                body = self._outbox.encode(self._ids.new(), "heartbeat", self._heartbeat)
                await self._outbox.transmit(body)

    async def _listen(self) -> None:
        """Subscribe, and again whenever the connection breaks.

        The end is looked for, since Python 3.11's wait_for can swallow a cancellation.
        """
        while not self._failure:
            pubsub = await self._through_outages(self._subscribe)
            connection = cast(Connection, pubsub.connection)
            watching = self._background(self._watch(connection))
            try:
                await self._read_pushes(connection)
            except (*OUTAGES, OSError) as error:
                log.info("%s: disconnected: %s", self.ai_id, error)
            finally:
                watching.cancel()
                with contextlib.suppress(redis.RedisError):
                    await pubsub.aclose()

    async def _subscribe(self) -> PubSub:
        pubsub = self._redis.pubsub()
        await pubsub.subscribe(self._keys.broadcast_channel, self._keys.channel(self.ai_id))
        return pubsub

    async def _read_pushes(self, connection: Connection) -> None:
        """Hand on what comes; once subscribed, read the streams, for what came before is in them.

        It reads the connection itself: the layers above would arm a timer for every message.
        """
        subscribed = 0
        while not self._failure:
            reply = await connection.read_response(timeout=math.inf, push_request=True)
            self._has_heard = True
            kind = reply[0] if isinstance(reply, list) else b"pong"
            if kind == b"message":
                await self._reader.take_push(reply[2])
            elif kind == b"subscribe":
                subscribed += 1
                if subscribed == 2:
                    self._is_listening.set()
                    await self._reader.catch_up()

    async def _watch(self, connection: Connection) -> None:
        """Every REREAD_EVERY_S: is the connection alive, and did no push go missing?"""
        with contextlib.suppress(redis.RedisError, OSError):
            while connection.is_connected and not self._failure:
                await asyncio.sleep(REREAD_EVERY_S)
                if not self._has_heard:
                    log.info("%s: no sign of life from the server", self.ai_id)
                    await connection.disconnect(nowait=True)
                    return
                self._has_heard = False
                await connection.send_command("PING", check_health=False)
                await self._reader.catch_up_if_possible()

    # -- the end -----------------------------------------------------------------------------------

    async def _through_outages(self, action: Callable[[], Awaitable[T]]) -> T:
        """Try until the server takes it. What no waiting can cure ends the client."""
        try:
            return await through_outages(action, self.ai_id, self._check)
        except ServerUnusable as error:
            self._fail(error)
            raise

    def _check(self) -> None:
        if self._failure:
            raise self._failure

    def _fail(self, error: CoordError) -> None:
        """Nothing can be sent or received any more, for this reason."""
        self._failure = self._failure or error
        self._reader.mailbox.close(error)
        self._is_listening.set()

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        if self._rejoining:
            tasks.append(self._rejoining)
        for task in tasks:
            task.cancel()
        self._reader.pause()
        self._failure = self._failure or CoordError(f"the client of {self.ai_id} is closed")
        self._reader.mailbox.close()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            with contextlib.suppress(redis.RedisError):
                await self._redis.aclose()


def _check_id(ai_id: str) -> None:
    if not is_ai_id(ai_id):
        raise BadMessage(
            "bad_envelope",
            f"{ai_id!r} cannot be an AI's id: {ID_RULE}; {HUB} and {OPERATOR} are reserved",
            "sender_id",
        )
