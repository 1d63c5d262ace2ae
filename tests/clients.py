"""Clients under test: fleets that they join, and waiting inside an event loop."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import redis as redis_py

from coordinator.blocking import Client, LoopThread
from coordinator.client import AsyncClient
from coordinator.clock import RandomIds, SystemClock, instance_id
from coordinator.connection import COORDINATOR, connect, connect_async, server_run_id
from coordinator.coordinator import Coordinator
from coordinator.credentials import digest, new_token
from coordinator.gateway import Gateway, GatewaySettings
from coordinator.keys import Keys
from coordinator.mailbox import Message
from coordinator.messages import is_ai_id
from coordinator.operator import send_as_operator
from coordinator.settings import Settings
from tests.servers import wait_for

T = TypeVar("T")
LIMIT_S = 40.0
PEPPER = b"pepper-of-the-tests"


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make an async test a plain one; whatever task it leaves behind fails it."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def scenario() -> None:
            async with asyncio.timeout(LIMIT_S):
                await test(*arguments, **named)
            await no_tasks_left()

        asyncio.run(scenario())

    return run


async def until(condition: Callable[[], T], limit_s: float = 20, what: str = "") -> T:
    """``wait_for`` that lets the event loop run meanwhile."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s} s in vain for {what or condition}")
        await asyncio.sleep(0.005)
    return value


async def no_tasks_left() -> None:
    """The tasks of the running loop are this one alone, now or in a moment."""

    me = asyncio.current_task()
    await until(lambda: not our_tasks() - {me}, what="the tasks that were started to end")


def our_tasks() -> set[asyncio.Task[Any] | None]:
    """The tasks of the running loop, but for those fakeredis leaves waiting for bytes."""
    return {task for task in asyncio.all_tasks() if "Event.wait" not in repr(task.get_coro())}


