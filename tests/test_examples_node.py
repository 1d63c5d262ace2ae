"""The trainer in Node does what it says, and loses nothing when it is cut off."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from coordinator import Client, Message
from tests.clients import RealFleet, RunningGateway, in_loop, until
from tests.cutting import CuttingProxy
from tests.example_runs import EXAMPLES, LIMIT_S, ExampleRun, program, token_file
from tests.gateway_clients import enroll, order, wait_until_gone

Start = Callable[..., ExampleRun]


@pytest.fixture(scope="module")
def gateway(fleet: RealFleet) -> Iterator[RunningGateway]:
    with RunningGateway(fleet) as gateway:
        yield gateway


@pytest.fixture
def start(fleet: RealFleet, ai: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the trainer, which comes in at this URL."""
    with ExitStack() as stack:

        def start(url: str, token: str = "", **environment: str) -> ExampleRun:
            file = str(token_file(tmp_path, token or enroll(fleet, ai)))
            script = str(EXAMPLES / "node_trainer.mjs")
            environment |= {"COORD_URL": url, "COORD_TOKEN_FILE": file}
            return stack.enter_context(ExampleRun(tmp_path, "node", script, ai, **environment))

        yield start
    if ai in fleet.live():
        order(fleet, "kick", {"ai": ai})  # else it is kept for a while, for it might come back
        wait_until_gone(fleet, ai)


@pytest.fixture
def other(fleet: RealFleet, ai: str) -> Iterator[Client]:
    with fleet.client(f"{ai}_other") as other:
        yield other


def url_of(gateway: RunningGateway, scheme: str = "coord") -> str:
    return f"{scheme}://localhost:{gateway.address[1]}"


def receive(client: Client, message_type: str, sender: str) -> dict[str, Any]:
    """The payload of the next such message."""

    def next_one() -> Message:
        message = client.receive(LIMIT_S)
        assert message is not None, f"no {message_type} of {sender} came"
        return message

    while (message := next_one()).message_type != message_type or message.sender_id != sender:
        pass
    return message.payload


def shared(fleet: RealFleet, ai: str) -> list[dict[str, Any]]:
    """The payloads of what ``ai`` shared with all."""
    return [
        message["payload"]
        for message in fleet.log()
        if message["sender_id"] == ai and message["message_type"] == "pattern_share"
    ]


def test_it_is_short_enough_to_be_a_model() -> None:
    lines = (EXAMPLES / "node_trainer.mjs").read_text().splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 100


def test_it_shares_what_it_measured_and_hears_the_others(
    gateway: RunningGateway, ai: str, start: Start, other: Client
) -> None:
    trainer = start(url_of(gateway))
    pattern = receive(other, "pattern_share", ai)["pattern"]
    assert pattern["id"] == f"{ai}.checksum"
    assert 0 < pattern["data"]["seconds"] < 0.01
    trainer.wait_until_said("joined")
    other.share_pattern({"type": "two\u2028lines", "data": {}})
    trainer.wait_until_said(f"{other.ai_id} pattern_share")


def test_it_builds_what_it_is_asked_for(
    gateway: RunningGateway, ai: str, start: Start, other: Client
) -> None:
    trainer = start(url_of(gateway))
    trainer.wait_until_said("joined")
    update = other.request_feature("udp_checksum", wait_s=LIMIT_S)
    assert update.status == "completed", trainer.said()
    answer = receive(other, "os_component_share", ai)
    assert (answer["original_requestor"], answer["feature_name"]) == (other.ai_id, "udp_checksum")
    assert answer["component"] == update.component
    text = "the quick brown fox\n"
    built = f"{answer['component']['implementation']};checksum(Buffer.from({json.dumps(text)}))"
    printed = subprocess.check_output([program("node"), "-p", built], text=True, timeout=LIMIT_S)
    assert int(printed) == internet_checksum(text.encode())


