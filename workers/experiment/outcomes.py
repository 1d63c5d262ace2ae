"""What the runs of one arm come to, against trainers that share nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.experiment.arms import Run
from workers.experiment.intervals import Interval, interval_of

REFERENCE = "isolated"
"""The arm that the others are compared with, seed by seed."""
HALF = 0.5


@dataclass(frozen=True)
class Outcome:
    """One arm for one specialization, over the seeds.

    `evaluations` are those until its best on the training workload equals the last best of the
    isolated arm by the same seed, as a share of all that the arm has; a seed that never gets there
    counts as 1, and `reached` says how many do. So where some do not, the true mean is larger.
    `trained` and `held_out` are gaps closed in the end, `gain` what `held_out` has over the
    isolated arm's.
    """

    specialization: str
    arm: str
    seeds: int
    reached: int
    evaluations: Interval
    trained: Interval
    held_out: Interval
    gain: Interval

    @property
    def takes_half(self) -> bool:
        """Whether it needs at most half the evaluations."""
        return self.evaluations.mean <= HALF

    @property
    def beats_baseline(self) -> bool:
        """Whether the whole interval on held-out workloads is above the baseline."""
        return self.held_out.low > 0


def outcomes_of(runs: Sequence[Run]) -> list[Outcome]:
    """An outcome for each specialization and arm, in the order in which they come up. For every
    seed of every arm there must be a run of REFERENCE."""
    references = {(run.specialization, run.seed): run for run in runs if run.arm == REFERENCE}
    pairs: dict[tuple[str, str], list[tuple[Run, Run]]] = {}
    for run in runs:
        pair = run, references[run.specialization, run.seed]
        pairs.setdefault((run.specialization, run.arm), []).append(pair)
    return [_outcome(pairs_of_arm) for pairs_of_arm in pairs.values()]


def _outcome(pairs: Sequence[tuple[Run, Run]]) -> Outcome:
    runs = [run for run, _ in pairs]
    shares = list(_shares(pairs))
    return Outcome(
        specialization=runs[0].specialization,
        arm=runs[0].arm,
        seeds=len(runs),
        reached=sum(share is not None for share in shares),
        evaluations=interval_of([1.0 if share is None else share for share in shares]),
        trained=interval_of([run.curve[-1] for run in runs]),
        held_out=interval_of([run.held_out for run in runs]),
        gain=interval_of([run.held_out - reference.held_out for run, reference in pairs]),
    )


def _shares(pairs: Sequence[tuple[Run, Run]]) -> Iterator[float | None]:
    """What share of its evaluations each run needs; None for one that does not get there."""
    for run, reference in pairs:
        goal = reference.curve[-1]
        places = (place for place, gap in enumerate(run.curve, start=1) if gap >= goal)
        place = next(places, None)
        yield None if place is None else place / len(run.curve)
