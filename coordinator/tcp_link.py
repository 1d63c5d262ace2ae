"""One connection to a gateway: where it is, the handshake, and lines in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from coordinator.clock import Clock
from coordinator.connection import redact
from coordinator.errors import EXPELLED_CODES, Refused, ServerUnusable, refusal
from coordinator.login import Login
from coordinator.messages import Cursor, to_json
from coordinator.settings import Settings

SCHEMES = ("coord", "coords")
PORT = 6000
CONNECT_LIMIT_S = 5.0
HANDSHAKE_LIMIT_S = 10.0
CLOSE_LIMIT_S = 1.0
TOKEN_WAIT_S = 2.0
"""Whoever rotates a token replaces the file that holds it only once the fleet knows the new one."""
LINE_MAX_BYTES = 16 * 1024 * 1024
VANISHED_AFTER_S = 10
"""A peer that confirms nothing for so long is gone, whatever the connection says."""

FINAL_CODES = frozenset({"bad_handshake", "bad_login", "id_taken"}) | EXPELLED_CODES
"""What a gateway refuses for good; anything else may pass."""

_URL_FORM = "coord://host[:6000], or coords://host[:6000] with TLS"


class Address(NamedTuple):
    """Where a gateway listens."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def is_gateway_url(url: str) -> bool:
    return url.partition("://")[0].lower() in SCHEMES


def parse_address(url: str) -> Address:
    """The address in a coord URL. Raises ServerUnusable, which names the part that is wrong."""
    if fault := _fault_in(url):
        raise ServerUnusable(f"the gateway URL {redact(url)!r} is wrong in its {fault}")
    parts = urlsplit(url)
    return Address(parts.hostname or "", parts.port or PORT, parts.scheme == "coords")


