"""`coord graph`: tables, files, archives, and what it says when something is missing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from redis import Redis
from typer.testing import CliRunner, Result

from cli.graph import edge_row
from cli.main import app
from cli.output import ExitCode
from coordinator.archive.archive import Archive
from coordinator.archive.follow import catch_up
from coordinator.clock import SystemClock
from coordinator.history import Follower
from reports.graph.graph import Edge, Label
from tests.fleet import FleetUnderTest

Coord = Callable[..., Result]
HOSTILE = "x\x1b[2J\n12:00:00  forged\u202e\r"


@pytest.fixture
def fleet(real_redis: Redis) -> FleetUnderTest:
    """``a`` and ``b`` developed a feature together, and ``c`` had a message of ``a``."""
    fleet = FleetUnderTest(real_redis, clock=SystemClock(), lease_s=3600)
    fleet.join("a", "b", specialization="file_system", skills=["k"])
    fleet.join("c", specialization="audio")
    fleet.say("a", "pattern_share", {"pattern": {"id": "p"}}, "c")
    fleet.run()
    plan = [{"name": "u", "kind": "k", "participant": 0}]
    session_id = fleet.collaborate("a", "b", plan=plan, requirements={"feature": "file_cache"})
    for unit_id in fleet.session(session_id)["units"]:
        fleet.report(unit_id)
    return fleet


@pytest.fixture
def coord(real_url: str) -> Coord:
    return lambda *arguments: CliRunner().invoke(app, ["graph", *arguments, "--redis", real_url])


@pytest.fixture
def archive(fleet: FleetUnderTest, tmp_path: Path) -> Path:
    """An archive of all of it."""
    path = tmp_path / "hub_data.db"
    with Archive.open(path, create=True) as archive:
        for _ in catch_up(archive, Follower(fleet.redis, fleet.keys)):
            pass
    return path


def pairs(result: Result) -> list[tuple[str, str]]:
    return [(edge["a"], edge["b"]) for edge in json.loads(result.stdout)["edges"]]


def test_the_table(fleet: FleetUnderTest, coord: Coord) -> None:
    result = coord()
    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    head, _, *rows = result.stdout.splitlines()
    assert head.split() == [*("AI", "with", "messages", "records", "units"), *("what", "it", "was")]
    assert [row.split() for row in rows] == [
        ["a", "b", "0", "0", "1", "feature_development", "file_cache", "(1)"],
        ["a", "c", "1", "0", "0", "message", "(1)"],
    ]


def test_the_same_as_json(fleet: FleetUnderTest, coord: Coord) -> None:
    found = json.loads(coord("--json").stdout)
    assert [node["id"] for node in found["nodes"]] == ["a", "b", "c"]
    assert [(edge["a"], edge["b"], edge["weight"]) for edge in found["edges"]] == [
        ("a", "b", 1),
        ("a", "c", 1),
    ]
    assert (found["since_ms"], found["complete_ms"]) == (0, 0)


def test_a_limit(fleet: FleetUnderTest, coord: Coord) -> None:
    lines = coord("--limit", "1").stdout.splitlines()
    assert lines[-1] == "1 of 2 pairs: ask for more by --limit"


def test_only_what_concerns_one_ai(fleet: FleetUnderTest, coord: Coord) -> None:
    assert pairs(coord("--ai", "c", "--json")) == [("a", "c")]
    result = coord("--ai", HOSTILE)
    assert (result.exit_code, result.stdout) == (ExitCode.FAILED, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        "coord: x\\x1b[2J\\n12:00:00  forged\\u202e\\r is not in the history of that time"
    )


def test_an_ai_whose_name_is_mistyped(fleet: FleetUnderTest, coord: Coord) -> None:
    for ai in ("AI_Node_1", "AI_Node_2"):
        fleet.join(ai)
    fleet.run()
    result = coord("--ai", "AI_Nod_1")
    assert result.exit_code == ExitCode.FAILED
    assert "AI_Nod_1 is not in the history of that time: did you mean AI_Node_1?" in result.stderr


def test_on_a_terminal_the_most_of_what_it_was_is_told() -> None:
    labels = tuple(Label("debate", f"on {n}", 9 - n) for n in range(5))
    edge = Edge("a", "b", 0, 0, 35, labels, ())
    assert edge_row(edge, 3)[-1] == "debate on 0 (9), debate on 1 (8), debate on 2 (7) and 2 more"
    assert "more" not in str(edge_row(edge, 5)[-1])


def test_a_fleet_in_which_nothing_happened(real_redis: Redis, coord: Coord) -> None:
    result = coord()
    assert (result.exit_code, result.stdout) == (0, "0 AIs, and nobody worked with anybody\n")


def test_a_picture(fleet: FleetUnderTest, coord: Coord, tmp_path: Path) -> None:
    path = tmp_path / "fleet.svg"
    result = coord("--since", "10m", "--out", str(path))
    assert (result.exit_code, result.stdout) == (0, f"wrote {path}: 3 AIs, 2 pairs\n")
    texts = {element.text for element in ElementTree.parse(path).iter()}
    assert {"Who worked with whom", "coord: 3 AIs, 2 pairs", "a", "b", "c"} <= texts
    assert {"feature_development", "file_cache (1)", "message (1)"} <= texts


def test_the_other_files(fleet: FleetUnderTest, coord: Coord, tmp_path: Path) -> None:
    for name in ("fleet.PNG", "fleet.html", "fleet.json"):
        assert coord("--out", str(tmp_path / name)).exit_code == ExitCode.OK
    with Image.open(io.BytesIO((tmp_path / "fleet.PNG").read_bytes())) as image:
        assert min(image.size) > 600
    assert "<svg" in (tmp_path / "fleet.html").read_text()
    stored = json.loads((tmp_path / "fleet.json").read_text())
    assert stored | {"now_ms": 0} == json.loads(coord("--json").stdout) | {"now_ms": 0}


def test_a_file_and_json(fleet: FleetUnderTest, coord: Coord, tmp_path: Path) -> None:
    result = coord("--out", str(tmp_path / "fleet.svg"), "--json")
    assert pairs(result) == [("a", "b"), ("a", "c")]
    assert (tmp_path / "fleet.svg").exists()


@pytest.mark.parametrize("name", ["fleet.gif", "fleet", ".svg"])
def test_of_an_unknown_kind_of_file(fleet: FleetUnderTest, coord: Coord, name: str) -> None:
    result = coord("--out", name)
    assert result.exit_code == ExitCode.USAGE
    said = " ".join(result.stderr.replace("│", "").split())
    assert "does not end in one of .svg, .png, .html, .json" in said
    assert not Path(name).exists()


def test_a_file_that_cannot_be_written(fleet: FleetUnderTest, coord: Coord, tmp_path: Path) -> None:
    result = coord("--out", str(tmp_path / "none" / "fleet.svg"))
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.endswith(
        "cannot be written (its directory is missing): name another file by --out\n"
    )


def test_a_wrong_duration(fleet: FleetUnderTest, coord: Coord) -> None:
    result = coord("--since", "soon")
    assert result.exit_code == ExitCode.USAGE
    assert "is no duration" in result.stderr


def test_a_history_that_was_cut_is_told(
    fleet: FleetUnderTest, coord: Coord, tmp_path: Path
) -> None:
    fleet.redis.xtrim(fleet.keys.events, maxlen=2, approximate=False)
    result = coord("--since", "1h", "--out", str(tmp_path / "fleet.html"))
    assert result.exit_code == ExitCode.OK
    (line,) = result.stderr.splitlines()
    assert line.startswith("the server keeps the history from ")
    assert line.endswith("an archive has what came before (`coord graph --archive FILE`)")
    assert line.partition(" (")[0] in (tmp_path / "fleet.html").read_text()


def test_an_archive_has_what_the_server_has_not(
    fleet: FleetUnderTest, coord: Coord, archive: Path
) -> None:
    fleet.redis.xtrim(fleet.keys.events, maxlen=1, approximate=False)
    result = coord("--archive", str(archive), "--json")
    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    assert pairs(result) == [("a", "b"), ("a", "c")]
    found = json.loads(result.stdout)
    assert [node["specialization"] for node in found["nodes"]] == [
        *("file_system", "file_system", "audio")
    ]


def test_no_archive(coord: Coord, tmp_path: Path) -> None:
    result = coord("--archive", str(tmp_path / "none.db"))
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.startswith("coord: there is no archive at ")
