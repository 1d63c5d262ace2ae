"""Does sharing pay? What `coord experiment sharing` finds out, as Markdown.

    python -m bench.sharing --seeds 10 --processes 2

`docs/sharing.md` says what the arms are, and what the figures mean. Prints one table of all
problems, and writes the runs to `--runs` as JSON if that is given.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from bench.machine import describe_machine
from bench.search import SEARCH_PACKAGES, row
from cli.experiment import ABOUT, ARMS, NAMES, in_order, row_of, verdict_of, with_reference
from workers.experiment.outcomes import outcomes_of
from workers.experiment.runs import run_all

HEADS = (
    *("problem", "arm", "evaluations needed", "reached"),
    *("gap closed, trained", "gap closed, held out", "held out, over isolated"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--arms", nargs="+", choices=ABOUT, default=ARMS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trainers", type=int, default=8)
    parser.add_argument("--evaluations", type=int, default=480)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args()
    began_s = time.perf_counter()
    asked = (range(given.seeds), given.trainers, given.evaluations, given.processes)
    arms = with_reference(given.arms)
    runs = in_order(list(run_all(given.problems, arms, *asked)), given.problems, arms)
    took_s = time.perf_counter() - began_s
    print(f"Machine: {describe_machine(*SEARCH_PACKAGES)}. {took_s:.0f} s.\n")
    outcomes = outcomes_of(runs)
    print(row(HEADS))
    print(row("---" for _ in HEADS))
    for outcome in outcomes:
        print(row(row_of(outcome)))
    print()
    for arm in arms:
        print(f"- `{arm}` ({ABOUT[arm]}): {verdict_of(arm, outcomes)}")
    if given.runs:
        given.runs.write_text(json.dumps([asdict(run) for run in runs]))


if __name__ == "__main__":
    main()
