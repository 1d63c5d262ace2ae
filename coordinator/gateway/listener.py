"""Accepts connections, no more than it may, and gets them through TLS in time."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from coordinator.gateway.connection import Connection
from coordinator.gateway.metrics import Metrics
from coordinator.gateway.settings import GatewaySettings
from coordinator.listening import place_of
from coordinator.tasks import Spawn

log = logging.getLogger("coord.gateway")

PAUSE_S = 0.1
"""After an error that says that there are no more descriptors, or the like."""

Make = Callable[[socket.socket, str], Connection]


class Listener:
    """A connection counts from its acceptance, before TLS, to its end.

    ``make`` makes one of a socket and an address, ``opened`` is told when it can be used, and
    ``too_many`` says what is told to those that find no room (without TLS: else they would have to
    be let in to be told).
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        tls: ssl.SSLContext | None,
        settings: GatewaySettings,
        metrics: Metrics,
        make: Make,
        opened: Callable[[Connection], None],
        too_many: Callable[[], bytes],
        spawn: Spawn,
    ) -> None:
        self._sockets = sockets
        self._tls = tls
        self._settings = settings
        self._metrics = metrics
        self._make = make
        self._opened = opened
        self._too_many = too_many
        self._spawn = spawn
        self._of_address: Counter[str] = Counter()
        self.connections = 0
        self._accepting: list[asyncio.Task[None]] = []

    def start(self) -> list[asyncio.Task[None]]:
        self._accepting = [self._spawn(self._accept(listening)) for listening in self._sockets]
        return self._accepting

    async def close(self) -> None:
        """Accept no more. The loop lets go of the sockets before they are closed: the next one that
        is opened gets the same descriptor."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            self._admit(sock, place_of(peer[0]))

    def _admit(self, sock: socket.socket, address: str) -> None:
        settings = self._settings
        is_full = self.connections >= settings.connections_max
        if is_full or self._of_address[address] >= settings.connections_per_address:
            self._metrics.turned_away += 1
            self._turn_away(sock)
            return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._make(sock, address)
        except OSError as error:
            log.debug("no connection with %s: %s", address, error)
            sock.close()
            return
        self.connections += 1
        self._of_address[address] += 1
        self._spawn(self._serve(sock, address, connection))

    async def _serve(self, sock: socket.socket, address: str, connection: Connection) -> None:
        """TLS first, if it is; then the connection looks after itself until its end. The socket is
        the loop's, which closes it."""
        limit_s = self._settings.handshake_s if self._tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=limit_s
            )
            self._opened(connection)
            await connection.lost.wait()
        except (OSError, ssl.SSLError, TimeoutError) as error:
            log.debug("no connection with %s: %s", address, error)
        finally:
            connection.abort()
            self.connections -= 1
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def _turn_away(self, sock: socket.socket) -> None:
        with sock:
            try:
                sock.setblocking(False)
                if self._tls is None:
                    sock.send(self._too_many())
            except OSError as error:
                log.debug("could not say that there is no room: %s", error)
