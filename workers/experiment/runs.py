"""All runs of an experiment, on several processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context

from workers.experiment.arms import Run, run_arm


def run_all(
    specializations: Sequence[str],
    arms: Sequence[str],
    seeds: Sequence[int],
    trainers: int,
    evaluations: int,
    processes: int,
) -> Iterator[Run]:
    """Every arm by every seed for every specialization, each as it ends."""
    context = get_context("spawn")  # who asks may have threads, which no fork survives
    pool = ProcessPoolExecutor(processes, context, _leave_interrupts)
    try:
        futures = [
            pool.submit(run_arm, specialization, arm, seed, trainers, evaluations)
            for specialization, seed, arm in product(specializations, seeds, arms)
        ]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C is the affair of who asked for the runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
