"""The report: what it counts, draws and leaves out, and the command that writes it."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from cli.main import app
from cli.output import ExitCode
from coordinator.archive.reader import ArchiveReader
from coordinator.history import Line
from reports import formats
from reports.best import BEST, bests_of
from reports.busiest import BUSIEST, busiest_of
from reports.charts import HEIGHT, SHAPES, WIDTH, Scale, marker, plane, steps
from reports.curves import MARKERS_MAX, learning_curves
from reports.effect import GAINS_MAX, gains_chart, gains_of, pairs_of, uses_chart, uses_of
from reports.rejected import GROUPS, rejections_of
from reports.report import AIS_MAX, make_report
from reports.run import Run
from tests.fleet import FleetUnderTest
from tests.runs import EPOCH, History, a_rich_run, session_line, session_of

EVIL = '</code></script><script>alert("1")</script>\0\u202e{{ 7 * 7 }}'


def run_of(history: History) -> Run:
    run = Run()
    for line in history.lines:
        run.take(line)
    return run


@pytest.fixture
def history() -> History:
    return History()


def shared_and_measured(history: History, ai: str, n: int, score: float, *origins: str) -> None:
    """A pattern of ``ai``, begun from others' called ``<maker>.<n>``, and what it made of it."""
    parents = [(f"pattern:{name}", name.partition(".")[0]) for name in origins]
    history.share(ai, f"pattern:{ai}.{n}", "file_system", *parents)
    history.share(ai, f"component:{ai}.{n}", "file_system", (f"pattern:{ai}.{n}", ai))
    history.pass_time(1)
    history.judge(ai, f"component:{ai}.{n}", "buffer_cache", score)


def test_a_use_is_of_another_ais_record_and_counts_once(history: History) -> None:
    shared_and_measured(history, "A", 1, 0.2)
    shared_and_measured(history, "B", 1, 0.5, "A.1")
    history.share("B", "pattern:B.1", "file_system", ("pattern:A.1", "A"))  # a revision
    uses = uses_of(run_of(history))
    assert [(use.user, use.maker) for use in uses] == [("B", "A")]


def test_a_gain_is_over_the_best_of_others_that_it_stands_on(history: History) -> None:
    """Through its maker's own records; a pattern is worth what its maker's component is."""
    shared_and_measured(history, "A", 1, 0.25)
    shared_and_measured(history, "C", 1, 0.375)
    shared_and_measured(history, "B", 1, 0.5, "A.1", "C.1")
    shared_and_measured(history, "B", 2, 0.25, "B.1")
    run = run_of(history)
    gains = gains_of(run)
    assert [(gain.name, gain.parent, gain.gain) for gain in gains] == [
        ("component:B.1", "component:C.1", 0.125),
        ("component:B.2", "component:C.1", -0.125),
    ]
    (to_a, to_c) = sorted(pairs_of(uses_of(run), gains), key=lambda pair: pair.maker)
    assert (to_a.user, to_a.maker, to_a.uses, to_a.typical) == ("B", "A", 1, None)
    assert (to_c.user, to_c.maker, to_c.uses, to_c.typical) == ("B", "C", 1, 0.0)


def test_scores_of_two_problems_are_not_compared(history: History) -> None:
    history.share("A", "component:a", "audio")
    history.judge("A", "component:a", "playout_delay", 0.25)
    history.share("B", "component:b", "file_system", ("component:a", "A"))
    history.judge("B", "component:b", "buffer_cache", 0.5)
    assert gains_of(run_of(history)) == []


def test_records_that_stand_on_each_other_are_walked_once(history: History) -> None:
    history.share("A", "pattern:p", "audio", ("pattern:q", "A"))
    history.share("A", "pattern:q", "audio", ("pattern:p", "A"))
    history.share("A", "component:c", "audio", ("pattern:p", "A"))
    history.judge("A", "component:c", "playout_delay", 0.25)
    assert gains_of(run_of(history)) == []


