"""The playout delay: how long after it was sent a packet of voice is played.

A network delays packets unequally, and who listens wants them evenly. So all packets of a talk
spurt are played the same time after they were sent, their playout delay, and pauses are played a
little longer or shorter when it changes. What comes later than that is not played. All delays are
milliseconds over those of the idle path, about which nobody can do anything.

A workload is generated, none is recorded: SPURTS talk spurts on each of PATHS paths through one
kind of network, by the models of `jitter`. Those that are trained, developed and reported on are of
different seeds. The secret one has paths through all kinds.

A policy is told the delay of each packet when it comes, and asked for that of a spurt when it was
told of the first packet: only by that a receiver knows that a spurt begins. Packets keep their
order, so none that was sent before is still on its way then. That a spurt may begin before the last
one is over, if its delay is less by more than the pause, is neglected.

The cost is the mean latency, the playout delay of a packet's spurt, in ms, and LATE_PERCENT_MS for
each percent of the packets that come too late. Baseline is a fixed delay, BASELINE_MS, which is
three packets. The bound is the least cost with one delay a spurt, and exact: what each spurt costs
depends on its own delay alone, and `least_cost_ms` finds the best.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import fsum
from typing import Protocol

from workers.problems.audio import policy as audio_policy
from workers.problems.audio.jitter import MODELS, delays_ms, talk_spurts
from workers.problems.draws import Draws
from workers.problems.material import development, drawn_workloads, held_out, table_parameters
from workers.problems.policies import (
    Interface,
    Maker,
    bad_answer,
    is_finite_number,
)
from workers.problems.problem import About
from workers.problems.single import SingleProblem

LATE_PERCENT_MS = 20
"""A round number. In the E-model of ITU-T G.107, as R. G. Cole and J. H. Rosenbluth write it (Voice
over IP Performance Monitoring, ACM CCR 31(2), 2001), a percent of lost packets costs G.711 about 3
points, and beyond 177 ms a millisecond 0.134: a percent is worth 20 to 30 ms there, and more below.
"""
LATE_PACKET_MS = 100 * LATE_PERCENT_MS
"""The same for a packet, where costs are summed over packets."""
BASELINE_MS = 60
LONGEST_MS = 2_000
SPURTS = 40
PATHS = 8
GENERATED_PATHS = 3
NETWORKS = tuple(MODELS)
WORKLOADS = drawn_workloads(NETWORKS)
INTERFACE = Interface((), ("arrived",), {"delay_ms": float})
"""See `PlayoutPolicy`."""


class PlayoutPolicy(Protocol):
    """What decides how long after it was sent a packet is played. Times are milliseconds."""

    def arrived(self, delay_ms: float) -> None:
        """A packet came so long after it was sent, less the delay of the idle path."""

    def delay_ms(self) -> float:
        """A spurt has begun, with the packet that came last: its playout delay, 0..LONGEST_MS."""


Spurt = tuple[float, ...]
"""The delays of a talk spurt's packets in ms, in the order in which they were sent and came."""


@dataclass(frozen=True)
class Scenario:
    """What a path does to some talk spurts, with the costs that do not depend on the policy, ms."""

    name: str
    spurts: tuple[Spurt, ...]
    baseline: float
    bound: float


def spurt_cost_ms(spurt: Spurt, playout_ms: float) -> float:
    """The cost of a spurt that is played so long after it was sent: the sum over its packets."""
    late = sum(delay_ms > playout_ms for delay_ms in spurt)
    return len(spurt) * playout_ms + LATE_PACKET_MS * late


def least_cost_ms(spurt: Spurt) -> float:
    """The least that a spurt can cost, whatever its playout delay.

    From one packet's delay up to the next the same packets are late, and more delay only costs
    latency. So the least is at 0, or at the delay of some packet, which is then just in time.
    """
    ordered = sorted(spurt)
    costs_ms = (
        len(spurt) * delay_ms + LATE_PACKET_MS * (len(spurt) - place)
        for place, delay_ms in enumerate(ordered, 1)
    )
    return min(spurt_cost_ms(spurt, 0.0), *costs_ms)


