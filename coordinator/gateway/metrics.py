"""What a gateway has done since it started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Metrics:
    """``turned_away`` counts connections for which there was no room, ``received`` and ``relayed``
    messages of AIs, ``dropped_readers`` those that did not read what they were sent."""

    turned_away: int = 0
    logins: int = 0
    received: int = 0
    relayed: int = 0
    rate_limited: int = 0
    dropped_readers: int = 0
    rejoins: int = 0
