"""Connecting to a gateway, and logging in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl

from pydantic import SecretStr

from coordinator.errors import CoordError, Refused, ServerUnusable
from coordinator.messages import Cursor
from coordinator.tcp.gateway_url import Address
from coordinator.tcp.handshake import HungUp, shake_hands
from coordinator.tcp.link import Link, cursor_of
from coordinator.tcp.login import Login
from coordinator.tcp.pace import Pace

CONNECT_LIMIT_S = 5.0
HANDSHAKE_LIMIT_S = 10.0
TOKEN_WAIT_S = 2.0
"""Whoever rotates a token replaces the file that holds it only once the fleet knows the new one."""
LINE_MAX_BYTES = 16 * 1024 * 1024
VANISHED_AFTER_S = 10
"""A peer that confirms nothing for so long is gone, whatever the connection says."""


class Dialer:
    """Opens one connection after another to the gateway at ``address``.

    ``revoked`` is why the token is no good any more, as long as it is not known that there is
    another.
    """

    def __init__(
        self, address: Address, login: Login, tls: ssl.SSLContext | None, pace: Pace
    ) -> None:
        self._address = address
        self._login = login
        self._tls = tls
        self._pace = pace
        self.revoked: CoordError | None = None

    @property
    def token_may_change(self) -> bool:
        """Whether there may be another token by and by."""
        return self._login.token.may_change

    async def open(self, since: Cursor | None) -> Link:
        """Connect and log in; with ``since`` what came after it is sent again.

        Raises OSError for what may pass; ServerUnusable, Refused, IdTaken, CoordError for what will
        not.
        """
        token = self._login.token.read()
        while True:
            try:
                return await self._log_in(token, since)
            except Refused as refused:
                if refused.code != "bad_login" or not self.token_may_change:
                    raise
                await asyncio.sleep(TOKEN_WAIT_S)
                refused_token, token = token, self._login.token.read()
                if token == refused_token:
                    raise self.revoked or refused from None

    async def _log_in(self, token: SecretStr, since: Cursor | None) -> Link:
        address = self._address
        reader, writer = await _connect(address, self._tls)
        try:
            with contextlib.ExitStack() as on_failure:
                on_failure.callback(writer.transport.abort)
                _watch_peer(writer.get_extra_info("socket"))
                async with asyncio.timeout(HANDSHAKE_LIMIT_S):
                    accepted = await shake_hands(reader, writer, self._login, token, since)
                self._pace.keep(accepted)
                link = Link(reader, writer, cursor_of(accepted), self._pace)
                on_failure.pop_all()
                return link
        except TimeoutError:
            raise ConnectionError(
                f"what listens at {address} let {HANDSHAKE_LIMIT_S:g} s pass without an answer: is"
                " it a gateway of coord's?"
            ) from None
        except HungUp:
            wish = "takes that of COORD_TLS_CERT" if self._tls else f"wants coords://{address}"
            kind = "that asks for a certificate" if self._tls else "with TLS"
            raise ConnectionError(
                f"what listens at {address} hung up at the handshake; a gateway {kind} {wish}"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise ConnectionError(f"what listens at {address} is no gateway of coord's") from None


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
