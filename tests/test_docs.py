"""The documents say what is: links lead somewhere, examples run, tables equal what they list."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings
from redis import Redis

from cli.main import app
from cli.output import ExitCode
from cli.serve import run_coordinator
from coordinator import Client, Cursor, Settings
from coordinator import errors as errors_module
from coordinator.dispatch import ROUTES
from coordinator.doors import gateway_door
from coordinator.gateway import GatewaySettings
from coordinator.keys import Keys
from coordinator.messages import GATEWAY, HUB, OPERATOR, Envelope, decode_push
from tests.clients import RealFleet
from tests.fleet import FleetUnderTest, Pushes
from tests.sandboxes import needs_sandbox
from tests.trainers import Validator, started_trainers
from tests.validators import joined
from web.settings import WebSettings

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
REFERENCE = REPOSITORY / "docs" / "reference.md"
OWN_AIS = REPOSITORY / "docs" / "own_ais.md"
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
PROTOCOL = REPOSITORY / "docs" / "protocol.md"
API = REPOSITORY / "docs" / "api.md"
SECURITY = REPOSITORY / "docs" / "security.md"
EXAMPLE = REPOSITORY / "examples" / "own_trainer.py"
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("**/*.md")])
LIMIT_S = 20.0
OF_THE_HUB = {
    *("training_sync", "query_result", "error"),
    *("feature_response", "feature_update", "collaboration_update"),
}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.M | re.S)


def prose(document: Path) -> str:
    """The document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S)


def table(document: Path, *heads: str) -> list[list[str]]:
    """The cells of the rows of the table with these heads."""
    head = f"| {' | '.join(heads)} |\n"
    text = document.read_text()
    assert text.count(head) == 1, f"{document.name} must have one table of {heads}"
    rows = text.partition(head)[2].partition("\n\n")[0].strip().splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


# -- links -----------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    """The anchors that a forge makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.M)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(names) == len(set(names)), f"two headings of {document.name} are the same"
    return set(names)


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"{document.name} links to {link}"
        assert target.resolve().is_relative_to(REPOSITORY)
        assert not anchor or anchor in anchors(target), f"{document.name} links to {link}"


# -- what newcomers read ---------------------------------------------------------------------------


def test_the_example_is_shown_in_full() -> None:
    assert EXAMPLE.read_text() in blocks(README, "python")
    assert len(EXAMPLE.read_text().splitlines()) < 20


