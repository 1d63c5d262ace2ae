"""AsyncClient: how an AI takes part in a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis

from coordinator.clock import Clock, Ids, RandomIds, SystemClock, instance_id
from coordinator.errors import BadMessage, CoordError, NotAnswered, refusal
from coordinator.followed import Followed, SessionUpdate, session_update
from coordinator.identity import Identity
from coordinator.mailbox import Message
from coordinator.messages import Cursor
from coordinator.settings import Settings
from coordinator.transport import REPLY_WAIT_S, Artifact
from coordinator.way import Way

MAX_REMEMBERED = 1000

Handler = Callable[[Message], Awaitable[None] | None]


class QueryResult(NamedTuple):
    """``items`` of one page, the ``cursor`` of the next (None at the end), ``total`` in all."""

    items: list[dict[str, Any]]
    cursor: str | None
    total: int


class WorkspaceEntry(NamedTuple):
    """A value in a session's workspace, its version (1, 2, 3 ...), and who wrote that when."""

    value: Any
    version: int
    by: str
    ms: int


class AsyncClient:
    """One AI in a fleet: ``async with AsyncClient("AI_1", specialization="audio") as client: ...``

    It says hello, heartbeats by itself, reads what others send in order and without loss, and
    comes back by itself after any outage. Sending waits while the fleet cannot be reached.

    ``url`` is a Redis server's (redis, rediss, unix) or a gateway's: ``coord://host:6000``, with
    TLS ``coords://host:6000``. Without it COORD_URL is used, else what every coord command finds
    (COORD_REDIS_URL, or the embedded server). A gateway asks for a ``token`` (else COORD_TOKEN, or
    what is in COORD_TOKEN_FILE at each login); ``ca`` is a file with the CA of its certificate
    (else COORD_TLS_CA, or the system's).

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
        token: str | None = None,
        ca: Path | str | None = None,
        settings: Settings | None = None,
        connection: Redis | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self.ai_id = ai_id
        self.settings = settings or Settings()
        self._ids = ids or RandomIds()
        self.instance = instance_id(self._ids)
        self._me = Identity(
            ai_id,
            self.instance,
            clock or SystemClock(),
            self._ids,
            self.settings.message_max_bytes,
        )
        told = {"specialization": specialization, "capabilities": list(capabilities)}
        hello = {**(profile or {}), **told}
        way = Way(self._me, self.settings, hello, cursor, self._hear)
        self._transport = way.open(url, token, ca, connection)
        self._followed = Followed(self._transport, self._me.clock)
        self._heartbeat: dict[str, Any] = {"status": "ready", "load": 0.0}
        self._handlers: dict[str, Handler] = {}
        self._refusals: list[CoordError] = []
        self._asked: deque[str] = deque(maxlen=MAX_REMEMBERED)

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self, timeout_s: float | None = 30) -> None:
        """Join the fleet; ``timeout_s`` None waits for ever.

        Raises IdTaken, Refused (by a gateway also for a token that it does not know),
        ServerUnusable, NotAnswered when no gateway can be reached or no coordinator is active.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._transport.join()
        except BaseException as error:
            failure = self._transport.life.failure
            await self._transport.leave()
            if failure:
                raise failure from None
            if isinstance(error, TimeoutError):
                if trouble := self._transport.life.trouble:
                    raise NotAnswered(f"{trouble} (tried for {timeout_s:g} s)") from None
                raise NotAnswered(
                    f"no coordinator answered within {timeout_s:g} s; is one active, and the server"
                    " up? (`coord status`)"
                ) from None
            raise
        self._transport.life.start(self._beat())

    async def close(self, reason: str = "") -> None:
        """Say goodbye, if the fleet can be reached, and disconnect."""
        try:
            if self._transport.is_joined and not self._transport.life.failure:
                with contextlib.suppress(TimeoutError, CoordError):
                    async with asyncio.timeout(REPLY_WAIT_S):
                        await self.send("goodbye", {"reason": reason})
        finally:
            await self._transport.leave()

    @property
    def sync(self) -> dict[str, Any]:
        """The payload of the last training_sync; empty before the first."""
        return self._transport.sync

    # -- sending -----------------------------------------------------------------------------------

    async def send(
        self, message_type: str, payload: dict[str, Any], target_ai: str | None = None
    ) -> str:
        """Send a message; its message_id. Returns once it is on its way, however long that takes:
        no outage stops it any more.

        Raises BadMessage when it is too large or cannot be written as JSON. What the coordinator
        refuses comes back as an ``error`` message, and from ``confirm``.
        """
        message_id = self._ids.new()
        await self._transport.send(message_id, message_type, payload, target_ai)
        return message_id

    async def confirm(self, timeout_s: float = 30) -> None:
        """Wait until all that was sent has taken effect.

        Raises Refused for the first message that was refused since the last call, NotAnswered, and
        IdTaken when another instance took the id over.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._transport.confirm()
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

    def set_status(self, status: str, load: float = 0.0) -> None:
        """What the next heartbeats tell: a word, and how busy (0 idle, 1 fully)."""
        heartbeat = {"status": status, "load": load}
        self._me.encode("", "heartbeat", heartbeat)
        self._heartbeat = heartbeat

    # -- asking ------------------------------------------------------------------------------------

    async def query(
        self,
        what: str,
        filter: dict[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
        timeout_s: float | None = 30,
    ) -> QueryResult:
        """Ask for ais, patterns, components, features, benchmarks, sessions, units, workspace or
        counts, a page at a time; docs/protocol.md lists the filters.

        Raises Refused, NotAnswered.
        """
        payload = {"what": what, "filter": filter or {}, "limit": limit, "cursor": cursor}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message_id = self._ids.new()
                    self._asked.append(message_id)
                    with contextlib.suppress(TimeoutError):
                        found = await self._transport.ask(message_id, payload)
                        return QueryResult(found["items"], found["cursor"], found["total"])
        except TimeoutError:
            raise NotAnswered(f"no coordinator answered the query in {timeout_s} s") from None

    async def request_feature(
        self,
        feature: str,
        requirements: Mapping[str, Any] | None = None,
        *,
        wait_s: float = 0,
    ) -> SessionUpdate:
        """Ask the fleet for a feature; how the request stands, after ``wait_s`` or when it is over.

        Without waiting for its end, follow the messages of type ``feature_update`` whose
        ``request_id`` is the session_id. Raises Refused, NotAnswered.
        """
        payload = {"feature": feature, "requirements": dict(requirements or {})}
        return await self._open_session("feature_request", payload, wait_s)

    async def collaborate(
        self,
        type: str,
        *,
        target_ai: str = "",
        description: str = "",
        seeking_expertise: Sequence[str] = (),
        requirements: Mapping[str, Any] | None = None,
        participants: int = 2,
        plan: Sequence[Mapping[str, Any]] | None = None,
        wait_s: float = 0,
    ) -> SessionUpdate:
        """Ask ``target_ai``, or everybody, to work on something together: feature_development,
        cross_specialization or performance_optimization. ``plan`` has units of one's own in place
        of the type's; docs/protocol.md describes all fields of a collaboration_request.

        Waiting is as in ``request_feature``; the messages are ``collaboration_update``. Raises
        Refused, NotAnswered.
        """
        payload: dict[str, Any] = {
            "type": type,
            "target_ai": target_ai,
            "description": description,
            "seeking_expertise": list(seeking_expertise),
            "requirements": dict(requirements or {}),
            "participants": participants,
        }
        if plan is not None:
            payload["plan"] = [dict(unit) for unit in plan]
        return await self._open_session("collaboration_request", payload, wait_s)

    async def answer(self, session_id: str, accept: bool, reason: str = "") -> str:
        """Say yes or no to a collaboration that this AI was asked to take part in."""
        payload = {"session_id": session_id, "accept": accept, "reason": reason}
        return await self.send("collaboration_response", payload)

    async def put_workspace(
        self, session_id: str, key: str, value: Any, expected_version: int | None = None
    ) -> str:
        """Write a key of a session's shared workspace. With ``expected_version`` (0: not there yet)
        it is refused with ``stale_version`` if somebody else was faster."""
        payload = {"session_id": session_id, "key": key, "value": value}
        if expected_version is not None:
            payload["expected_version"] = expected_version
        return await self.send("workspace_update", payload)

    async def get_workspace(self, session_id: str) -> dict[str, WorkspaceEntry]:
        """All that is in a session's workspace, by its keys. It is for those who take part.

        Raises Refused, NotAnswered.
        """
        found: dict[str, WorkspaceEntry] = {}
        cursor = None
        while True:
            page = await self.query("workspace", {"session_id": session_id}, 100, cursor)
            found |= {item.pop("key"): WorkspaceEntry(**item) for item in page.items}
            cursor = page.cursor
            if cursor is None:
                return found

    async def complete(self, session_id: str, component: dict[str, Any]) -> str:
        """End a collaboration that this AI takes part in by what came of it, ``{name, ...}``, which
        is stored and passed on to all."""
        ends: dict[str, Any] = {"session_id": session_id, "collaboration_complete": True}
        return await self.share_component(component, **ends)

    async def _open_session(
        self, message_type: str, payload: dict[str, Any], wait_s: float
    ) -> SessionUpdate:
        """Ask for a session, and follow it for ``wait_s`` or to its end."""
        update = await self._followed.open_session(self._ids.new(), message_type, payload, wait_s)
        component_id = update.get("component_id")
        component = await self._component(component_id) if component_id else None
        return session_update(update, component)

    async def _component(self, component_id: str) -> dict[str, Any] | None:
        """A stored component; None if it was taken back meanwhile."""
        page = await self.query("features", {"id": component_id})
        component: dict[str, Any] | None = page.items[0]["component"] if page.items else None
        return component

    # -- artifacts ---------------------------------------------------------------------------------

    async def put_artifact(
        self,
        data: bytes,
        name: str | None = None,
        target_ai: str | None = None,
        share: bool = False,
    ) -> Artifact:
        """Store what is too large for a message, for COORD_ARTIFACT_KEEP_S; returns once it is
        there, however long that takes. With ``target_ai`` that AI is told of it by a ``payload``
        message ``{artifact, owner, bytes, name}`` and can get it, with ``share`` everybody.

        Raises BadMessage when it is too large, Refused when this AI has too much of it there.
        """
        most_bytes = self.settings.artifact_max_bytes
        if len(data) > most_bytes:
            raise BadMessage(
                "too_large",
                f"the artifact has {len(data)} bytes; at most {most_bytes} are allowed",
            )
        artifact = Artifact(self.ai_id, hashlib.sha256(data).hexdigest(), len(data))
        more = ({"name": name} if name else {}) | ({"share": True} if share else {})
        message_id = self._ids.new()
        with self._followed.replies_to(message_id) as replies:
            await self._transport.put_artifact(message_id, artifact, data, more, target_ai)
            await self._transport.confirm()
        if not replies.empty() and (told := replies.get_nowait()).message_type == "error":
            raise refusal(told.payload)
        return artifact

    async def get_artifact(self, owner: str, sha256: str, timeout_s: float = 30) -> bytes:
        """What ``owner`` put, if it is this AI or was meant for it.

        Raises Refused with code ``not_found``, NotAnswered.
        """
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._transport.get_artifact(owner, sha256)
        except TimeoutError:
            raise NotAnswered(f"artifact {sha256} did not come within {timeout_s:g} s") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CoordError(f"artifact {sha256} of {owner} holds something else than it says")
        return data

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
            return await self._transport.receive()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._transport.receive()
        except TimeoutError:
            return None

    @property
    def cursor(self) -> Cursor:
        """How far ``receive`` has come: give it to a later client to go on from there."""
        return self._transport.cursor

    def _hear(self, message: Message) -> None:
        """What the hub says to us goes to who waits for it here; a refusal else to ``confirm``. A
        query's is raised where it was asked."""
        if self._followed.take(message):
            return
        if (
            message.message_type == "error"
            and message.payload.get("in_reply_to") not in self._asked
        ):
            self._refusals.append(refusal(message.payload))
            del self._refusals[MAX_REMEMBERED:]

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._transport.sync["lease_s"] / 3)
            if self._transport.is_joined:
                await self._transport.beat(self._heartbeat)