def test_a_curve_is_the_best_so_far(history: History) -> None:
    for n, score in enumerate((0.1, 0.4, 0.3, 0.6), 1):
        history.pass_time(10)
        shared_and_measured(history, "A", n, score)
    shared_and_measured(history, "B", 1, 0.5, "A.4")
    history.judge("C", "component:c", "cpu_scheduler", None, reason="slow")
    (curve,) = learning_curves(run_of(history))
    assert (curve.problem, curve.specializations) == ("buffer_cache", ("file_system",))
    assert (curve.best.name, curve.costs) == ("component:A.4", ("0.741", "0.562"))
    assert curve.line.count("V") == 2  # 0.1, then up to 0.4 and to 0.6
    assert [marker.is_filled for marker in curve.markers] == [False] * 4 + [True]
    assert [key.label for key in curve.keys] == ["A", "B"]
    assert curve.bound_y < curve.zero_y < curve.plane.y.start
    assert curve.sentences[1] == "Baseline: LRU: the block that was not used for longest."


def test_many_points_and_makers_are_bounded_and_the_best_are_kept(history: History) -> None:
    for n in range(1000):
        shared_and_measured(history, f"A{n % 20}", n, -0.9 if n == 7 else n / 2000)
    (curve,) = learning_curves(run_of(history))
    assert MARKERS_MAX < len(curve.markers) < 3 * MARKERS_MAX
    assert curve.measured == 1000
    assert len(curve.keys) == SHAPES
    assert curve.keys[-1].label == f"{20 - SHAPES + 1} others"
    assert curve.sentences[-2] == "1 below \u221250.0\u202f% stand at the lower edge."
    assert curve.sentences[-1] == f"{len(curve.markers):,} of them are drawn."


def test_the_problem_of_strangers_has_a_curve_too(history: History) -> None:
    history.share("A", "component:a", "gardening")
    history.judge("A", "component:a", "weeds", 0.5, cost_unit="weeds/m2", costs={})
    (curve,) = learning_curves(run_of(history))
    assert (curve.specializations, curve.costs) == (("gardening",), ("", ""))
    assert curve.sentences == ["Costs are in weeds/m2."]


def test_what_is_drawn_lies_in_the_picture() -> None:
    axes = plane(90_000, 0, 1, [(0, "0")])
    assert [tick.label for tick in axes.x_ticks] == ["0", "30 s", "60 s", "90 s"]
    assert Scale(0, 10, 0, 100).at(99) == 100
    assert Scale(1, 1, 0, 100).at(1) == 50
    path = steps(axes, [(0, -5.0), (45_000, 0.5), (10**9, 7.0)])
    numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert all(0 <= number <= max(WIDTH, HEIGHT) for number in numbers)
    assert len({marker(shape, 5, 5) for shape in range(SHAPES + 3)}) == SHAPES


def test_the_charts_of_sharing_are_bounded(history: History) -> None:
    for n in range(GAINS_MAX + 50):
        shared_and_measured(history, f"A{n % 2}", n, 0.25 + n / 1000, f"A{(n + 1) % 2}.{n - 1}")
    run = run_of(history)
    gains, uses = gains_of(run), uses_of(run)
    assert len(gains_chart(run, gains).points) == GAINS_MAX
    chart = uses_chart(run, uses)
    assert (chart.shared_count, chart.uses_count) == (2 * (GAINS_MAX + 50), GAINS_MAX + 50)
    assert chart.shared.count("V") <= WIDTH * 10


def test_the_best_are_ranked_by_problem_with_their_code(tmp_path: Path, history: History) -> None:
    for n in range(BEST + 2):
        history.share("A", f"component:a{n}", "file_system", record={"code": f"n = {n}"})
        history.judge("A", f"component:a{n}", "buffer_cache", n / 10)
    history.event("retracted", "operator", {"id": "a4", "kinds": ["component"]})
    with history.archived(tmp_path / "a.db") as archive:
        bests = bests_of(run_of(history), archive.records)
    assert list(bests) == ["buffer_cache"]
    found = [
        (best.place, best.id, best.score, best.programs[0].text) for best in bests["buffer_cache"]
    ]
    assert found == [(1, "a3", 0.3, "n = 3"), (2, "a2", 0.2, "n = 2"), (3, "a1", 0.1, "n = 1")]
    facts = dict(bests["buffer_cache"][0].facts)
    assert facts["held-out workload"] == "eceefd572b1c"
    assert facts["measured against"] == "baseline 0.741, bound 0.562 (miss ratio)"