class FixedDelay:
    """A playout delay that is always the same, whatever comes."""

    def __init__(self, playout_ms: float) -> None:
        self.playout_ms = playout_ms

    def arrived(self, delay_ms: float) -> None: ...

    def delay_ms(self) -> float:
        return self.playout_ms


def asked_ms(policy: PlayoutPolicy) -> float:
    """The playout delay that a policy answers; raises ProblemError if it is none."""
    answer = policy.delay_ms()
    if not is_finite_number(answer) or not 0 <= answer <= LONGEST_MS:
        raise bad_answer("delay_ms", answer, float, f"a playout delay, 0..{LONGEST_MS} ms")
    return answer


def playing_cost_ms(policy: PlayoutPolicy, spurts: Sequence[Spurt]) -> float:
    """The cost under a policy: the sum over all packets.

    Raises ProblemError if the policy answers what is no playout delay.
    """
    arrived = policy.arrived
    total_ms = 0.0
    for spurt in spurts:
        arrived(spurt[0])
        total_ms += spurt_cost_ms(spurt, asked_ms(policy))
        for delay_ms in spurt[1:]:
            arrived(delay_ms)
    return total_ms


def mean_cost_ms(policy: PlayoutPolicy, spurts: Sequence[Spurt]) -> float:
    """The same, the mean over all packets."""
    return playing_cost_ms(policy, spurts) / sum(map(len, spurts))


def generated_scenarios(seed: bytes) -> Iterator[Scenario]:
    """GENERATED_PATHS of each kind of network."""
    for network, path in product(NETWORKS, range(GENERATED_PATHS)):
        yield scenario(network, path, seed)


def scenario(network: str, path: int, seed: bytes) -> Scenario:
    """The scenario of one path of a kind of network."""
    draws = Draws(seed, f"playout/{network}/{path}")
    delays = delays_ms(MODELS[network](draws))
    spurts = []
    for packets, pause in islice(talk_spurts(draws), SPURTS):
        spurts.append(tuple(islice(delays, packets)))
        next(islice(delays, pause - 1, None))
    return Scenario(
        f"{network}/{path}",
        tuple(spurts),
        mean_cost_ms(FixedDelay(BASELINE_MS), spurts),
        fsum(map(least_cost_ms, spurts)) / sum(map(len, spurts)),
    )


class PlayoutDelay(SingleProblem):
    """The problem of the specialization `audio`; costs are milliseconds."""

    specialization = "audio"
    name = "playout_delay"
    cost_unit = "ms"
    about = About(
        decides="how long after it was sent a packet of voice is played",
        workload="talk spurts over four kinds of networks, by models",
        baseline="a fixed delay of 60 ms",
        bound="the best delay for each talk spurt, which knows the future; exact",
    )
    interface = INTERFACE
    policy = audio_policy
    parameters = table_parameters(
        audio_policy.PARAMETERS,
        rise_packets=(1.0, 5_000.0, "log"),
        fall_packets=(1.0, 5_000.0, "log"),
        variations=(0.0, 12.0),
        window_packets=(10, 500, "integer"),
        quantile=(0.5, 1.0),
        quantile_weight=(0.0, 1.0),
        above_weight=(0.0, 2.0),
        below_weight=(0.0, 1.0),
    )
    training_workloads = NETWORKS
    development_workloads = development(NETWORKS)
    held_out_workloads = held_out(NETWORKS)

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        network = WORKLOADS[workload]
        return tuple(scenario(network, path, workload.encode()) for path in range(PATHS))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of all models of `jitter`."""
        return tuple(generated_scenarios(seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> float:
        """The cost under any policy, in milliseconds."""
        return mean_cost_ms(make_policy(), scenario.spurts)
