"""Where a service listens, and its TLS: what the gateway and the dashboard have in common."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coordinator.errors import CoordError

BACKLOG = 512
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]+)):(\d{1,5})")

Address = tuple[int, Any]
"""A family and an address, as ``socket.bind`` takes them."""


class CannotListen(CoordError):
    """A service cannot listen as it is told to."""

    code = "cannot_listen"


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port. Raises CannotListen."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[3]) > 65535:
        raise CannotListen(f"{text!r} is no HOST:PORT or [IPV6]:PORT, as 127.0.0.1:6000 is")
    return match[1] or match[2], int(match[3])


def addresses_of(listen: str) -> list[Address]:
    """Every address that the host of HOST:PORT has. Raises CannotListen."""
    host, port = parse_listen(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"{host!r} is no address of this machine: {error}") from None
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def open_sockets(listen: str, addresses: Iterable[Address], cure: str) -> list[socket.socket]:
    """Sockets that listen on all ``addresses`` of ``listen``, on one port; ``cure`` is what to do
    where they cannot. Raises CannotListen."""
    port = 0
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            port = address[1] or (sockets[0].getsockname()[1] if sockets else 0)
            place = (address[0], port, *address[2:])
            sockets.append(socket.create_server(place, family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise CannotListen(
            f"cannot listen on {listen}: {error.strerror or error}; {cure}"
        ) from None
    return sockets


def address_of(sock: socket.socket) -> str:
    """``host:port``, with an IPv6 host in brackets."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_hosts(hosts: Iterable[str]) -> list[str]:
    """Those of ``hosts`` that are no loopback addresses: other machines come by them."""
    return [host for host in hosts if not ipaddress.ip_address(host.partition("%")[0]).is_loopback]


def place_of(host: str) -> str:
    """Whose limits a connection counts in: the address, of IPv6 the network that one host has."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def tls_context(
    cert: Path | None, key: Path | None, client_ca: Path | None = None
) -> ssl.SSLContext | None:
    """None if there is to be no TLS. Raises CannotListen."""
    if cert is None and key is None:
        if client_ca is not None:
            raise CannotListen("a client CA is of use with --tls-cert and --tls-key only")
        return None
    if cert is None or key is None:
        raise CannotListen("TLS needs both, --tls-cert and --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CannotListen(f"TLS by {cert} and {key} cannot be used: {error}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one that is not, in a file for its user only")
