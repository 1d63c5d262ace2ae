"""An old client on TCP and a trainer on Redis, in one session from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import RealFleet, RunningGateway
from tests.gateway_clients import OldClient, enroll
from tests.trainers import LEASE_S, Trainer, started_trainers

TRAINER = "AI_Node_7"


@pytest.fixture
def fleet(real_url: str) -> Iterator[RealFleet]:
    with RealFleet(real_url, lease_s=LEASE_S) as fleet:
        yield fleet


@pytest.fixture
def old(fleet: RealFleet) -> Iterator[OldClient]:
    token = enroll(fleet, "AI_old")
    with RunningGateway(fleet) as gateway, OldClient(gateway.address, "AI_old", token) as client:
        client.hello()
        yield client


@pytest.fixture
def trainer(fleet: RealFleet, old: OldClient, tmp_path: Path) -> Iterator[Trainer]:
    """It has joined, and the old client has heard its hello."""
    with started_trainers(tmp_path, lambda _: fleet.url) as start:
        started = start(TRAINER, "file_system")
        while old.receive("hello").sender_id != TRAINER:
            pass
        yield started


@pytest.mark.one_server
def test_they_work_together_to_the_end(old: OldClient, trainer: Trainer) -> None:
    """The trainer's worker runs what the old client asked for, and both are credited."""
    asked = {
        "type": "feature_development",
        "target_ai": TRAINER,
        "requirements": {"evaluations": 12},
    }
    old.send("collaboration_request", {**asked, "description": "a file cache"}, message_id="ask")
    update = old.receive("collaboration_update").payload
    while update["in_reply_to"] != "ask" or update["status"] in ("pending", "active"):
        update = old.receive("collaboration_update").payload
    assert (update["status"], update["participants"]) == ("completed", ["AI_old", TRAINER])
    assert update["progress"] == 1.0
    assert update["component_id"]
    assert 0 < update["result"]["gap_closed"] < 1
