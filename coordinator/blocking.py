"""Client: the same as AsyncClient for code that does not use asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from coordinator.client import (
    AsyncClient,
    Handler,
    QueryResult,
    WorkspaceEntry,
)
from coordinator.errors import CoordError
from coordinator.followed import SessionUpdate
from coordinator.mailbox import Message
from coordinator.messages import Cursor
from coordinator.settings import Settings
from coordinator.transport import Artifact

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own, on which other threads run coroutines."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run ``work`` there meanwhile. Raises CoordError when the loop is closed."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise CoordError("the client is closed") from None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end; an interrupt of the waiting thread cancels it.

        Raises CoordError when the loop is closed, or is meanwhile.
        """
        future = self.start(work)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise CoordError("the client was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop; whoever still waits for a ``call`` is told."""
        self.call(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Client:
    """One AI in a fleet: ``with Client("AI_1", specialization="audio") as client: ...``

    An AsyncClient on a thread of its own, which heartbeats and listens whatever the caller does.
    The arguments, the calls and their errors are those of AsyncClient, but that ``connection``,
    ``clock`` and ``ids`` cannot be given: they would be shared between threads.
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
    ) -> None:
        def make() -> AsyncClient:
            return AsyncClient(
                ai_id,
                url,
                specialization=specialization,
                capabilities=capabilities,
                cursor=cursor,
                profile=profile,
                token=token,
                ca=ca,
                settings=settings,
            )

        self._start(make, LoopThread(f"coord {ai_id}"), owns_thread=True)

    @classmethod
    def _on(cls, thread: LoopThread, make: Callable[[], AsyncClient]) -> Client:
        """A client on a thread that others use too; for FakeFleet, whose server lives there."""
        client = cls.__new__(cls)
        client._start(make, thread, owns_thread=False)
        return client

    def _start(
        self, make: Callable[[], AsyncClient], thread: LoopThread, owns_thread: bool
    ) -> None:
        self._thread = thread
        self._owns_thread = owns_thread
        self._is_closed = False

        async def build() -> AsyncClient:
            return make()

        try:
            self._client = thread.call(build())
        except BaseException:
            self._end_thread()
            raise

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ai_id(self) -> str:
        """The AI that it is."""
        return self._client.ai_id

    @property
    def sync(self) -> dict[str, Any]:
        """The payload of the last training_sync; empty before the first."""
        return self._client.sync

    @property
    def cursor(self) -> Cursor:
        """How far ``receive`` has come: give it to a later client to go on from there."""
        return self._client.cursor

    def connect(self, timeout_s: float | None = 30) -> None:
        """Join the fleet; ``timeout_s`` None waits for ever."""
        try:
            self._thread.call(self._client.connect(timeout_s))
        except BaseException:
            self._end_thread()
            raise

    def close(self, reason: str = "") -> None:
        """Say goodbye, if the server answers soon, and disconnect."""
        if self._is_closed:
            return
        try:
            self._thread.call(self._client.close(reason))
        finally:
            self._end_thread()

    def send(self, message_type: str, payload: dict[str, Any], target_ai: str | None = None) -> str:
        """Send a message; its message_id. Returns once it is on its way."""
        return self._thread.call(self._client.send(message_type, payload, target_ai))

    def confirm(self, timeout_s: float = 30) -> None:
        """Wait until all that was sent has taken effect; raise what was refused."""
        self._thread.call(self._client.confirm(timeout_s))

    def share_pattern(self, pattern: dict[str, Any], target_ai: str | None = None) -> str:
        """Share what was learned: ``{id, type, data, confidence, specialization}``."""
        return self._thread.call(self._client.share_pattern(pattern, target_ai))

    def share_code(self, code: dict[str, Any], target_ai: str | None = None) -> str:
        """Share a component: ``{id, name, language, specialization, code, dependencies}``."""
        return self._thread.call(self._client.share_code(code, target_ai))

    def share_component(
        self, component: dict[str, Any], target_ai: str | None = None, **more: Any
    ) -> str:
        """Share a feature's component; ``more`` are further fields of the message."""
        return self._thread.call(self._client.share_component(component, target_ai, **more))

    def report(self, component_id: str, performance: dict[str, float]) -> str:
        """Report what was measured of a component: metric -> finite number."""
        return self._thread.call(self._client.report(component_id, performance))

    def set_status(self, status: str, load: float = 0.0) -> None:
        """What the next heartbeats tell: a word, and how busy (0 idle, 1 fully)."""
        self._client.set_status(status, load)

    def query(
        self,
        what: str,
        filter: dict[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
        timeout_s: float | None = 30,
    ) -> QueryResult:
        """Ask for ais, patterns, components, features, benchmarks, sessions, units, workspace or
        counts, a page at a time."""
        return self._thread.call(self._client.query(what, filter, limit, cursor, timeout_s))

    def request_feature(
        self,
        feature: str,
        requirements: Mapping[str, Any] | None = None,
        *,
        wait_s: float = 0,
    ) -> SessionUpdate:
        """Ask the fleet for a feature; how the request stands, after ``wait_s`` or at its end."""
        asking = self._client.request_feature(feature, requirements, wait_s=wait_s)
        return self._thread.call(asking)

    def collaborate(
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
        """Ask ``target_ai``, or everybody, to work on something together."""
        asking = self._client.collaborate(
            type,
            target_ai=target_ai,
            description=description,
            seeking_expertise=seeking_expertise,
            requirements=requirements,
            participants=participants,
            plan=plan,
            wait_s=wait_s,
        )
        return self._thread.call(asking)

    def answer(self, session_id: str, accept: bool, reason: str = "") -> str:
        """Say yes or no to a collaboration that this AI was asked to take part in."""
        return self._thread.call(self._client.answer(session_id, accept, reason))

    def put_workspace(
        self, session_id: str, key: str, value: Any, expected_version: int | None = None
    ) -> str:
        """Write a key of a session's shared workspace."""
        putting = self._client.put_workspace(session_id, key, value, expected_version)
        return self._thread.call(putting)

    def get_workspace(self, session_id: str) -> dict[str, WorkspaceEntry]:
        """All that is in a session's workspace, by its keys."""
        return self._thread.call(self._client.get_workspace(session_id))

    def complete(self, session_id: str, component: dict[str, Any]) -> str:
        """End a collaboration by what came of it."""
        return self._thread.call(self._client.complete(session_id, component))

    def put_artifact(
        self,
        data: bytes,
        name: str | None = None,
        target_ai: str | None = None,
        share: bool = False,
    ) -> Artifact:
        """Store what is too large for a message; tell ``target_ai`` of it, or all."""
        return self._thread.call(self._client.put_artifact(data, name, target_ai, share))

    def get_artifact(self, owner: str, sha256: str, timeout_s: float = 30) -> bytes:
        """What ``owner`` put, if it is this AI or was meant for it."""
        return self._thread.call(self._client.get_artifact(owner, sha256, timeout_s))

    def on(self, message_type: str) -> Callable[[Handler], Handler]:
        """Register the decorated function for messages of a type; see ``run``."""
        return self._client.on(message_type)

    def run(self) -> None:
        """Call the registered handlers, in this thread, until the client is closed."""
        for message in self.messages():
            handler = self._client.handler_of(message.message_type)
            result = handler(message) if handler else None
            if inspect.iscoroutine(result):
                self._thread.call(result)

    def messages(self) -> Iterator[Message]:
        """Everything that others send to this AI and to all, in the order of each stream."""
        while (message := self.receive()) is not None:
            yield message

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message; None when the client is closed or ``timeout_s`` is over."""
        if self._is_closed:
            return None
        return self._thread.call(self._client.receive(timeout_s))

    def _end_thread(self) -> None:
        self._is_closed = True
        if self._owns_thread:
            self._thread.close()
