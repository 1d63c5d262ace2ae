"""What an error of the Redis server stands for: one table for all that meet one.

==================================================  ============  ==============================
what the server says                                it passes     it is of the data
==================================================  ============  ==============================
no connection, no answer in time, LOADING           yes           no
OOM, READONLY, MISCONF, NOREPLICAS                  yes           no
MASTERDOWN, CLUSTERDOWN                             yes           no
NOAUTH, WRONGPASS, NOPERM                           no            no: of who is logged in
all else, such as WRONGTYPE                         no            yes
==================================================  ============  ==============================

What passes may end by itself, or by what the server's operator does about it. What is of the data
is refused for what the command names, and would be for ever.
"""

from __future__ import annotations

import redis
from redis.exceptions import ClusterDownError, NoPermissionError

OUTAGES = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.OutOfMemoryError,
    redis.ReadOnlyError,
    ClusterDownError,  # MASTERDOWN is one, too
)
_PASSING_WORDS = ("MISCONF", "NOREPLICAS")
_OF_THE_LOGIN = (redis.AuthenticationError, NoPermissionError)


def is_outage(error: Exception) -> bool:
    """Whether it passes. A refused login comes as a ConnectionError that it is the cause of."""
    if isinstance(error.__cause__ or error, _OF_THE_LOGIN):
        return False
    return isinstance(error, OUTAGES) or str(error).startswith(_PASSING_WORDS)


def is_of_the_data(error: redis.RedisError) -> bool:
    """Whether the server refuses a command for what it names."""
    if isinstance(error, _OF_THE_LOGIN) or not isinstance(error, redis.ResponseError):
        return False
    return not is_outage(error)


def raise_unless_of_the_data(reply: object) -> None:
    """Raise an error of the server that is not of the data; whatever else it replied passes."""
    if isinstance(reply, redis.RedisError) and not is_of_the_data(reply):
        raise reply
