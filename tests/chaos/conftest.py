"""The long runs: collected only when this directory is named, as ``make chaos`` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import RealFleet
from tests.servers import TestServer
from tests.trainers import LEASE_S

HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    named = [(config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.args]
    return None if any(path == HERE or HERE in path.parents for path in named) else True


@pytest.fixture
def server() -> Iterator[TestServer]:
    """A server of a test's own, whose data outlive it."""
    with TestServer("valkey", "--appendonly", "yes") as server:
        yield server


@pytest.fixture
def fleet(server: TestServer) -> Iterator[RealFleet]:
    with RealFleet(server.url, lease_s=LEASE_S) as fleet:
        yield fleet
