"""Random numbers of which who has seen some cannot tell the next, the same on every machine."""

from __future__ import annotations

import math
import struct
from bisect import bisect
from collections.abc import Iterator, MutableSequence
from decimal import Context, Decimal
from hashlib import sha3_256, shake_256
from itertools import accumulate
from typing import Any

BATCH = 1_024
_UNPACK = struct.Struct(f"<{BATCH}Q")
_KEEP_BITS = 53
_EXACT = Context(prec=20)


class Draws:
    """Numbers from a secret seed, by SHAKE-256; `purpose` tells apart those of one seed.

    A policy sees much of what was drawn: from 624 numbers of a Mersenne Twister, as `random` is
    one, it could compute all that are to come. Nothing but integers, comparisons and + - * / of
    doubles is used, and no function of a mathematical library, whose last bit may differ.
    """

    def __init__(self, seed: bytes, purpose: str) -> None:
        self._key = sha3_256(len(seed).to_bytes(8, "big") + seed + purpose.encode()).digest()
        self._numbers = self._stream()

    def _stream(self) -> Iterator[float]:
        batch = 0
        while True:
            packed = shake_256(self._key + batch.to_bytes(8, "big")).digest(_UNPACK.size)
            for number in _UNPACK.unpack(packed):
                yield (number >> (64 - _KEEP_BITS)) * 2.0**-_KEEP_BITS
            batch += 1

    def uniform(self) -> float:
        """At least 0 and below 1."""
        return next(self._numbers)

    def below(self, count: int) -> int:
        """One of 0..count - 1."""
        return int(self.uniform() * count)

    def happens(self, probability: float) -> bool:
        return self.uniform() < probability

    def exponential(self) -> float:
        """At least 0, 1 on average, exponentially distributed. `decimal` rounds a logarithm
        correctly, and so alike everywhere."""
        return -float(_EXACT.ln(Decimal(1 - self.uniform())))

    def normal(self) -> float:
        """0 on average with a standard deviation of 1, and nearly normally distributed: the sum of
        twelve uniform numbers, less their mean."""
        return math.fsum(self.uniform() for _ in range(12)) - 6

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Put them into an order at random (R. Durstenfeld, Algorithm 235, CACM 7(7), 1964)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def heavy_tailed(self, count: int, low: float, high: float) -> list[float]:
        """So many of low..high, of a bounded Pareto distribution with exponent 1: of those that are
        larger than x about half are larger than 2x.

        One from each of `count` equally likely parts of the range, in an order at random
        (stratified sampling: M. D. McKay, R. J. Beckman, W. J. Conover, A Comparison of Three
        Methods for Selecting Values of Input Variables, Technometrics 21(2), 1979): otherwise a few
        of the largest would make one seed's workload quite unlike another's.
        """
        span = 1 - low / high
        values = [low / (1 - (part + self.uniform()) / count * span) for part in range(count)]
        self.shuffle(values)
        return values


class ByRank:
    """Chooses by rank, the first twice as often as the second, three times as often as the third.

    Zipf's law; for files: L. Breslau, P. Cao, L. Fan, G. Phillips, S. Shenker, Web Caching and
    Zipf-like Distributions, INFOCOM 1999.
    """

    def __init__(self, count: int, draws: Draws) -> None:
        self.draws = draws
        self.sums = list(accumulate(1 / rank for rank in range(1, count + 1)))

    def choose(self) -> int:
        """One of 0..count - 1."""
        return bisect(self.sums, self.draws.uniform() * self.sums[-1], hi=len(self.sums) - 1)
