"""Learning curves of an experiment as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.experiment.arms import Run
from workers.experiment.intervals import interval_of
from workers.experiment.outcomes import REFERENCE

COLUMNS = 4
POINTS = 120
"""So many points a curve are drawn."""
SHOWN = (0.6, 1.15)
"""What is drawn of the scale, on which 1 is the last best of trainers that share nothing."""


def draw(runs: Sequence[Run], path: Path) -> None:
    """A panel for each specialization, a curve for each arm: the best so far, the mean over the
    seeds with its 95 % interval. 0 is what the defaults close of the gap on the training workload,
    1 what trainers that share nothing close in the end, seed by seed."""
    names = list(dict.fromkeys(run.specialization for run in runs))
    columns = min(len(names), COLUMNS)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * lines + 0.4), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for name, panel in zip(names, panels, strict=False):
        _draw_panel(panel, name, [run for run in runs if run.specialization == name])
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    drawn, labels = panels[0].get_legend_handles_labels()
    figure.legend(drawn, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=110)


def _draw_panel(panel: Axes, name: str, runs: Sequence[Run]) -> None:
    ends = {run.seed: (run.curve[0], run.curve[-1]) for run in runs if run.arm == REFERENCE}
    for arm in dict.fromkeys(run.arm for run in runs):
        scaled = [
            [(gap - first) / (last - first) for gap in run.curve]
            for run, (first, last) in ((one, ends[one.seed]) for one in runs if one.arm == arm)
            if last > first
        ]
        if scaled:
            _draw_curve(panel, arm, numpy.array(scaled))
    panel.set_ylim(*SHOWN)
    panel.set_title(name, fontsize=9)
    panel.set_xlabel("evaluations of all", fontsize=8)
    panel.set_ylabel("gain / last gain of isolated", fontsize=8)
    panel.tick_params(labelsize=7)


def _draw_curve(panel: Axes, arm: str, curves: NDArray[numpy.float64]) -> None:
    places = numpy.unique(numpy.linspace(0, curves.shape[1] - 1, POINTS).astype(int))
    means, lows, highs = zip(*(interval_of(curves[:, n].tolist()) for n in places), strict=True)
    (line,) = panel.plot(places + 1, means, label=arm, linewidth=1.2)
    panel.fill_between(places + 1, lows, highs, color=line.get_color(), alpha=0.12)