def test_a_verdict_that_was_taken_back_is_no_best(tmp_path: Path, history: History) -> None:
    history.share("A", "component:a", "file_system")
    history.judge("A", "component:a", "buffer_cache", 0.5)
    history.judge("A", "component:a", "buffer_cache", None, reason="another evaluator")
    with history.archived(tmp_path / "a.db") as archive:
        assert bests_of(run_of(history), archive.records) == {}


def test_reasons_that_differ_in_numbers_are_one(history: History) -> None:
    for n in range(3):
        history.judge(f"A{n % 2}", f"component:c{n}", "", None, reason=f"took {n}.5 s of '{n}'")
    for n in range(GROUPS + 3):
        history.event("refused", "B", {"code": f"c{'x' * n}", "detail": "no"})
    sessions = [
        {"state": "expired", "reason": "nobody came", "initiator": "C"},
        {"state": "completed", "reason": "", "initiator": "C"},
    ]
    components, ended, messages = rejections_of(run_of(history), sessions)
    assert (components.total, components.groups) == (
        3,
        [("failed", "took 0.5 s of '0'", 3, "A0 (2), A1")],
    )
    assert ended.groups == [("expired", "nobody came", 1, "C")]
    assert (messages.total, len(messages.groups), messages.left_out) == (GROUPS + 3, GROUPS, 3)


def test_the_busiest_come_first(tmp_path: Path, history: History) -> None:
    for n in range(BUSIEST + 2):
        history.work(f"s{n}", "debate", ["A", "B"], n + 1, result={"gain": 0.123456})
    history.work("asked", "feature_request", ["C"], 50, requirements={"feature": "swap"})
    with history.archived(tmp_path / "a.db") as archive:
        busiest, total = busiest_of(archive.sessions(), run_of(history).units_done, archive.units)
    assert (len(busiest), total) == (BUSIEST, BUSIEST + 3)
    assert [one.units for one in busiest[:3]] == [50, 12, 11]
    assert (busiest[0].what, busiest[0].took) == ("feature swap", "50 s")
    assert (busiest[1].participants, busiest[1].outcome) == ("A, B", "gain=0.1235")
    assert busiest[1].workers == [("A", 6), ("B", 6)]


def test_open_work_counts_by_what_was_done(tmp_path: Path, history: History) -> None:
    """How many units an open session will have, nobody knows; one that never began is none."""
    history.work("short", "debate", ["A", "B"], 2)
    history.work("open", "debate", ["A", "B"], 3, state="active", ended_ms=None)
    history.lines.append(session_line(session_of("asked", "debate", "A"), 99, history.ms))
    run = run_of(history)
    with history.archived(tmp_path / "a.db") as archive:
        busiest, begun = busiest_of(archive.sessions(), run.units_done, archive.units)
        told = words_of(make_report(archive, history.ms))
    assert [(one.completed, one.units, one.took) for one in busiest] == [
        (3, 3, ""),
        (2, 2, "2.0 s"),
    ]
    assert begun == 2
    assert "3 units done, still open: A 2, B 1" in told
    assert "2 of 2 units done, 2.0 s: A 1, B 1" in told
    assert "1 collaboration completed, of 2 begun" in told