def _fault_in(url: str) -> str:
    """What is wrong with ``url`` as "field: rule and fix", or ""."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"host or port: write {_URL_FORM}"
    if "@" in parts.netloc:
        return (
            "login: it has none; give the token by COORD_TOKEN, or by the name of a file that holds"
            " it in COORD_TOKEN_FILE"
        )
    if not parts.hostname:
        return f"host: it must be named, as in {_URL_FORM}"
    if port == 0:
        return f"port: it must be 1 to 65535, as in {_URL_FORM}"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return f"path: nothing comes after the port, as in {_URL_FORM}"
    return ""


def tls_context(settings: Settings, ca: Path | str | None) -> ssl.SSLContext:
    """How a gateway's certificate is checked, and ours shown. Raises ServerUnusable."""
    authority = ca or settings.tls_ca
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ServerUnusable(
            f"the certificates of ca= or COORD_TLS_CA cannot be read from {authority}: {error}"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert:
        try:
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
        except OSError as error:
            raise ServerUnusable(
                "the certificate of COORD_TLS_CERT, with the key of COORD_TLS_KEY, cannot be read"
                f" from {settings.tls_cert}: {error}"
            ) from None
    return context


class Pace:
    """Keeps a client within what its gateway takes, over all its connections: of what is sent too
    fast some is refused, and what is sent again comes out of its order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._per_s = 0.0
        self._burst = 0.0
        self._free = 0.0
        self._counted_s = clock.elapsed_s()

    def keep(self, accepted: dict[str, Any]) -> None:
        """To what a gateway says: half of the burst is left to delays on the way."""
        self._per_s = float(accepted.get("messages_per_s", 0))
        burst = max(1.0, accepted.get("burst", 0) / 2)
        if not self._burst:
            self._free = burst
        self._burst = burst

    async def turn(self) -> None:
        """Wait until another message may be sent."""
        if not self._per_s:
            return
        now_s = self._clock.elapsed_s()
        more = (now_s - self._counted_s) * self._per_s
        self._free = min(self._burst, self._free + more) - 1
        self._counted_s = now_s
        if self._free < 0:
            await asyncio.sleep(-self._free / self._per_s)


class Link:
    """An open connection, logged in. ``start`` is the cursor before the first message on it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        start: Cursor,
        pace: Pace,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._pace = pace
        self.start = start

    async def read(self) -> dict[str, Any] | None:
        """The next message; None at the end."""
        return await _read_line(self._reader)

    async def write(self, body: bytes) -> None:
        """Raises ConnectionError when the connection has ended."""
        await self._pace.turn()
        if self._writer.is_closing():
            raise ConnectionError("the connection has ended")
        self._writer.write(body + b"\n")
        await self._writer.drain()

    def drop(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """End it once what was written is gone, or after CLOSE_LIMIT_S."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._writer.wait_closed()
        self.drop()


async def open_link(
    address: Address,
    login: Login,
    tls: ssl.SSLContext | None,
    pace: Pace,
    since: Cursor | None,
) -> Link:
    """Connect and log in; with ``since`` what came after it is sent again.

    Raises OSError for what may pass; ServerUnusable, Refused, IdTaken, CoordError for what will
    not.
    """
    token = login.token.read()
    while True:
        try:
            return await _log_in(address, login, token, tls, pace, since)
        except Refused as refused:
            if refused.code != "bad_login" or not login.token.may_change:
                raise
            await asyncio.sleep(TOKEN_WAIT_S)
            refused_token, token = token, login.token.read()
            if token == refused_token:
                raise


async def _log_in(
    address: Address,
    login: Login,
    token: SecretStr,
    tls: ssl.SSLContext | None,
    pace: Pace,
    since: Cursor | None,
) -> Link:
    reader, writer = await _connect(address, tls)
    try:
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(writer.transport.abort)
            _watch_peer(writer.get_extra_info("socket"))
            async with asyncio.timeout(HANDSHAKE_LIMIT_S):
                accepted = await _shake_hands(reader, writer, login, token, since)
            pace.keep(accepted)
            link = Link(reader, writer, cursor_of(accepted), pace)
            on_failure.pop_all()
            return link
    except TimeoutError:
        raise ConnectionError(
            f"what listens at {address} let {HANDSHAKE_LIMIT_S:g} s pass without an answer: is it a"
            " gateway of coord's?"
        ) from None
    except _HungUp:
        wish = "takes that of COORD_TLS_CERT" if tls else f"wants coords://{address}"
        kind = "that asks for a certificate" if tls else "with TLS"
        raise ConnectionError(
            f"what listens at {address} hung up at the handshake; a gateway {kind} {wish}"
        ) from None
    except (KeyError, TypeError, ValueError):
        raise ConnectionError(f"what listens at {address} is no gateway of coord's") from None


class _HungUp(Exception):
    """The connection ended where an answer was due."""


async def _connect(
    address: Address, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            return await asyncio.open_connection(
                address.host, address.port, ssl=tls, limit=LINE_MAX_BYTES
            )
    except ssl.SSLCertVerificationError as error:
        raise ServerUnusable(
            f"the certificate of the gateway at {address} is not to be trusted"
            f" ({error.verify_message}): name the CA that made it by ca= or COORD_TLS_CA, and the"
            " host as the certificate does"
        ) from None
    except ssl.SSLError as error:
        raise ServerUnusable(
            f"there is no TLS with what listens at {address} ({error.reason}): a gateway without it"
            " is coord://host; one that asks for a certificate takes that of COORD_TLS_CERT"
        ) from None
    except OSError as error:
        raise ConnectionError(
            f"the gateway at {address} cannot be reached: {_why(error)}; does one listen there?"
        ) from None


def _why(error: OSError) -> str:
    """Why there is no connection, in the system's words; of several addresses that of the first."""
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_LIMIT_S:g} s"
    number = re.search(r"\[Errno (\d+)\]", str(error))
    return os.strerror(int(number[1])).lower() if number else str(error.strerror or error)


async def _shake_hands(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    login: Login,
    token: SecretStr,
    since: Cursor | None,
) -> dict[str, Any]:
    """What the gateway says to our login when it lets us in."""
    handshake: dict[str, Any] = {
        "ai_id": login.ai_id,
        "token": token.get_secret_value(),
        "ack": True,
        "instance": login.instance,
    }
    if since is not None:
        handshake["since"] = since.model_dump()
    try:
        writer.write(to_json(handshake).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    except (ConnectionError, ssl.SSLError):
        raise _HungUp from None
    if not line.endswith(b"\n"):
        raise _HungUp
    answer = _object_in(line)
    if answer.get("ok") is True:
        return answer
    payload = answer["payload"]
    if payload["code"] in FINAL_CODES:
        raise refusal(payload)
    raise ConnectionError(f"the gateway cannot let us in now: {payload['detail']}")


def cursor_of(told: dict[str, Any]) -> Cursor:
    return Cursor(epoch=told["epoch"], log=told["log"], inbox=told["inbox"])


async def _read_line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The object on the next line; None at the end. ConnectionError for what is none."""
    try:
        line = await reader.readline()
        return _object_in(line) if line.endswith(b"\n") else None
    except ValueError as error:
        raise ConnectionError(str(error)) from None


def _object_in(line: bytes) -> dict[str, Any]:
    """Raises ValueError."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("what came is not a line of JSON") from None
    if not isinstance(told, dict):
        raise ValueError("what came is not an object")
    return told


def _watch_peer(connected: socket.socket) -> None:
    """Have the system notice a peer that vanished without a word."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    options = {
        "TCP_KEEPIDLE": VANISHED_AFTER_S // 2,
        "TCP_KEEPINTVL": 1,
        "TCP_KEEPCNT": VANISHED_AFTER_S // 2,
        "TCP_USER_TIMEOUT": VANISHED_AFTER_S * 1000,
    }
    for name, value in options.items():
        if hasattr(socket, name):  # not every system has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
