"""Sockets of the host's, on which nobody inside may be heard."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from tests.attacks.oracle import Oracle
from tests.attacks.seen import Seen

NETLINK_USERSOCK = 2


class Listener(Oracle):
    """Hears the token on a socket of the host's."""

    family = socket.AF_INET
    kind = socket.SOCK_STREAM

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = socket.socket(self.family, self.kind, self.protocol)
        self.socket.bind(self.address())
        if self.kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.socket.setblocking(False)
        self.given["ADDRESS"] = self.socket.getsockname()

    protocol = 0

    def address(self) -> Any:
        return ("127.0.0.1", 0)

    def succeeded(self, seen: Seen) -> bool:
        return self.token.encode() in self.heard()

    def heard(self) -> bytes:
        """What came, waiting for nothing: who sent it has ended."""
        with contextlib.suppress(BlockingIOError):
            if self.kind != socket.SOCK_STREAM:
                return self.socket.recv(4096)
            connection, _ = self.socket.accept()
            with connection:
                return connection.recv(4096)
        return b""

    def close(self) -> None:
        self.socket.close()


class UdpListener(Listener):
    kind = socket.SOCK_DGRAM


class Ipv6Listener(Listener):
    family = socket.AF_INET6

    def address(self) -> Any:
        return ("::1", 0)


class AbstractListener(Listener):
    family = socket.AF_UNIX

    def address(self) -> Any:
        return f"\0{self.token}"


class PathListener(Listener):
    family = socket.AF_UNIX

    def address(self) -> Any:
        return str(self.folder / "listener")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "listener").chmod(0o777)


class NetlinkListener(Listener):
    """A socket of that part of netlink by which processes of one network reach each other."""

    family = socket.AF_NETLINK
    kind = socket.SOCK_RAW
    protocol = NETLINK_USERSOCK

    def address(self) -> Any:
        return (0, 0)