def test_an_archive_that_people_edited_is_told_as_far_as_it_can_be_read(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "a.db"
    a_rich_run(2).archived(path).close()
    with closing(sqlite3.connect(path)) as database:
        for kind, field, value in (
            ("shared", "origins", "[1]"),
            ("shared", "contributors", "5"),
            ("session_completed", "session", '{"id": [1]}'),
            ("unit_completed", "unit", "{}"),
            ("joined", "specialization", "{}"),
        ):
            database.execute(
                "UPDATE events SET data = json_set(data, ?, json(?)) WHERE kind = ? AND n ="
                " (SELECT max(n) FROM events WHERE kind = ?)",
                (f"$.{field}", value, kind, kind),
            )
        database.execute("UPDATE sessions SET session = 'x', participants = '5'")
        database.commit()
    with ArchiveReader.read(path) as archive:
        told = words_of(make_report(archive, 0))
    assert "What 7 AIs did together" in told
    assert list(recwarn) == []


@pytest.mark.parametrize(
    ("source", "told", "left_out"),
    [
        ("a\n\tb\r\nc", "a\n    b\nc", ""),
        ("\0\u202e\x1b[2J", r"\x00\u202e\x1b[2J", ""),
        ("x\n" * 500, "x\n" * 239 + "x", "the first 240 of its 501 lines"),
        ("y" * 10**6, "y" * 297 + "...", "long lines are cut"),
    ],
)
def test_code_is_shown_as_it_is_and_bounded(source: str, told: str, left_out: str) -> None:
    assert formats.code(source) == (told, left_out)


def test_numbers_are_shown_as_people_read_them() -> None:
    assert [
        formats.duration(ms) for ms in (0, 9_900, 61_000, 125_000, 3_600_000, 9_000_000, 1e9)
    ] == [
        *("0.0 s", "9.9 s", "61 s", "2 min 5 s", "60 min", "2 h 30 min", "11 days"),
    ]
    assert (formats.percent(-0.5), formats.points(-0.0312), formats.cost(True)) == (
        *("\u221250.0\u202f%", "\u22123.1", ""),
    )


def test_the_page_tells_the_whole_run(tmp_path: Path) -> None:
    history = a_rich_run()
    with history.archived(tmp_path / "a.db") as archive:
        page = make_report(archive, history.ms)
    told = words_of(page)
    for text in (
        "What 7 AIs did together",
        "48 patterns shared",
        "7 collaborations completed, of 8 begun",
        "5 of 11 did better than what they were begun from",
        "AI_Node_5 AI_Node_1 8 6 \u221225.9",
        "68.8\u202f% by AI_Node_1, the best of 14 measured",
        "Components that did not pass: 7",
        "test_hits failed: expected",
        "too_large 1 it has 300000 bytes AI_Node_4",
        "class Policy:",
    ):
        assert text in told, text
    assert "Gaps" not in told
    assert is_made_again(tmp_path / "again.db", page)


def words_of(page: str) -> str:
    """What people read on it."""
    return re.sub("[ \n]+", " ", re.sub("<[^>]*>", " ", page))


def is_made_again(path: Path, page: str) -> bool:
    """Whether the same run gives the same page."""
    history = a_rich_run()
    with history.archived(path) as archive:
        return make_report(archive, history.ms) == page


def test_gaps_are_named(tmp_path: Path, history: History) -> None:
    history.miss("log", 1234)
    history.pass_time(60)
    history.join("A", "audio")
    history.lines.append(
        Line("epoch", "log", 9, 9, 0, EPOCH[:-1] + "2", {"events_n": 1, "forgot": 3})
    )
    with history.archived(tmp_path / "a.db") as archive:
        page = make_report(archive, history.ms)
    told = words_of(page)
    assert "The history is complete only from 2025-06-15 15:06:40 UTC on" in told
    assert "messages 1,234 1 to 1234" in told
    assert "The server began anew 1 time" in told


def test_what_means_harm_stays_text(tmp_path: Path, history: History) -> None:
    """Wherever an AI has a word on the page, it is text that nothing obeys."""
    for ai in ("x" * 64, EVIL):
        history.join(ai, EVIL)
        record = {"language": EVIL, "implementation": {EVIL: EVIL}}
        told = {"cost_unit": EVIL, "sandbox": EVIL, "evaluator": EVIL, "tests": [EVIL]}
        history.share("A", "component:evil", "audio", ("pattern:p", "B"), record=record)
        history.judge("A", "component:evil", EVIL, 0.5, **told)
        history.judge("A", "component:no", EVIL, None, reason=EVIL)
        history.event("refused", ai, {"code": EVIL, "detail": EVIL})
        history.work(f"s{ai}", EVIL, [ai, "A"], 2, result={EVIL: EVIL})
        history.work(f"t{ai}", "feature_request", [ai], 1, requirements={"feature": EVIL})
    with history.archived(tmp_path / "a.db") as archive:
        page = make_report(archive, history.ms)
    assert "<script" not in page
    assert page.count("</code>") == page.count("<code>") > 0
    assert not re.search("[\0\u202e]", page)
    assert "{{ 7 * 7 }}" in page
    assert "src=" not in page
    assert set(re.findall(r'href="([^"#]*)', page)) == {"", "data:,"}


def test_records_that_are_not_as_ours_do_no_harm(tmp_path: Path, history: History) -> None:
    for n, record in enumerate(({"code": 7}, {"code": [1]}, {"implementation": {"a": 1}}, {})):
        history.share("A", f"component:c{n}", "audio", record=record)
        history.judge("A", f"component:c{n}", "playout_delay", 0.5, costs={}, tests=[])
    history.event("validated", "A", {"kind": "component", "verdict": "passed", "score": "high"})
    history.event("shared", "A", {"kind": "component"})
    for origins, makers in (([1], ["A"]), ([{"name": "pattern:p"}], 5), ({}, [])):
        spoiled = {"kind": "component", "id": "c", "specialization": "audio", "record": {}}
        history.event("shared", "A", spoiled | {"origins": origins, "contributors": makers})
    history.event("left", "nobody", {})
    with history.archived(tmp_path / "a.db") as archive:
        assert "playout_delay" in make_report(archive, history.ms)


def test_a_long_run_makes_a_bounded_page_in_seconds(tmp_path: Path) -> None:
    """20,000 messages of 200 AIs; it grows in proportion."""
    history = History()
    for n in range(200):
        history.join(f"AI_{n}", f"word_{n % 30}")
    for n in range(4_900):
        history.say(f"AI_{n % 200}", "direct", {"text": "x" * 200}, f"AI_{n * 7 % 199}")
        history.say(f"AI_{n % 200}", "heartbeat", {"n": n})
        shared_and_measured(
            history, f"AI_{n % 200}", n, n % 97 / 100, f"AI_{(n - 1) % 200}.{n - 1}"
        )
    counts: list[int] = []
    with history.archived(tmp_path / "a.db") as archive:
        began_s = time.process_time()
        page = make_report(archive, history.ms, counts.append)
        took_s = time.process_time() - began_s
    assert took_s < 10
    assert len(page) < 1_000_000
    assert f"200 AIs, the highest contribution first; {AIS_MAX} are shown" in page
    assert counts == list(range(5_000, len(history.lines) + 1, 5_000))


class TestCommand:
    @pytest.fixture
    def archived(self, tmp_path: Path) -> Path:
        path = tmp_path / "hub_data.db"
        a_rich_run(2).archived(path).close()
        return path

    def test_it_writes_one_file(self, archived: Path, tmp_path: Path) -> None:
        out = tmp_path / "out" / "r.html"
        out.parent.mkdir()
        arguments = ["report", "--archive", str(archived), "--out", str(out), "--json"]
        result = CliRunner().invoke(app, arguments)
        assert json.loads(result.stdout) == {"report": str(out), "bytes": out.stat().st_size}
        assert list(out.parent.iterdir()) == [out]
        assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    @pytest.mark.parametrize(
        ("out", "reason"),
        [
            (".", "it is a directory"),
            ("missing/r.html", "its directory is missing"),
        ],
    )
    def test_where_it_cannot_write_it_says_so(
        self, archived: Path, tmp_path: Path, out: str, reason: str
    ) -> None:
        where = str(tmp_path / out)
        result = CliRunner().invoke(app, ["report", "--archive", str(archived), "--out", where])
        assert result.exit_code == ExitCode.FAILED
        assert f"cannot be written ({reason}): name another file by --out" in result.stderr

    def test_what_is_no_archive_is_said(self, tmp_path: Path) -> None:
        out = tmp_path / "r.html"
        out.write_text("mine")
        arguments = ["report", "--archive", str(tmp_path / "no.db"), "--out", str(out)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == ExitCode.FAILED
        assert "there is no archive at" in result.stderr
        assert out.read_text() == "mine"

    def test_of_a_fleet_it_tells_what_is_kept(
        self, real_redis: Redis, real_url: str, tmp_path: Path
    ) -> None:
        fleet = FleetUnderTest(real_redis)
        fleet.join("AI_1", "AI_2", specialization="audio")
        fleet.say("AI_1", "pattern_share", {"pattern": {"id": "p", "type": "t", "data": {}}})
        fleet.run()
        real_redis.xtrim(fleet.keys.log, maxlen=1, approximate=False)
        out = tmp_path / "r.html"
        arguments = ["report", "--redis", real_url, "--out", str(out)]
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
        assert result.stdout.startswith(f"report: {out} (")
        told = words_of(out.read_text(encoding="utf-8"))
        assert "The history is complete only from" in told
        assert "1 pattern shared" in told
        assert "messages 2 1 to 2" in told
        assert real_redis.exists(fleet.keys.archives) == 0
