"""Client: the same as AsyncClient for threads, with nothing left running behind it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator import embedded
from coordinator.blocking import Client, LoopThread
from coordinator.client import AsyncClient
from coordinator.errors import BadMessage, CoordError, NotAnswered, Refused, ServerUnusable
from coordinator.mailbox import Message
from coordinator.testing import FakeFleet
from tests.clients import GatewayFleet, RealFleet, is_pattern, numbers_of, pattern
from tests.servers import REPOSITORY, TestServer, python_environment, wait_for


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    wait_for(lambda: threading.active_count() <= before, what="threads to end")


def test_it_can_do_all_that_async_client_can() -> None:
    def calls(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(call).parameters)
            for name, call in vars(kind).items()
            if inspect.isfunction(call) and not name.startswith("_")
        }

    ours = calls(Client)
    theirs = calls(AsyncClient)
    theirs.pop("handler_of")
    assert ours == theirs


def test_a_whole_life(real_url: str) -> None:
    with RealFleet(real_url) as fleet, fleet.client("AI_1", profile={"colour": "blue"}) as one:
        with fleet.client("AI_2") as two:
            two.share_pattern(pattern(1), target_ai="AI_1")
            two.share_code({"id": "c", "name": "n", "code": "x"})
            two.share_component({"id": "k", "name": "n"}, feature_name="undo")
            two.report("c", {"speed": 1.0})
            two.set_status("busy", 0.5)
            two.confirm()
            assert two.ai_id == "AI_2"
        came = [next(one.messages()).message_type for _ in range(7)]
        assert came == [
            "training_sync",
            "hello",
            "pattern_share",
            "code_share",
            "os_component_share",
            "performance_report",
            "goodbye",
        ]
        assert one.receive(0.01) is None
        assert one.cursor.log == fleet.log_length()
        with pytest.raises(BadMessage):
            one.report("c", {"speed": float("nan")})
        with pytest.raises(BadMessage):
            one.set_status("busy", float("inf"))
        with pytest.raises(Refused):
            one.query("nothing")
        assert one.query("components").total == 1


def test_what_is_asked_for_is_waited_for(real_url: str) -> None:
    with GatewayFleet(real_url) as fleet, fleet.client("AI_1") as one, fleet.client("AI_2") as two:
        artifact = two.put_artifact(b"weights", name="w", target_ai="AI_1")
        assert one.get_artifact("AI_2", artifact.sha256) == b"weights"
        asked = one.request_feature("undo")
        two.share_component({"id": "k", "name": "undo"}, feature_name="undo")
        two.confirm()
        assert one.query("sessions").items[0]["state"] == "completed"
        assert asked.status == "pending"
        session = one.collaborate("feature_development", target_ai="AI_2")
        two.answer(session.session_id, True)
        two.put_workspace(session.session_id, "key", 1)
        assert two.get_workspace(session.session_id)["key"].value == 1
        two.confirm()
        assert one.sync["active_ais"] == ["AI_1"]


def test_handlers_run_in_the_callers_thread_and_may_use_the_client() -> None:
    with FakeFleet() as fleet, fleet.client("AI_1") as one, fleet.client("AI_2") as two:
        seen: list[Any] = []

        @two.on("pattern_share")
        def shared(message: Message) -> None:
            two.share_code({"id": "c", "name": "n", "code": "x"})
            seen.append((numbers_of([message]), threading.current_thread()))

        @two.on("performance_report")
        async def reported(message: Message) -> None:
            seen.append(message.payload["component_id"])

        running = threading.Thread(target=two.run)
        running.start()
        one.share_pattern(pattern(1))
        one.report("c", {"speed": 1.0})
        wait_for(lambda: len(seen) == 2)
        assert seen == [([1], running), "c"]
        two.close()
        running.join(10)
        assert not running.is_alive()


def test_a_receiver_in_another_thread_ends_with_the_client() -> None:
    with FakeFleet() as fleet, fleet.client("AI_1") as client:
        came: list[Any] = []
        reading = threading.Thread(target=lambda: came.extend(client.messages()))
        reading.start()
        wait_for(lambda: came)
        client.close()
        reading.join(10)
        assert not reading.is_alive()
        assert [message.message_type for message in came] == ["training_sync"]


def test_many_threads_may_send_at_once() -> None:
    with FakeFleet() as fleet, fleet.client("AI_1") as one, fleet.client("AI_2") as two:

        def share(first: int) -> None:
            for number in range(first, first + 25):
                one.share_pattern(pattern(number))

        threads = [threading.Thread(target=share, args=(100 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one.confirm()
        one.share_pattern(pattern(999))
        came = []
        for message in two.messages():
            came.append(message)
            if is_pattern(999)(message):
                break
        numbers = numbers_of(came)
        assert len(numbers) == 101
        for n in range(4):
            own = [number for number in numbers if number // 100 == n and number < 900]
            assert own == list(range(100 * n, 100 * n + 25))


def test_a_sender_that_waits_for_the_server_is_told_when_the_client_is_closed() -> None:
    server = TestServer("valkey").start()
    errors: list[Exception] = []
    try:
        with RealFleet(server.url) as fleet:
            client = fleet.client("AI_1")
            client.connect()
            fleet.stop_coordinator()
            server.kill()

            def send() -> None:
                try:
                    client.share_pattern(pattern(1))
                except CoordError as error:
                    errors.append(error)

            sending = threading.Thread(target=send)
            sending.start()
            client.close()
            sending.join(15)
            assert not sending.is_alive()
            assert "closed" in str(errors[0])
    finally:
        server.close()


def test_closing_twice_or_too_early_does_no_harm() -> None:
    with FakeFleet() as fleet:
        client = fleet.client("AI_1")
        client.close()
        client.close()
        assert client.receive() is None
        with fleet.client("AI_2") as client:
            client.close()


def test_what_is_called_after_the_end_is_refused() -> None:
    client = Client("AI_1", "unix:///nowhere")
    client.close()
    with pytest.raises(CoordError, match="closed"):
        client.share_pattern(pattern(1))
    assert list(client.messages()) == []


def test_who_cannot_be_made_or_connected_leaves_no_thread(tmp_path: Path) -> None:
    with pytest.raises(ServerUnusable):
        Client("AI_1", "http://example.org")
    with pytest.raises(CoordError):
        Client("two words", "unix:///nowhere")
    client = Client("AI_1", f"unix://{tmp_path}/nobody")
    with pytest.raises(NotAnswered):
        client.connect(timeout_s=0.2)
    client.close()


def test_a_loop_thread_runs_to_the_end_what_it_is_given() -> None:
    async def seven() -> int:
        return 7

    thread = LoopThread("test")
    assert thread.call(seven()) == 7
    thread.close()
    with pytest.raises(CoordError):
        thread.call(seven())


# -- the README's example --------------------------------------------------------------------------

EXAMPLE = REPOSITORY / "examples" / "own_trainer.py"


def test_the_example_is_under_20_lines() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) < 20


def test_the_example_runs_against_a_real_coordinator(state_dir: Path, tmp_path: Path) -> None:
    hasty = tmp_path / "hasty_trainer.py"
    hasty.write_text(EXAMPLE.read_text().replace("timeout_s=30", "timeout_s=1"))
    environment = python_environment(COORD_STATE_DIR=str(state_dir), PYTHONUNBUFFERED="1")
    serving = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stderr is not None
        for line in serving.stderr:
            if "active" in line:
                break
        example = subprocess.Popen(
            [sys.executable, str(hasty)], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert example.stdout is not None
        assert example.stdout.readline().startswith("shared: {1000: ")
        endpoint = embedded.find(state_dir)
        assert endpoint is not None
        with Client("AI_2", endpoint.url) as other:
            assert other.query("patterns").items[0]["id"] == "sort_seconds"
            report = other.query("benchmarks", {"component_id": "sorter"}).items[0]
            assert 0 < report["metrics"]["seconds_1000"] < report["metrics"]["seconds_10000"]
            other.share_pattern(pattern(1))
            other.confirm()
        said = example.communicate(timeout=20)[0]
        assert "AI_2 hello" in said
        assert "AI_2 pattern_share p1" in said
        assert example.returncode == 0
    finally:
        serving.terminate()
        serving.communicate(timeout=20)
