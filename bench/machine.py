"""What a benchmark ran on, and the throw-away server and subscribers it ran with."""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import selectors
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

import redis
from redis.connection import parse_url

from coordinator import embedded
from coordinator.connection import connect

MESSAGING_PACKAGES = ("redis", "hiredis", "pydantic")
SENT = re.compile(rb'"sent_ns":(\d+)')


def describe_machine(*packages: str) -> str:
    """Processor, system, Python, and the versions of packages."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    processor = model[1] if model else platform.machine()
    versions = [f"{name} {version(name)}" for name in packages]
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    python = f"Python {platform.python_version()}"
    return ", ".join([f"{os.cpu_count()} x {processor}", system, python, *versions])


def describe_server(connection: redis.Redis) -> str:
    info = connection.info("server")
    valkey = info.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"


@contextmanager
def throwaway_server() -> Iterator[str]:
    """An embedded server of this benchmark's own; its URL."""
    state_dir = Path(tempfile.mkdtemp(prefix="coord-bench-"))
    try:
        yield embedded.start(state_dir, die_with_parent=True).url
    finally:
        embedded.stop(state_dir)
        shutil.rmtree(state_dir)


class Subscribers:
    """Connections that only drain their sockets, in a process of their own.

    ``report`` gives the number of messages that came since the last report, and how long each was
    under way (seconds, from the ``sent_ns`` in its payload on the same machine's clock).
    """

    def __init__(self, url: str, channel: str, count: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_drain, args=(url, channel, count, theirs), daemon=True
        )
        self._process.start()
        self._pipe.recv()

    def report(self) -> list[float]:
        self._pipe.send("report")
        latencies: list[float] = self._pipe.recv()
        return latencies

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _drain(url: str, channel: str, count: int, pipe: Connection) -> None:
    selector = selectors.DefaultSelector()
    selector.register(pipe, selectors.EVENT_READ)
    tails: dict[socket.socket, bytes] = {}
    for _ in range(count):
        subscriber = _subscribed(url, channel)
        tails[subscriber] = b""
        selector.register(subscriber, selectors.EVENT_READ)
    pipe.send("ready")
    latencies: list[float] = []
    while True:
        for key, _ in selector.select():
            if key.fileobj is pipe:
                pipe.recv()
                pipe.send(latencies)
                latencies = []
                continue
            one = key.fileobj
            assert isinstance(one, socket.socket)
            data = tails[one] + one.recv(1 << 20)
            now_ns = time.time_ns()
            end = 0
            for found in SENT.finditer(data):
                latencies.append((now_ns - int(found[1])) / 1e9)
                end = found.end()
            tails[one] = data[max(end, len(data) - 64) :]


def _subscribed(url: str, channel: str) -> socket.socket:
    """A bare connection to the server's Unix socket, which is subscribed."""
    named = parse_url(url)
    one = socket.socket(socket.AF_UNIX)
    one.connect(named["path"])
    commands = [f"SUBSCRIBE {channel}"]
    if "password" in named:
        commands.insert(0, f"AUTH {named.get('username', 'default')} {named['password']}")
    for command in commands:
        one.sendall(f"{command}\r\n".encode())
        one.recv(1000)
    return one


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def connect_to(url: str) -> redis.Redis:
    return connect(url, socket_timeout_s=60)
