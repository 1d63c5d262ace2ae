"""``coord demo``: a whole fleet for half a minute, and what it measurably achieved."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import redis
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.board import Board
from cli.children import Child
from cli.children import start as start_child
from cli.children import stop as stop_children
from cli.evaluation import measure
from cli.launch import child_environment, serve_command
from cli.local_fleet import (
    check_alive,
    enroll_validator,
    trainer_ids,
    validator_ids,
    wait_for,
)
from cli.options import JsonOption, OpenFleet, load_settings
from cli.output import ExitCode, complain, console, counted, percent, plain, say, say_json
from cli.scratch import scratch_directory
from cli.session_text import kind_of, outcome_of, workers_of
from cli.signals import Interrupted, Signals
from cli.verdicts import best_row, counts_row, sandbox_rows, sum_up
from coordinator import embedded
from coordinator.connection import connect, redact
from coordinator.history import Follower
from coordinator.keys import Keys, Kind
from coordinator.reads import Item, read_counts, read_records
from coordinator.session_reads import read_sessions
from coordinator.settings import Settings
from coordinator.specializations import CAPABILITIES
from workers.launch import trainer_command, validator_command, worker_environment
from workers.problems import find_problem

READY_LIMIT_S = 30.0
GRACE_S = 10.0
KEEP_LOGS = "--keep keeps all logs"
BLOCK_MS = 200
SESSIONS_MAX = 200
TOGETHER_SHOWN = 12
LONGEST_OUTCOME = 200
SESSION_FIELDS = (
    *("id", "type", "requirements", "initiator", "participants", "state", "reason"),
    *("began_ms", "ended_ms", "component_id", "result"),
)
PIPED_WIDTH = 100
"""Columns of the summary where it is shown on no terminal."""
WHY_THEY_DIFFER = (
    "these shares differ because the workloads do: one recording that nobody trained on, all such"
    " recordings on average, and a validator's own workload"
)
MISS_RATIO = "miss ratio"
"""The cost unit that is a share, and shown in percent."""

TrainersOption = Annotated[int, typer.Option("--trainers", "-t", min=1, max=64, help="How many.")]
SecondsOption = Annotated[
    float, typer.Option("--seconds", min=1, help="How long they train before the summary.")
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Keep the directory with logs and data.")]


def demo(
    trainers: TrainersOption = 4,
    seconds: SecondsOption = 30,
    keep: KeepOption = False,
    json: JsonOption = False,
) -> None:
    """Show a whole fleet at work: a server, a coordinator and trainers, all real processes.

    They learn from recorded traces, share what they learn and work on it together; a validator runs
    the components in a sandbox and measures them. At the end the best patterns are evaluated again.
    Everything is in a temporary directory of its own; nothing is left behind.

    Example: coord demo --trainers 12 --seconds 60
    """
    with Signals() as signals:
        try:
            summary = _measured(trainers, seconds, signals, keep=keep, silent=json)
        except Interrupted:
            complain("interrupted; everything that was started has ended")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if json:
        say_json(summary)
    else:
        print_summary(console(PIPED_WIDTH), summary)


def _measured(
    trainers: int, seconds: float, signals: Signals, *, keep: bool, silent: bool
) -> dict[str, Any]:
    """Run a fleet in a directory of its own, and evaluate its best. Raises Interrupted."""
    with kept_directory() if keep else scratch_directory("coord-demo-") as directory:
        settings = load_settings(None, None, directory)
        found = Demo(directory, settings, trainers, signals, silent=silent).run(seconds)
        signals.check()
        if not silent:
            say("evaluating again what they shared …")
        return found | {"seconds": seconds} | measure(found.pop("patterns"))


@contextmanager
def kept_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="coord-kept-"))
    try:
        yield directory
    finally:
        complain(f"logs and data are kept in {directory}")


class Demo:
    """The processes of one demo; after ``run`` none of them is left, whatever happened."""

    def __init__(
        self, directory: Path, settings: Settings, count: int, signals: Signals, *, silent: bool
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._keys = Keys(settings.namespace)
        self._signals = signals
        self._trainers = dict(zip(trainer_ids(count), _cycled(count), strict=True))
        self._board = Board(console(), self._trainers, silent=silent)
        self._coordinator: list[Child] = []  # one, once it is started
        self._running: list[Child] = []  # the AIs that are started

    def run(self, seconds: float) -> Item:
        """Everything from the start of the server to its end; what was counted and shared."""
        try:
            with self._board:
                self._signals.check()
                endpoint = embedded.start(self._directory, die_with_parent=True)
                self._board.say(f"server at {redact(endpoint.url)}")
                return self._run_on(endpoint.url, seconds)
        finally:
            self._stop(self._running)  # who leaves tells the coordinator, so it ends last
            self._stop(self._coordinator)
            embedded.stop(self._directory)

    def _run_on(self, url: str, seconds: float) -> Item:
        with connect(url) as connection:
            self._coordinator.append(self._start("coordinator", serve_command(), {}, url))
            self._wait_for_coordinator(connection)
            self._board.say("coordinator is active")
            follower = Follower(connection, self._keys)
            follower.begin_at(0)
            self._start_ais(connection, url)
            self._follow(connection, follower, seconds)
            sessions = read_sessions(connection, self._keys, SESSIONS_MAX).items
            self._board.say("time is up: the trainers leave")
            self._stop(self._running)
            self._signals.check()
            for line in follower.read(0):
                self._board.take(line)
            counts = read_counts(connection, self._keys)
            components = self._read(connection, "component", counts["components"])
            components += self._read(connection, "feature", counts["features"])
            return {
                "trainer_ids": list(self._trainers),
                "patterns_shared": counts["patterns"],
                "components_shared": counts["components"] + counts["features"],
                "messages_routed": counts["messages"],
                "messages_by_type": counts["messages_by_type"],
                "patterns": self._read(connection, "pattern", counts["patterns"]),
                **sum_up(components),
                "sessions": [{name: item[name] for name in SESSION_FIELDS} for item in sessions],
            }

    def _start_ais(self, connection: redis.Redis, url: str) -> None:
        """The trainers, and a validator."""
        namespace = self._settings.namespace
        for ai, word in self._trainers.items():
            own = worker_environment(url, self._settings_of(word))
            self._running.append(self._start(ai, trainer_command(ai, namespace), own, url))
        for ai in validator_ids(1):
            enroll_validator(OpenFleet(connection, redact(url), self._keys), ai)
            own = worker_environment(url, self._settings)
            self._running.append(self._start(ai, validator_command(ai, namespace), own, url))
        self._board.say(f"{counted(len(self._trainers), 'trainer')} and a validator are starting")

    def _read(self, connection: redis.Redis, kind: Kind, count: int) -> list[Item]:
        return read_records(connection, self._keys, kind, count).items

    def _follow(self, connection: redis.Redis, follower: Follower, seconds: float) -> None:
        self._board.ends_in(seconds)
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self._check()
            for line in follower.read(BLOCK_MS):
                self._board.take(line)
            self._board.show_sessions(read_sessions(connection, self._keys, SESSIONS_MAX).items)
            self._board.redraw()

    def _start(self, name: str, command: list[str], own: dict[str, str], url: str) -> Child:
        self._signals.check()
        environment = child_environment(self._settings, url) | own
        log_path = self._directory / f"{name}.log"
        return start_child(name, command, environment, log_path, tied=True)

    def _stop(self, children: list[Child]) -> None:
        stop_children(children, GRACE_S, lambda: self._signals.hurry)

    def _settings_of(self, specialization: str) -> Settings:
        return self._settings.model_copy(update={"specialization": specialization})

    def _wait_for_coordinator(self, connection: redis.Redis) -> None:
        def missing() -> str:
            return "" if connection.exists(self._keys.leader) else "a coordinator"

        wait_for(missing, self._check, READY_LIMIT_S, KEEP_LOGS)

    def _check(self) -> None:
        """Raises if a signal came, or if a child has ended before its time."""
        self._signals.check()
        check_alive(self._coordinator + self._running, KEEP_LOGS)


def _cycled(count: int) -> list[str]:
    """Specializations for ``count`` trainers: those that there is something to train for."""
    words = [word for word in CAPABILITIES if find_problem(word)]
    return [words[i % len(words)] for i in range(count)]


def print_summary(shown: Console, summary: dict[str, Any]) -> None:
    """The measured results, for people."""
    types = ", ".join(f"{name} {count}" for name, count in summary["messages_by_type"].items())
    patterns = counted(summary["patterns_shared"], "pattern")
    components = counted(summary["components_shared"], "component")
    rows = [
        ("shared", f"{patterns}, {components}"),
        ("messages routed", f"{summary['messages_routed']} ({types})"),
        *((ai, _trainer_text(summary["trainers"].get(ai))) for ai in summary["trainer_ids"]),
        *together_rows(summary["sessions"]),
        counts_row(summary["verdicts"]),
        *sandbox_rows(summary["validated"]),
        *_best_rows(summary["best"], summary["validated"]),
    ]
    grid = Table.grid(padding=(0, 2))
    for name, text in rows:
        grid.add_row(Text("  " + plain(name)), Text(plain(text)))
    shown.print(Text("\nWhat the fleet achieved, measured", style="bold"))
    shown.print(grid)


def together_rows(sessions: list[Item]) -> list[tuple[str, str]]:
    """Who worked with whom on what, and what those who did it say came out."""
    states = Counter(item["state"] for item in sessions)
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    rows = [("worked together", f"{told} when time was up" if told else "nobody")]
    completed = [item for item in sessions if item["state"] == "completed"]
    if completed:
        rows.append(("", "what came out, as those who did it measured it:"))
    for item in completed[:TOGETHER_SHOWN]:
        text = f"{workers_of(item)} on {kind_of(item)}: {outcome_of(item)}"
        rows.append(("", plain(text, LONGEST_OUTCOME)))
    if len(completed) > TOGETHER_SHOWN:
        rows.append(("", f"and {len(completed) - TOGETHER_SHOWN} more: --json has them all"))
    return rows


def _best_rows(best: dict[str, Item], validated: dict[str, Item]) -> list[tuple[str, str]]:
    """Of each problem by itself: the gaps of two problems cannot be compared."""
    rows = []
    for found in best.values():
        rows += [*_best_of(found), best_row(found["problem"], validated.get(found["problem"]))]
    measured = {found["problem"] for found in best.values()}
    others = [best_row(name, found) for name, found in validated.items() if name not in measured]
    nothing = [("best policy", "none was shared in this time: give it more --seconds")]
    why = [("", WHY_THEY_DIFFER)] if best and validated else []
    return [*rows, *others, *why] or nothing


def _best_of(best: Item) -> list[tuple[str, str]]:
    held_out = best["held_out"].values()
    mean = sum(score["gap_closed"] for score in held_out) / len(held_out)
    name = f"{best['pattern_id']} of {best['contributor']}"
    where = f"on the {len(held_out)} recordings that nobody trained on"
    score = score_text(best["measured"], best["cost_unit"])
    return [
        (
            f"best {best['problem']}",
            f"{name}: the best pattern over all training recordings, evaluated here again",
        ),
        ("", f"{where}: {percent(mean)} of the gap closed on average"),
        ("", f"on {best['workload']} of them: {score}"),
    ]


def _trainer_text(found: dict[str, Any] | None) -> str:
    if found is None:
        return "shared no pattern"
    text = f"{counted(found['patterns'], 'pattern')}, "
    built_on = found["built_on"]
    if built_on:
        first = built_on[0]
        text += f"{len(built_on)} of them begun from others' patterns, the first from"
        text += f" {first.get('id')} of {first.get('contributor')}"
        measured = first.get("measured_gap_closed")
        if isinstance(measured, int | float):
            text += f" (measured again: {percent(measured)} of the gap)"
    else:
        text += "none of them begun from another's"
    best = found["best"]
    if best:
        gap = percent(best["measured"]["gap_closed"])
        text += f"; the one that did best in training: {gap} on {best['workload']}"
        text += f" of {best['problem']}"
    return text


def score_text(score: dict[str, float], cost_unit: str) -> str:
    """A score in words: what was gained over the baseline, and what is left to the bound."""
    is_share = cost_unit == MISS_RATIO
    scale, unit = (100, "points") if is_share else (1, cost_unit)

    def cost(name: str) -> str:
        return percent(score[name]) if is_share else f"{score[name]:.3g} {unit}"

    gained = (score["baseline"] - score["achieved"]) * scale
    left = (score["achieved"] - score["bound"]) * scale
    return (
        f"cost {cost('achieved')}; baseline {cost('baseline')}"
        f" ({gained:+.3g} {unit} gained), bound {cost('bound')}"
        f" ({left:.3g} {unit} left): {percent(score['gap_closed'])} of the gap closed"
    )
