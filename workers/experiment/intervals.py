"""Means over seeds, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy

RESAMPLES = 10_000


class Interval(NamedTuple):
    """A mean, and the 95 % interval that it lies in."""

    mean: float
    low: float
    high: float


def interval_of(values: Sequence[float]) -> Interval:
    """The mean of at least one value, with the percentile interval of the bootstrap (B. Efron, R.
    J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13); the same for the same
    values. Of few values it is somewhat too narrow."""
    sample = numpy.asarray(values, dtype=float)
    draw = numpy.random.default_rng(len(sample))
    means = sample[draw.integers(len(sample), size=(RESAMPLES, len(sample)))].mean(axis=1)
    low, high = numpy.percentile(means, (2.5, 97.5))
    return Interval(float(sample.mean()), float(low), float(high))
