"""Every error of the server stands for one thing, whoever meets it."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import RedisError

from coordinator.server_errors import is_of_the_data, is_outage, raise_unless_of_the_data

PASSES, OF_THE_LOGIN, OF_THE_DATA = (True, False), (False, False), (False, True)


def said(text: str) -> RedisError:
    """What redis-py makes of an error reply."""
    error = redis.connection.DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
    assert isinstance(error, RedisError)
    return error


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("LOADING Redis is loading the dataset in memory", PASSES),
        ("OOM command not allowed when used memory > 'maxmemory'.", PASSES),
        ("READONLY You can't write against a read only replica.", PASSES),
        ("MISCONF Redis is configured to save RDB snapshots, but ...", PASSES),
        ("NOREPLICAS Not enough good replicas to write.", PASSES),
        ("MASTERDOWN Link with MASTER is down", PASSES),
        ("CLUSTERDOWN The cluster is down", PASSES),
        ("NOAUTH Authentication required.", OF_THE_LOGIN),
        ("WRONGPASS invalid username-password pair or user is disabled.", OF_THE_LOGIN),
        ("NOPERM this user has no permissions to run the 'xadd' command", OF_THE_LOGIN),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", OF_THE_DATA),
        ("ERR unknown command", OF_THE_DATA),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_what_the_server_says(reply: str, expected: tuple[bool, bool]) -> None:
    error = said(reply)
    assert (is_outage(error), is_of_the_data(error)) == expected


@pytest.mark.parametrize("error", [redis.ConnectionError("closed"), redis.TimeoutError("late")])
def test_what_the_connection_says(error: RedisError) -> None:
    assert (is_outage(error), is_of_the_data(error)) == PASSES


def test_a_login_that_was_refused_while_connecting() -> None:
    error = redis.ConnectionError("closed")
    error.__cause__ = redis.AuthenticationError("WRONGPASS")
    assert (is_outage(error), is_of_the_data(error)) == OF_THE_LOGIN


def test_what_is_no_error_of_the_server() -> None:
    assert not is_outage(ValueError("x"))
    assert not is_of_the_data(redis.DataError("x"))


@pytest.mark.parametrize("reply", [b"a value", None, said("WRONGTYPE Operation")])
def test_a_reply_that_passes(reply: object) -> None:
    raise_unless_of_the_data(reply)


@pytest.mark.parametrize("reply", ["LOADING data", "NOPERM no"])
def test_a_reply_that_is_raised(reply: str) -> None:
    error = said(reply)
    with pytest.raises(type(error)):
        raise_unless_of_the_data(error)
