"""Where a gateway listens, and its TLS."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import ssl
from typing import Any

from coordinator.errors import CoordError
from coordinator.gateway.settings import GatewaySettings

log = logging.getLogger("coord.gateway")

BACKLOG = 512
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]+)):(\d{1,5})")


class CannotListen(CoordError):
    """The gateway cannot listen as it is told to."""

    code = "cannot_listen"


def bind(settings: GatewaySettings) -> list[socket.socket]:
    """Sockets that listen on every address that the host of ``listen`` has, all on one port.

    Raises CannotListen.
    """
    host, port = parse_listen(settings.listen)
    addresses = _addresses(host, port)
    _check_safety(settings, [address[0] for _, address in addresses])
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            port = port or (sockets[0].getsockname()[1] if sockets else 0)
            place = (address[0], port, *address[2:])
            sockets.append(socket.create_server(place, family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise CannotListen(
            f"cannot listen on {settings.listen}: {error.strerror or error}; end what does, or "
            "choose another by --listen or COORD_GATEWAY_LISTEN"
        ) from None
    return sockets


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port. Raises CannotListen."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise CannotListen(f"{text!r} is no HOST:PORT or [IPV6]:PORT, as 127.0.0.1:6000 is")
    return match[1] or match[2], int(match[3])


def address_of(sock: socket.socket) -> str:
    """``host:port``, with an IPv6 host in brackets."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """None if there is to be no TLS. Raises CannotListen."""
    if settings.tls_cert is None and settings.tls_key is None:
        if settings.tls_client_ca is not None:
            raise CannotListen("a client CA is of use with --tls-cert and --tls-key only")
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise CannotListen("TLS needs both, --tls-cert and --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
        if settings.tls_client_ca is not None:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CannotListen(
            f"TLS by {settings.tls_cert} and {settings.tls_key} cannot be used: {error}"
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not, in a file for its user only")


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Families and addresses, as ``socket.bind`` takes them."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"{host!r} is no address of this machine: {error}") from None
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _check_safety(settings: GatewaySettings, hosts: list[str]) -> None:
    """Without TLS tokens can be read on the way."""
    open_hosts = [
        host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback
    ]
    if not open_hosts or settings.tls_cert is not None:
        return
    if not settings.insecure_bind:
        raise CannotListen(
            f"without TLS the gateway listens on loopback addresses only, and {open_hosts[0]} is "
            "none: give --tls-cert and --tls-key (`coord dev-cert` makes a pair for trying it out)"
        )
    log.warning(
        "listening on %s without TLS: tokens and messages can be read on the way", open_hosts[0]
    )
