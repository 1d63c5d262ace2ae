"""What the tests of the archive begin from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fakeredis
import pytest
from redis import Redis

from coordinator.archive.archive import Archive
from tests.archives import (
    with_validators,
)
from tests.fleet import CountingIds, FleetUnderTest


@pytest.fixture
def memory() -> Iterator[Redis]:
    """A server in memory: what the archive makes of a history does not depend on whose it is."""
    with fakeredis.FakeRedis(server=fakeredis.FakeServer(), protocol=2) as client:
        yield client


@pytest.fixture
def fleet(memory: Redis) -> FleetUnderTest:
    return with_validators(FleetUnderTest(memory))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub data?.db"


@pytest.fixture
def archive(path: Path) -> Iterator[Archive]:
    with Archive.open(path, create=True, ids=CountingIds()) as opened:
        yield opened
