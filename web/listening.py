"""Where the dashboard listens, who can reach it there, and its TLS."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.listening import (
    CannotListen,
    address_of,
    addresses_of,
    open_hosts,
    open_sockets,
    tls_context,
)
from web.settings import WebSettings

log = logging.getLogger("coord.http")

CURE = "end what does, or choose another by --http or COORD_HTTP_LISTEN"


class AddressTaken(CannotListen):
    """The address may be free later."""


@dataclass(frozen=True)
class Listening:
    """Sockets that listen. ``is_local`` says that they do on loopback addresses alone."""

    sockets: list[socket.socket]
    tls: ssl.SSLContext | None
    is_local: bool

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{address_of(self.sockets[0])}"

    def close(self) -> None:
        for opened in self.sockets:
            opened.close()


def listen(settings: WebSettings) -> Listening:
    """Listen on every address that the host of ``settings.listen`` has. Raises AddressTaken for
    one that somebody else has, CannotListen for what can never be."""
    addresses = addresses_of(settings.listen)
    tls = tls_context(settings.tls_cert, settings.tls_key)
    is_local = _check_safety(settings, [address[0] for _, address in addresses])
    try:
        sockets = open_sockets(settings.listen, addresses, CURE)
    except CannotListen as error:
        raise AddressTaken(error.detail) from None
    for opened in sockets:  # handed on to what they accept: asyncio does so for its own alone
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listening(sockets, tls, is_local)


def listen_on(settings: WebSettings, descriptors: Sequence[int]) -> Listening:
    """The same on sockets that another process has opened and handed on. Raises CannotListen."""
    try:
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        hosts = [opened.getsockname()[0] for opened in sockets]
    except (OSError, ValueError) as error:
        raise CannotListen(f"--fd names no socket that is open: {error}") from None
    tls = tls_context(settings.tls_cert, settings.tls_key)
    return Listening(sockets, tls, _check_safety(settings, hosts))


def _check_safety(settings: WebSettings, hosts: list[str]) -> bool:
    """Whether only this machine can come; without TLS tokens can be read on the way."""
    found = open_hosts(hosts)
    if not found or settings.tls_cert is not None:
        return not found
    if not settings.insecure_bind:
        raise CannotListen(
            f"without TLS the dashboard listens on loopback addresses only, and {found[0]} is none:"
            " give --tls-cert and --tls-key (`coord dev-cert` makes a pair for trying it out)"
        )
    log.warning("listening on %s without TLS: tokens can be read on the way", found[0])
    return False
