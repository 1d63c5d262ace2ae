"""A playout delay from averages and from the last delays. Standard library only.

Two estimates of what a spurt needs are mixed. One is the mean of the delays and so many times their
mean variation, both as exponential averages: algorithm 1 of R. Ramjee, J. Kurose, D. Towsley,
H. Schulzrinne, Adaptive Playout Mechanisms for Packetized Audio Applications in Wide-Area Networks,
INFOCOM 1994, whose values are the defaults here. That the mean may rise faster than it falls is
their algorithm 2. The other is the delay that most of the last packets did not exceed: S. B. Moon,
J. Kurose, D. Towsley, Packet Audio Playout Delay Adjustment: Performance Bounds and Algorithms,
Multimedia Systems 6(1), 1998. So is it that a spurt which begins in a spike follows its first
packet, which by default it does.

Times are milliseconds; delays are those over an idle path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

SPECIALIZATION = "audio"

PARAMETERS: Mapping[str, float] = {
    "rise_packets": 500.0,
    "fall_packets": 500.0,
    "variations": 4.0,
    "window_packets": 200,
    "quantile": 0.98,
    "quantile_weight": 0.0,
    "above_weight": 1.0,
    "below_weight": 0.0,
}

FIRST_MEAN_MS, FIRST_VARIATION_MS = 20.0, 10.0
LONGEST_MS = 2_000.0


class Policy:
    """Decides how long after it was sent a packet of a talk spurt is played.

    rise_packets     how many packets the mean remembers, where a delay is above it ...
    fall_packets     ... and where it is not; the variation always remembers so many
    variations       how many times the variation is added to the mean
    window_packets   how many of the last delays are looked at
    quantile         the share of them that should have come in time
    quantile_weight  what they count in the mixture, 0..1; the averages count the rest
    above_weight     how far to follow a first packet that is later than the mixture: 1 is all of
                     the way ...
    below_weight     ... and one that is earlier

    It begins as if it had seen delays of FIRST_MEAN_MS that vary by FIRST_VARIATION_MS.
    """

    def __init__(self, parameters: Mapping[str, float] = PARAMETERS) -> None:
        self.rise = 1 / parameters["rise_packets"]
        self.fall = 1 / parameters["fall_packets"]
        self.variations = parameters["variations"]
        self.quantile = parameters["quantile"]
        self.quantile_weight = parameters["quantile_weight"]
        self.above_weight = parameters["above_weight"]
        self.below_weight = parameters["below_weight"]
        self.mean_ms = FIRST_MEAN_MS
        self.variation_ms = FIRST_VARIATION_MS
        self.last_ms: deque[float] = deque(maxlen=int(parameters["window_packets"]))

    def arrived(self, delay_ms: float) -> None:
        """A packet came, so long after it was sent; in time or not."""
        off_ms = delay_ms - self.mean_ms
        self.mean_ms += off_ms * (self.rise if off_ms > 0 else self.fall)
        self.variation_ms += (abs(delay_ms - self.mean_ms) - self.variation_ms) * self.fall
        self.last_ms.append(delay_ms)

    def delay_ms(self) -> float:
        """A spurt has begun, with the packet that came last: its playout delay."""
        usual_ms = self.mean_ms + self.variations * self.variation_ms
        if self.quantile_weight:
            ordered = sorted(self.last_ms)
            reached_ms = ordered[int(self.quantile * (len(ordered) - 1))]
            usual_ms += self.quantile_weight * (reached_ms - usual_ms)
        above_ms = self.last_ms[-1] - usual_ms
        weight = self.above_weight if above_ms > 0 else self.below_weight
        return min(max(0.0, usual_ms + weight * above_ms), LONGEST_MS)
