"""Where a gateway listens, and its TLS."""

from __future__ import annotations

import logging
import socket
import ssl

from coordinator import listening
from coordinator.gateway.settings import GatewaySettings
from coordinator.listening import CannotListen, addresses_of, open_hosts, open_sockets

log = logging.getLogger("coord.gateway")

CURE = "end what does, or choose another by --listen or COORD_GATEWAY_LISTEN"


def bind(settings: GatewaySettings) -> list[socket.socket]:
    """Sockets that listen on every address that the host of ``listen`` has, all on one port.

    Raises CannotListen.
    """
    addresses = addresses_of(settings.listen)
    _check_safety(settings, [address[0] for _, address in addresses])
    return open_sockets(settings.listen, addresses, CURE)


def tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """None if there is to be no TLS. Raises CannotListen."""
    return listening.tls_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _check_safety(settings: GatewaySettings, hosts: list[str]) -> None:
    """Without TLS tokens can be read on the way."""
    found = open_hosts(hosts)
    if not found or settings.tls_cert is not None:
        return
    if not settings.insecure_bind:
        raise CannotListen(
            f"without TLS the gateway listens on loopback addresses only, and {found[0]} is "
            "none: give --tls-cert and --tls-key (`coord dev-cert` makes a pair for trying it out)"
        )
    log.warning("listening on %s without TLS: tokens and messages can be read on the way", found[0])