def internet_checksum(data: bytes) -> int:
    """RFC 1071, done the long way."""
    words = [int.from_bytes(data[i : i + 2].ljust(2, b"\0")) for i in range(0, len(data), 2)]
    total = 0
    for word in words:
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF ^ total


def test_it_declines_what_it_cannot_build(
    gateway: RunningGateway, ai: str, start: Start, other: Client
) -> None:
    trainer = start(url_of(gateway))
    trainer.wait_until_said("joined")
    request = other.request_feature("network_stack")
    declined: dict[str, str] = {}
    while ai not in declined:
        declined = receive(other, "feature_update", "hub")["declined"]
    other.send("cancel", {"session_id": request.session_id})
    other.confirm()
    assert declined == {ai: f"{ai} builds checksums alone"}


def test_it_trusts_only_the_authority_that_it_was_given(
    fleet: RealFleet, ai: str, start: Start, tmp_path: Path
) -> None:
    authorities = {name: trustme.CA() for name in ("right", "wrong")}
    for name, authority in authorities.items():
        authority.cert_pem.write_to_path(tmp_path / name)
    issued = authorities["right"].issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    with RunningGateway(fleet, tls_cert=tmp_path / "cert", tls_key=tmp_path / "key") as gateway:
        url = url_of(gateway, "coords")
        token = enroll(fleet, ai)
        distrustful = start(url, token, COORD_TLS_CA=str(tmp_path / "wrong"))
        distrustful.wait_until_said("no connection:")
        assert gateway.metrics.logins == 0
        start(url, token, COORD_TLS_CA=str(tmp_path / "right")).wait_until_said("joined")


def test_it_ends_when_its_token_is_refused(
    fleet: RealFleet, gateway: RunningGateway, ai: str, start: Start
) -> None:
    enroll(fleet, ai)
    wrong = enroll(fleet, f"{ai}_other")
    trainer = start(url_of(gateway), wrong)
    assert trainer.wait_for_end() == 1
    assert trainer.said().startswith("bad_login: ")
    assert wrong not in trainer.said()


@in_loop
async def test_what_got_lost_on_the_way_is_sent_again(
    fleet: RealFleet, gateway: RunningGateway, ai: str, start: Start
) -> None:
    async with CuttingProxy(gateway.address[1]) as proxy:
        proxy.stall()
        start(proxy.url)
        await until(lambda: proxy.connections, what="it to connect")
        proxy.cut_all()
        proxy.flow()
        await until(lambda: shared(fleet, ai), what="the pattern")


@in_loop
async def test_what_was_sent_again_takes_effect_once(
    fleet: RealFleet, gateway: RunningGateway, ai: str, start: Start
) -> None:
    async with CuttingProxy(gateway.address[1]) as proxy:
        proxy.swallow_reply_to(b'"confirm 1"')
        trainer = start(proxy.url)
        await until(lambda: trainer.said().count("joined") == 2, what="it to come back")
        async with fleet.async_client(f"{ai}_other") as other:
            update = await other.request_feature("checksum", wait_s=LIMIT_S)
    assert proxy.swallowed == 1
    assert update.status == "completed"  # by a message behind the one that was sent again
    assert len(shared(fleet, ai)) == 1


@in_loop
async def test_it_hears_of_what_came_while_it_was_away(
    fleet: RealFleet, gateway: RunningGateway, ai: str, start: Start
) -> None:
    async with (
        CuttingProxy(gateway.address[1]) as proxy,
        fleet.async_client(f"{ai}_other") as other,
    ):
        trainer = start(proxy.url)
        await until(lambda: "joined" in trainer.said(), what="it to join")
        proxy.stall()
        proxy.cut_all()
        asked = await other.request_feature("checksum")
        assert (asked.status, asked.participants) == ("active", [ai])
        proxy.flow()
        async for message in other.messages():
            if message.message_type == "os_component_share":
                break
    assert message.sender_id == ai
    assert message.payload["original_requestor"] == f"{ai}_other"
