"""A few quick attacks, made inside a rung before it is trusted; the judge stays outside."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.sandbox.failures import PolicyFailed
from workers.sandbox.rung import MIB, Limits, Rung
from workers.sandbox.sandbox import Sandbox

LIMITS = Limits(wall_s=10.0, cpu_s=5.0)
SOURCE = """
import os
import socket

class Policy:
    def tcp(self, port):
        socket.create_connection(("127.0.0.1", port), 1).sendall(b"x")

    def abstract(self, name):
        socket.socket(socket.AF_UNIX).connect("\\0" + name)

    def socket(self):
        return socket.socket().fileno()

    def read(self, path):
        with open(path) as file:
            return file.read()

    def see(self, path):
        return os.stat(path).st_size

    def write(self, path):
        with open(path, "w") as file:
            file.write("x")

    def fork(self):
        if os.fork() == 0:
            os._exit(0)
        return True

    def signal(self, pid):
        os.kill(pid, 0)
        return True

    def user(self):
        return os.getuid()

    def memory(self, size):
        return len(bytearray(size))

    def execute(self, path):
        os.execv(path, [path])
"""


@dataclass(frozen=True)
class _Baits:
    """What lies ready outside: two listeners, a secret, and a directory that all may write to."""

    tcp: socket.socket
    abstract: socket.socket
    secret: str
    directory: Path

    @property
    def tcp_port(self) -> int:
        return int(self.tcp.getsockname()[1])

    @property
    def abstract_name(self) -> str:
        return str(self.abstract.getsockname()[1:].decode())

    def reached(self, listener: socket.socket) -> bool:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def _laid() -> Iterator[_Baits]:
    name = f"\0coord-canary-{secrets.token_hex(8)}"
    with (
        tempfile.TemporaryDirectory(prefix="coord-canary-") as directory,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(name)
        abstract.listen()
        tcp.setblocking(False)
        abstract.setblocking(False)
        baits = _Baits(tcp, abstract, secrets.token_hex(8), Path(directory))
        baits.directory.chmod(0o777)
        (baits.directory / "secret").write_text(baits.secret)
        yield baits


def succeeded(rung: Rung) -> list[str]:
    """The attacks that succeed on ``rung``, in words.

    Raises Interrupted if it does not come up, PolicyFailed and OSError if not all could be tried.
    """
    with _laid() as baits, Sandbox(rung, LIMITS, SOURCE) as box:
        box.load()
        box.make(0, [])
        _answer(box, "tcp", baits.tcp_port)
        _answer(box, "abstract", baits.abstract_name)
        _answer(box, "write", str(baits.directory / "written"))
        secret = _answer(box, "read", str(baits.directory / "secret"))
        held = {
            "it reached a TCP port of this machine": not baits.reached(baits.tcp),
            "it reached an abstract Unix socket": not baits.reached(baits.abstract),
            "it wrote a file outside": not (baits.directory / "written").exists(),
            "it read a file outside": secret != baits.secret,
            "it saw a file outside": _answer(box, "see", str(baits.directory / "secret")) is None,
            "it got a socket": _answer(box, "socket") is None,
            "it started a process": _answer(box, "fork") is None,
            "it found its supervisor": _answer(box, "signal", os.getpid()) is None,
            "it is still root": _answer(box, "user") != 0,
            "it got more memory": _answer(box, "memory", LIMITS.memory_bytes + MIB) is None,
            "it ran a program": not _executes(box),
        }
    return [words for words, holds in held.items() if not holds]


def _answer(box: Sandbox, method: str, *arguments: Any) -> Any:
    """None if the attempt failed inside. Raises PolicyFailed if that is not certain."""
    try:
        return box.ask(0, method, *arguments)
    except PolicyFailed as failure:
        if failure.kind not in ("raised", "memory"):
            raise
        return None


def _executes(box: Sandbox) -> bool:
    try:
        box.ask(0, "execute", "/bin/true")
    except PolicyFailed as failure:
        return failure.kind != "raised"
    return True
