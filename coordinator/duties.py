"""What time brings: leases end, streams are trimmed, doors that nobody uses any more are closed."""

from __future__ import annotations

import redis

from coordinator.fleet import Ai, Fleet
from coordinator.ingress import Ingress
from coordinator.keys import Keys
from coordinator.lease import Lease

DOORS_CLOSED_AT_ONCE = 20


def ended_leases(fleet: Fleet, ingress: Ingress, elapsed_s: float) -> list[Ai]:
    """AIs whose lease has ended, and whose ingress was read to its end since."""
    return [
        ai
        for ai in fleet.ais.values()
        if ai.lease_ends_s <= elapsed_s and ingress.is_drained_since(ai.door, ai.lease_ends_s)
    ]


def close_doors(
    connection: redis.Redis,
    keys: Keys,
    fleet: Fleet,
    ingress: Ingress,
    lease: Lease,
    idle_since_s: float,
) -> None:
    """Remove drained ingress streams by which nobody is here, a few at a time.

    A sender adds its door again with every message, so none is lost by it. Raises LeaseLost.
    """
    used = {ai.door for ai in fleet.ais.values()}
    idle = [
        door
        for door in ingress.doors
        if door not in used and ingress.is_drained_since(door, idle_since_s)
    ]
    for door in idle[:DOORS_CLOSED_AT_ONCE]:
        key = keys.ingress(door)
        with connection.pipeline() as pipe:
            pipe.watch(key)
            if pipe.xlen(key):
                continue
            lease.fence(pipe)
            pipe.multi()
            pipe.delete(key)
            pipe.srem(keys.doors, door)
            try:
                pipe.execute()
            except redis.WatchError:
                continue
        ingress.forget(door)
