"""What a gateway has done since it started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Metrics:
    """Counters, but for ``connections`` and ``guests``, which are how many there are now.

    ``delivered`` counts lines, once for each client; ``dropped_readers`` those that did not read.
    """

    connections: int = 0
    guests: int = 0
    accepted: int = 0
    turned_away: int = 0
    logins: int = 0
    failed_logins: int = 0
    received: int = 0
    relayed: int = 0
    refused: int = 0
    rate_limited: int = 0
    delivered: int = 0
    dropped_readers: int = 0
    rejoins: int = 0
