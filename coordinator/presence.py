"""How AIs are there: until when their leases last, and what is kept of those that are away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.clock import LAST_MS
from coordinator.keys import Keys
from coordinator.reads import CONTRIBUTION, WORK, Item
from coordinator.stored import number_of, read_hashes, replies_of, whole_number


class Presence(NamedTuple):
    """``lease_ends_ms`` is 0 for one that is away. A draining one is given no more work."""

    lease_ends_ms: int
    is_draining: bool


class _Profile(BaseModel):
    """What is kept of one that has joined."""

    model_config = ConfigDict(strict=True)

    specialization: str
    capabilities: list[str]
    instance: str
    door: str
    joined_ms: int = Field(ge=0, le=LAST_MS)


def read_presence(connection: redis.Redis, keys: Keys, ais: Sequence[str]) -> dict[str, Presence]:
    """Of each of ``ais``; one round trip."""
    with connection.pipeline(transaction=False) as pipe:
        for ai in ais:
            pipe.zscore(keys.leases, ai)
            pipe.hexists(keys.member(ai), "draining")
        replies = replies_of(pipe)
    return {
        ai: Presence(int(min(max(0, ends_ms or 0), LAST_MS)), bool(is_draining))
        for ai, ends_ms, is_draining in zip(ais, replies[::2], replies[1::2], strict=True)
    }


def read_away(connection: redis.Redis, keys: Keys, ai: str) -> Item | None:
    """One that has joined once, as it was then, with what it has done; None if none is known."""
    (fields,) = read_hashes(connection, [keys.member(ai)])
    try:
        profile = _Profile.model_validate_json(fields.get(b"profile", b""))
    except ValidationError:
        return None
    done = {name: whole_number(fields.get(name.encode())) for name in WORK}
    contribution = number_of(fields.get(CONTRIBUTION.encode())) or 0.0
    return {"ai_id": ai, **profile.model_dump(), **done, CONTRIBUTION: contribution}


def count_specializations(
    connection: redis.Redis, keys: Keys, names: Sequence[str]
) -> dict[str, int]:
    """How many live AIs there are of each of those specializations; one round trip."""
    with connection.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.scard(keys.specialization(name))
        return {name: count or 0 for name, count in zip(names, replies_of(pipe), strict=True)}