@contextmanager
def coordinated(url: str) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_coordinator, args=(Settings(), url, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_the_example_shares_what_it_measures_and_prints_what_others_share(real_url: str) -> None:
    environment = os.environ | {"COORD_REDIS_URL": real_url, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-u", str(EXAMPLE)]
    with (
        coordinated(real_url),
        Client("AI_Other", real_url) as other,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            pattern = received(other, "pattern_share")["pattern"]
            metrics = received(other, "performance_report")["performance"]
            other.share_pattern({"id": "a-pattern-of-mine", "type": "note"})
            printed = next(line for line in process.stdout if "AI_Other" in line)
        finally:
            process.kill()
    assert "pattern_share a-pattern-of-mine" in printed
    assert all(0 < seconds < LIMIT_S for seconds in [*pattern["data"].values(), *metrics.values()])
    assert pattern["data"]


def received(client: Client, message_type: str) -> dict[str, Any]:
    """The payload of the next message of that type."""
    while True:
        message = client.receive(timeout_s=LIMIT_S)
        assert message is not None, f"no {message_type} came"
        if message.message_type == message_type:
            return message.payload


def test_the_test_of_an_own_ai_passes() -> None:
    tests = [block for block in blocks(OWN_AIS, "python") if "def test_" in block]
    assert len(tests) == 1
    names: dict[str, Any] = {}
    exec(tests[0], names)  # our own document's
    found = [value for name, value in names.items() if name.startswith("test_")]
    assert len(found) == 1
    found[0]()


@needs_sandbox
def test_what_is_shared_as_the_readme_says_hears_its_verdict(
    fleet: RealFleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = (block for block in blocks(README, "python") if "validation_result" in block)
    monkeypatch.setenv("COORD_REDIS_URL", fleet.url)
    monkeypatch.chdir(REPOSITORY)
    with started_trainers(tmp_path, lambda _: fleet.url, Validator) as start:
        joined(fleet, start, "Validator_1")
        exec(block, {})  # our own document's
    verdict, score = capsys.readouterr().out.split()
    assert verdict == "passed"
    assert -1 < float(score) < 1


@pytest.mark.parametrize(
    ("document", "settings"),
    [(REFERENCE, Settings), (SECURITY, GatewaySettings), (API, WebSettings)],
)
def test_the_configuration_table_equals_the_settings(
    document: Path, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    prefix = settings.model_config["env_prefix"]
    expected = []
    for name, field in settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        shown = "none" if default is None else f"`{default}`".replace("/home/me", "~")
        expected.append([f"`{prefix}{name.upper()}`", shown, field.description])
    assert table(document, "variable", "default", "meaning") == expected


def command_lines() -> dict[str, str]:
    """Every command of the shell, as it is called, and the first sentence of its help."""
    found = {}
    for name, lazy in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        command = lazy.load()
        subcommands = getattr(command, "commands", {"": command})
        for subname, subcommand in subcommands.items():
            first = " ".join((subcommand.help or "").split("\n\n")[0].split())
            found[f"coord {name} {subname}".strip()] = first
    return found


def test_the_command_table_equals_the_commands() -> None:
    rows = table(REFERENCE, "command", "what it does")
    assert dict(row for row in rows if len(row) == 2) == {
        f"`{command}`": first.partition(". ")[0].rstrip(".")
        for command, first in command_lines().items()
    }


def test_the_exit_code_table_equals_the_exit_codes() -> None:
    assert table(REFERENCE, "code", "meaning") == [[str(int(c)), c.meaning] for c in ExitCode]


@pytest.mark.parametrize("package", ["coordinator", "workers", "reports", "web", "cli"])
def test_the_layout_names_every_module_of(package: str) -> None:
    """A package in a row's first cell stands for all names after it; the gateway's modules have a
    paragraph of their own."""
    listed = []
    for first, _ in table(ARCHITECTURE, f"module of {package}", "what it is"):
        subpackage, _, names = first.rpartition(": ")
        listed += [f"{subpackage.strip('`')}{name}" for name in re.findall(r"`(\w+)`", names)]
    directory = REPOSITORY / package
    there = [path.relative_to(directory) for path in directory.rglob("*.py")]
    assert sorted(listed) == sorted(
        path.with_suffix("").as_posix()
        for path in there
        if path.stem != "__init__" and path.parts[0] != "gateway"
    )


def test_the_layout_names_every_module_of_the_gateway() -> None:
    text = ARCHITECTURE.read_text()
    paragraph = next(part for part in text.split("\n\n") if part.startswith("`gateway/` is"))
    listed = set(re.findall(r"`(\w+)`", paragraph))
    there = {path.stem for path in (REPOSITORY / "coordinator" / "gateway").glob("*.py")}
    assert listed == there - {"__init__"}


# -- the protocol ----------------------------------------------------------------------------------


EXAMPLES: list[dict[str, Any]] = [json.loads(block) for block in blocks(PROTOCOL, "json")]
ENVELOPES = [example for example in EXAMPLES if "message_type" in example]
SENT = [example for example in ENVELOPES if example["sender_id"] != HUB]
ANSWERS = {example["message_type"]: example for example in ENVELOPES if example not in SENT}
LETTERS = [
    example["payload"]["id"] for example in SENT if example["message_type"].startswith("dead_")
]


def fleet_with_dead_letters(redis: Redis) -> FleetUnderTest:
    """A fleet in which the examples can be sent one after the other."""
    fleet = FleetUnderTest(redis)
    fleet.join("AI_Node_2", specialization="security")
    fleet.enroll("Validator_1", role="validator")
    body = json.dumps(next(e for e in SENT if e["message_type"] == "pattern_share"))
    for letter in LETTERS:
        fleet.bury(letter, door="AI_Node_1", owner="AI_Node_1", body=body)
    for artifact in (e["payload"] for e in SENT if e["message_type"] == "payload"):
        key = fleet.keys.artifact("AI_Node_1", artifact["artifact"])
        redis.set(key, bytes(artifact["bytes"]))
    return fleet


OF_SESSIONS = [m["payload"] for m in SENT if m["message_type"] != "validation_result"]
SESSION_IDS = list(dict.fromkeys(re.findall(r"\b[0-9a-f]{12}\b", json.dumps(OF_SESSIONS))))


def in_this_fleet(message: dict[str, Any], fleet: FleetUnderTest) -> str:
    """The example with the ids of this fleet: its n-th session is the n-th in the document."""
    opened = [e["data"]["session_id"] for e in fleet.events() if e["kind"] == "session_opened"]
    text = json.dumps(message)
    for written, session_id in zip(SESSION_IDS, opened, strict=False):
        text = text.replace(written, session_id)
    return text


def test_every_example_is_accepted(redis: Redis) -> None:
    fleet = fleet_with_dead_letters(redis)
    for n, message in enumerate(SENT, 1):
        sender = message["sender_id"]
        if message["message_type"] == "dead_retry":
            fleet.say("AI_Node_1", "hello", n=1000)  # it has said goodbye
            fleet.run()
        if message["message_type"] == "retry":
            fleet.pass_time(61)  # nobody has the skills, and the session fails
        door = gateway_door("g1") if sender == GATEWAY else sender
        fleet.write(door, in_this_fleet(message, fleet), instance=f"{sender}.1", n=100 + n)
        fleet.run()
        refused = [event for event in fleet.events() if event["kind"] == "refused"]
        assert refused == [], message["message_type"]
    counted = {name.decode() for name in redis.hkeys(fleet.keys.totals)}  # type: ignore[union-attr]
    assert counted == {name for name, route in ROUTES.items() if not route.bookkeeping}
    assert set(ROUTES) == {message["message_type"] for message in SENT}
    assert redis.xlen(fleet.keys.dead) == 0


def test_the_answers_have_the_fields_that_the_coordinator_sends(redis: Redis) -> None:
    fleet = FleetUnderTest(redis)
    fleet.join("AI_Node_2", specialization="security")
    fleet.say("AI_Node_2", "pattern_share", {"pattern": {"id": "p0", "type": "note", "data": {}}})
    pushes = Pushes(redis, fleet.keys)
    hello, pattern_share, feature_request, collaboration_request = (
        next(example for example in SENT if example["message_type"] == message_type)
        for message_type in (
            "hello",
            "pattern_share",
            "feature_request",
            "collaboration_request",
        )
    )
    query = pattern_share | {"message_type": "query", "payload": {"what": "ais"}}
    refused = pattern_share | {"payload": {}}
    messages = (hello, query, refused, feature_request, collaboration_request)
    for n, message in enumerate(messages, 1):
        fleet.write("AI_Node_1", json.dumps(message), instance="i", n=n)
        fleet.run()
    fleet.say("AI_Node_2", "feature_request", feature_request["payload"])
    session_id = fleet.told("AI_Node_1", "collaboration_update")[-1]["session_id"]
    fleet.answer("AI_Node_2", session_id)
    fleet.report(f"{session_id}-1", "running")
    channel = fleet.keys.channel("AI_Node_1")
    told = [push["message"] for name, push in pushes.all() if name == channel]
    pushes.close()
    sent = {message["message_type"]: message for message in told if message["sender_id"] == HUB}
    assert sent.keys() == ANSWERS.keys() == OF_THE_HUB
    for message_type, message in sent.items():
        assert shape(ANSWERS[message_type]) == shape(message)


def shape(value: Any) -> Any:
    """The keys of an object and of what is in it, whatever its values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1] if isinstance(part, dict)]
    return None


def test_the_other_examples_are_what_they_seem() -> None:
    for example in ENVELOPES:
        Envelope.model_validate(example)
    push, cursor, gap = (example for example in EXAMPLES if example not in ENVELOPES)
    Envelope.model_validate(decode_push(json.dumps(push).encode()).message)
    Cursor.model_validate(cursor)
    assert gap.keys() == {"stream", "first", "last", "reason"}


def error_codes() -> set[str]:
    """Every code that the coordinator's source gives to an error."""
    codes = set()
    for path in sorted((REPOSITORY / "coordinator").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadMessage":
                codes |= {part.value for part in node.args[:1] if isinstance(part, ast.Constant)}
            if isinstance(node, ast.Dict):
                codes |= {
                    value.value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)
                    and key.value == "code"
                    and isinstance(value, ast.Constant)
                }
    classes = vars(errors_module).values()
    codes |= {c.code for c in classes if isinstance(c, type) and issubclass(c, Exception)}
    return codes


def words_of_the_gateway() -> set[str]:
    """Every string in the gateway's source."""
    return {
        node.value
        for path in sorted((REPOSITORY / "coordinator" / "gateway").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_type_and_every_code_is_there() -> None:
    text = prose(PROTOCOL)
    for word in [*ROUTES, *OF_THE_HUB, *error_codes(), HUB, OPERATOR, "gap"]:
        assert f"`{word}`" in text or f"### {word}\n" in text, f"{word} is not in {PROTOCOL.name}"
    codes = {row[0].strip("`") for row in table(PROTOCOL, "code", "what is wrong", "the cure")}
    assert codes <= error_codes()
    rows = table(PROTOCOL, "gateway's code", "what is wrong", "what to do")
    assert {row[0].strip("`") for row in rows} <= words_of_the_gateway()
    assert {"too_large", "rejoin", "id_taken", "internal", "bad_entry"} <= error_codes()


def test_keys_that_the_documents_name_are_keys() -> None:
    keys = vars(Keys()).values()
    for document in DOCUMENTS:
        for name in re.findall(r"`(coord:[a-z]+)`", document.read_text()):
            assert name in keys, f"{document.name} names {name}"
