"""Throw-away servers for tests, and waiting without sleeping."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordinator import embedded
from coordinator.processes import tied_to_parent

RealKind = Literal["valkey", "redis"]
Kind = Literal["fakeredis", "valkey", "redis"]

REPOSITORY = Path(__file__).resolve().parents[1]
REDIS_SERVER = shutil.which("redis-server")
REAL_KINDS: list[RealKind] = ["valkey", "redis"] if REDIS_SERVER else ["valkey"]
KINDS: list[Kind] = ["fakeredis", *REAL_KINDS]

T = TypeVar("T")


def wait_for(condition: Callable[[], T], limit_s: float = 30, what: str = "") -> T:
    """The first true value of ``condition``, asked again and again, or AssertionError."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s} s in vain for {what or condition}")
        time.sleep(0.005)
    return value


def python_environment(**extra: str) -> dict[str, str]:
    """The environment for a Python subprocess that imports from this repository."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}


class TestServer:
    """A server of one kind on a Unix socket in a short directory; it dies with the test process.

    ``arguments`` are added to its command line and win over the defaults, which are: no
    persistence, no eviction. Start it from the main thread. Its data outlives ``kill`` and
    ``stop`` until ``close``, as far as the arguments make it persistent.
    """

    __test__ = False  # for pytest, which collects what is named so

    def __init__(self, kind: RealKind, *arguments: str) -> None:
        self.kind = kind
        self.arguments = list(arguments)
        self.directory = Path(tempfile.mkdtemp(prefix="coord-"))
        self.socket_path = self.directory / "s"
        self.url = f"unix://{self.socket_path}"
        self.log_path = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Start it; with ``wait`` it serves when this returns."""
        assert self._process is None, "the server is running already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                tied_to_parent(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            wait_for(self._ready, what=f"{self.kind} to serve; see {self.log_path}")
        return self

    def stop(self) -> None:
        """End it as an operator would; what it keeps is written."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would (kill -9)."""
        self._end(signal.SIGKILL)

    def restart(self, *arguments: str, wait: bool = True) -> None:
        """Start it again after ``kill`` or ``stop``, or kill it first; arguments are added."""
        if self._process is not None:
            self.kill()
        self.arguments += arguments
        self.start(wait=wait)

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def client(self, socket_timeout_s: float = 10) -> redis.Redis:
        """A new client that retries nothing; close it after use."""
        return redis.Redis(
            unix_socket_path=str(self.socket_path),
            protocol=2,
            socket_timeout=socket_timeout_s,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )

    def close(self) -> None:
        """End it if it runs, and remove all it kept."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _command(self) -> list[str]:
        binary = embedded.binary() if self.kind == "valkey" else REDIS_SERVER
        assert binary is not None, "redis-server is not installed"
        return [
            binary,
            *("--port", "0"),
            *("--unixsocket", str(self.socket_path)),
            *("--dir", str(self.directory)),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--enable-debug-command", "local"),
            *self.arguments,
        ]

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = self.log_path.read_text(errors="replace")[-2000:]
            raise AssertionError(f"{self.kind} ended at its start: {log}")
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # a paused one would not notice
        self._process.wait(30)
        self._process = None
