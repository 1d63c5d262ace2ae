"""What a page is made of: the fleet, what happens in it, and who looks."""

from __future__ import annotations

from typing import NamedTuple

from web.fleet_reader import FleetReader
from web.live.churn import Churn
from web.live.feed import Feed
from web.live.tallies import Tallies
from web.visitor import NOBODY, Visitor


class Look(NamedTuple):
    reader: FleetReader
    feed: Feed
    churn: Churn
    tallies: Tallies
    visitor: Visitor = NOBODY
