"""Small clients of a gateway, of the kind that is in use: blocking sockets, a message
class of exactly six keys, hello sent together with the handshake, no heartbeat."""

from __future__ import annotations

import json
import resource
import socket
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from coordinator.clock import RandomIds, SystemClock
from coordinator.credentials import digest, key_id_of, new_token
from coordinator.doors import add_entry
from coordinator.messages import OPERATOR, encode_message
from coordinator.operator import send_as_operator
from tests.clients import PEPPER, RealFleet
from tests.servers import wait_for

TIMESTAMP = "2025-06-04T00:00:00"
LIMIT_S = 50.0

Json = dict[str, Any]


def enroll(fleet: RealFleet, *ais: str, token: str | None = None, **more: Any) -> str:
    """Enrol ``ais``, all by one token, a strong one unless it is given; the token."""
    text = token or new_token().text
    hashed = digest(PEPPER, text)
    instance = RandomIds().new()
    with fleet.redis.pipeline(transaction=False) as pipe:
        for n, ai in enumerate(ais, 1):
            asked: Json = {"ai": ai, "key_id": key_id_of(text, hashed), "digest": hashed}
            asked |= {"role": "trainer", "is_weak": token is not None, **more}
            body = encode_message(f"{n}", OPERATOR, "enroll", TIMESTAMP, asked)
            add_entry(pipe, fleet.keys, OPERATOR, body, instance, n)
        pipe.execute()
    last = fleet.keys.instance(OPERATOR, instance)
    wait_for(lambda: int(fleet.redis.get(last) or 0) == len(ais), what="all to be enrolled")
    return text


def order(fleet: RealFleet, message_type: str, payload: Json) -> None:
    """What an operator does."""
    send_as_operator(fleet.redis, fleet.keys, SystemClock(), RandomIds(), message_type, payload)


@dataclass
class SixKeys:
    """A message as old clients know it: one key more or less is a TypeError."""

    message_id: str
    sender_id: str
    message_type: str
    timestamp: str
    payload: Json
    target_ai: str | None


class OldClient:
    """One connection. What it is told is read when it is asked for, and not before."""

    def __init__(
        self,
        address: tuple[str, int],
        ai: str,
        token: str,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        source: str = "",
        **handshake: Any,
    ) -> None:
        self.ai = ai
        self._n = 0
        self._last: Json | None = None
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            plain.bind((source, 0))
        plain.settimeout(LIMIT_S)
        plain.connect(address)
        self.socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
        self._lines = self.socket.makefile("rb")
        self._first = json.dumps({"ai_id": ai, "token": token, **handshake}).encode() + b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()

    def hello(self, specialization: str = "networking", **payload: Any) -> Json:
        """Handshake and hello in one write; the payload of the training_sync."""
        told = {"capabilities": ["networking"], "specialization": specialization, **payload}
        self.socket.sendall(self._first + self.line("hello", told))
        return self.receive("training_sync").payload

    def log_in(self) -> None:
        """The handshake alone."""
        self.socket.sendall(self._first)

    def line(
        self, message_type: str, payload: Json, target: str | None = None, message_id: str = ""
    ) -> bytes:
        self._n += 1
        message_id = message_id or f"{self._n}"
        message = SixKeys(message_id, self.ai, message_type, TIMESTAMP, payload, target)
        return json.dumps(asdict(message)).encode() + b"\n"

    def send(
        self, message_type: str, payload: Json, target: str | None = None, message_id: str = ""
    ) -> None:
        self.socket.sendall(self.line(message_type, payload, target, message_id))

    def read(self) -> Json | None:
        """The next object as it came; None at the end of the connection, also amid a line."""
        try:
            line = self._lines.readline()
        except (ConnectionError, ssl.SSLError):
            return None
        told: Json | None = json.loads(line) if line.endswith(b"\n") else None
        return told

    def next(self) -> SixKeys:
        told = self.read()
        assert told is not None, f"the connection has ended; told last: {self._last}"
        self._last = told
        return SixKeys(**told)

    def receive(self, message_type: str) -> SixKeys:
        """The next message of that type; what comes before it is left out."""
        while (message := self.next()).message_type != message_type:
            pass
        return message

    def receive_all(self, last: str = "performance_report") -> list[SixKeys]:
        """All that comes before a message of type ``last``."""
        came = []
        while (message := self.next()).message_type != last:
            came.append(message)
        return came

    def error(self) -> str:
        """The code of the next error."""
        return str(self.receive("error").payload["code"])

    def is_over(self) -> bool:
        """Whether the connection has ended, when all that was told is read."""
        while self.read() is not None:
            pass
        return True


def pattern(name: str, **more: Any) -> Json:
    """A pattern_share's payload, as in PROTOCOL.md."""
    shown = {"id": name, "type": "test", "data": {"foo": "bar"}, "confidence": 0.9}
    return {"pattern": {**shown, "specialization": "networking", **more}}


def wait_until_gone(fleet: RealFleet, ai: str) -> None:
    wait_for(lambda: ai not in fleet.live(), what=f"{ai} to be gone")


def resident_bytes() -> int:
    """The memory of this process, in which gateways under test run."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
