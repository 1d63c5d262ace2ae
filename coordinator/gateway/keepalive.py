"""Whether there is still somebody at the other end of a socket: TCP keepalive."""

from __future__ import annotations

import socket

PROBE_S = 3.0
"""A peer that is gone is found within this time of ``probe``."""

_PROBE_UNHEARD_S = 2.0
_MOST_PROBES = 2


def keep_alive(sock: socket.socket, idle_s: int, unheard_s: float) -> None:
    """Try a silent peer every ``idle_s`` seconds. The socket fails when nothing was heard for
    ``unheard_s``, or for as long the peer had no room for what was sent."""
    _set(sock, idle_s, idle_s, unheard_s)


def probe(sock: socket.socket) -> None:
    """Try the peer now: within PROBE_S the socket fails unless it answers."""
    _set(sock, 1, 1, _PROBE_UNHEARD_S)


def _set(sock: socket.socket, idle_s: int, interval_s: int, unheard_s: float) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_USER_TIMEOUT": int(unheard_s * 1000),
        "TCP_KEEPCNT": _MOST_PROBES,
        "TCP_KEEPINTVL": interval_s,
        "TCP_KEEPIDLE": idle_s,
    }
    for name, value in options.items():
        if hasattr(socket, name):  # which of them there are depends on the system
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