class RunningCoordinator:
    """A coordinator in a thread: ``crash`` ends it without a word, ``stop`` as Ctrl-C would."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._connection = connect(url, client_name=COORDINATOR)
        self.coordinator = Coordinator(
            self._connection,
            settings,
            SystemClock(),
            RandomIds(),
            instance_id(),
            lambda: server_run_id(self._connection),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def crash(self) -> None:
        self.coordinator.leave = lambda: None  # type: ignore[method-assign]
        self.stop()

    def _run(self) -> None:
        with self._connection:
            self.coordinator.run(self._stop)


class RealFleet:
    """A fleet on a real server: its coordinator in a thread, clients wherever they are made."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.settings = Settings(**{"leader_lease_s": 0.5, **settings})
        self.keys = Keys(self.settings.namespace)
        self.redis = connect(url)
        self._running: RunningCoordinator | None = None

    def __enter__(self) -> Self:
        self.start_coordinator()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_coordinator()
        self.redis.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)

    def start_coordinator(self) -> None:
        """Start one, and wait until it is active."""
        self._running = RunningCoordinator(self.url, self.settings)
        running = self._running
        wait_for(lambda: running.coordinator.active, what="the coordinator to be active")

    def stop_coordinator(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def crash_coordinator(self) -> None:
        assert self._running is not None
        self._running.crash()
        self._running = None

    def client(self, ai_id: str, **options: Any) -> Client:
        url = options.pop("url", self.url)
        return Client(ai_id, url, **{"settings": self.settings, **options})

    def async_client(self, ai_id: str, **options: Any) -> AsyncClient:
        url = options.pop("url", self.url)
        return AsyncClient(ai_id, url, **{"settings": self.settings, **options})

    def live(self) -> list[str]:
        names: Any = self.redis.zrange(self.keys.leases, 0, -1)
        return sorted(name.decode() for name in names)

    def log(self) -> list[dict[str, Any]]:
        """The broadcasts that are stored."""
        entries: Any = self.redis.xrange(self.keys.log)
        return [json.loads(fields[b"message"]) for _, fields in entries]

    def log_length(self) -> int:
        """The number of the last broadcast."""
        return int(self._info(self.keys.log))

    def cut_connections(self) -> None:
        """CLIENT KILL of every subscriber and every other connection of a client."""
        for kind in ("pubsub", "normal"):
            for entry in self.redis.client_list(_type=kind):
                if entry["name"] != "coord-coordinator" and entry["id"] != str(
                    self.redis.client_id()
                ):
                    self._kill(entry["id"])

    def cut_subscribers(self) -> int:
        """CLIENT KILL of every subscriber; how many there were."""
        killed = [self._kill(entry["id"]) for entry in self.redis.client_list(_type="pubsub")]
        return sum(killed)

    def _kill(self, client_id: str) -> bool:
        try:
            return bool(self.redis.client_kill_filter(_id=client_id))
        except redis_py.ResponseError:
            return False

    def _info(self, key: str) -> bytes:
        info: Any = self.redis.xinfo_stream(key)
        last: bytes = info["last-generated-id"]
        return last.split(b"-")[0]


class GatewayFleet(RealFleet):
    """The same, whose clients come in by a gateway; each has a token of its own."""

    def __init__(self, url: str, gateway: GatewaySettings | None = None, **settings: Any) -> None:
        super().__init__(url, **settings)
        unhurried = {"messages_per_s": 1e6, "messages_burst": 1_000_000}
        given = gateway and gateway.model_dump(exclude_unset=True)
        self.gateway_settings: dict[str, Any] = given or unhurried
        self._gateways: list[RunningGateway] = []
        self._tokens: dict[str, str] = {}
        self.url_of_gateway = ""

    def start_coordinator(self) -> None:
        super().start_coordinator()
        if not self._gateways:
            self.start_gateway()

    def start_gateway(self, **changed: Any) -> None:
        """Clients come in by the one that was started last, unless they name another."""
        self._gateways.append(RunningGateway(self, **{**self.gateway_settings, **changed}))
        self.url_of_gateway = self._gateways[-1].url

    def stop_gateway(self) -> None:
        self._gateways.pop().stop()

    def __exit__(self, *_: object) -> None:
        while self._gateways:
            self.stop_gateway()
        super().__exit__()

    def order(self, message_type: str, payload: dict[str, Any]) -> None:
        """Have the operator send a message."""
        send_as_operator(self.redis, self.keys, SystemClock(), RandomIds(), message_type, payload)

    def token(self, ai_id: str) -> str:
        """The AI's token, enrolled at its first use."""
        if ai_id not in self._tokens:
            token = new_token()
            enrolled = {
                "ai": ai_id,
                "key_id": token.key_id,
                "digest": digest(PEPPER, token.text),
                "role": "trainer",
                "is_weak": False,
            }
            send_as_operator(self.redis, self.keys, SystemClock(), RandomIds(), "enroll", enrolled)
            self._tokens[ai_id] = token.text
        return self._tokens[ai_id]

    def client(self, ai_id: str, **options: Any) -> Client:
        return Client(ai_id, **self._options(ai_id, options))

    def async_client(self, ai_id: str, **options: Any) -> AsyncClient:
        return AsyncClient(ai_id, **self._options(ai_id, options))

    def _options(self, ai_id: str, options: dict[str, Any]) -> dict[str, Any]:
        if is_ai_id(ai_id) and "token" not in options:
            options = {"token": self.token(ai_id), **options}
        return {"url": self.url_of_gateway, "settings": self.settings, **options}


class RunningGateway:
    """A gateway of ``fleet`` in a thread with a loop of its own."""

    def __init__(self, fleet: RealFleet, **settings: Any) -> None:
        self.fleet = fleet
        self.gateway = Gateway(
            GatewaySettings(**{"listen": "127.0.0.1:0", **settings}),
            fleet.settings,
            lambda name: connect_async(fleet.url, client_name=name),
            SystemClock(),
            RandomIds(),
            PEPPER,
        )
        self.gateway.bind()
        scheme = "coords" if settings.get("tls_cert") else "coord"
        self.url = f"{scheme}://{self.gateway.address}"
        self.metrics = self.gateway.metrics
        self._thread = LoopThread("gateway")
        self._stop = asyncio.Event()
        self._running = self._thread.start(self._run())
        self._is_stopped = False

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.gateway.address.rpartition(":")
        return host, int(port)

    @property
    def connections(self) -> int:
        return self.gateway.connections

    @property
    def is_running(self) -> bool:
        return not self._running.done()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it as Ctrl-C would; whatever it leaves behind fails the test."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self.call(self._stop.set)
        left_behind = self._running.result(20)
        self._thread.close()
        assert left_behind == []
        assert self.connections == 0

    def call(self, action: Callable[[], Any]) -> Any:
        """What ``action`` gives in the gateway's thread."""

        async def act() -> Any:
            return action()

        return self._thread.call(act())

    async def _run(self) -> list[str]:
        """The tasks that it leaves behind."""
        await self.gateway.run(self._stop)
        await asyncio.sleep(0)
        me = asyncio.current_task()
        return [repr(task) for task in asyncio.all_tasks() if task is not me]


async def receive_all(client: AsyncClient, quiet_s: float = 0.3) -> list[Message]:
    """What has come, until nothing more comes for ``quiet_s``."""
    came = []
    while (message := await client.receive(quiet_s)) is not None:
        came.append(message)
    return came


async def receive_until(
    client: AsyncClient, is_last: Callable[[Message], bool], limit_s: float = 20
) -> list[Message]:
    """What comes, up to the first for which ``is_last`` holds."""
    came: list[Message] = []
    async with asyncio.timeout(limit_s):
        async for message in client.messages():
            came.append(message)
            if is_last(message):
                break
    return came


def pattern(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"p{number}",
        "type": "t",
        "data": {"number": number},
        "confidence": 0.5,
        "specialization": "audio",
        **more,
    }


def number_of(message: Message) -> int:
    """The number in a shared ``pattern``."""
    return int(message.payload["pattern"]["data"]["number"])


def is_pattern(number: int) -> Callable[[Message], bool]:
    return lambda message: message.message_type == "pattern_share" and number_of(message) == number


def numbers_of(messages: list[Message]) -> list[int]:
    return [number_of(m) for m in messages if m.message_type == "pattern_share"]
