"""Flows and a call on one link: a congestion policy for the flows, a playout policy for the call.

What the flows leave in the queue is what the packets of voice wait for: it is the jitter that the
playout policy sees, and what finds the buffer full is lost. So a window that fills the link costs
whoever listens, and one that keeps the queue empty costs the flows. How much queue is worth it
depends on how well the playout follows it.

The cost is the sum of two times. One is that of voice as in `audio`: its mean latency in ms over
the idle path, and LATE_PERCENT_MS for each percent of its packets that come too late or are lost.
The other is how long a flow takes for TRANSFER_PACKETS on average, the mean over the flows, and
LONGEST_TRANSFER_MS at most for each. Baseline is Reno's AIMD(1, 1/2) for every flow and a playout
delay of 60 ms. Both parts are reported beside the cost.

The bound is loose: no queue at all, so that voice costs nothing, and a link that is never idle and
carries no voice, shared so that the mean time is least. Flows that are acknowledged V packets in
the time T have no more together than the link can carry, C, and the mean of the times T / V is
least where all are equal (arithmetic and harmonic mean): flows * T / C a packet. If one takes
LONGEST_TRANSFER_MS or more, the mean is LONGEST_TRANSFER_MS / flows at least, so the bound is the
smaller of the two.

A workload is generated, none is recorded: links of a model of `links`, with each of BUFFERS, and
talk spurts as in `jitter`. Those that are trained, developed and reported on are of different
seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from types import MappingProxyType

from workers.problems.audio.jitter import PACKET_MS, talk_spurts
from workers.problems.audio.problem import (
    BASELINE_MS,
    LATE_PACKET_MS,
    FixedDelay,
    PlayoutDelay,
    PlayoutPolicy,
    playing_cost_ms,
)
from workers.problems.draws import Draws
from workers.problems.material import development, drawn_workloads, held_out
from workers.problems.networking.bottleneck import Bottleneck, Link, Sender, run
from workers.problems.networking.flows import Flow, Path, Reno
from workers.problems.networking.links import MODELS, MOST_LOSS, capacity
from workers.problems.networking.problem import CongestionControl, path
from workers.problems.pair import PairProblem
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.single import SingleProblem

VOICE_PACKETS = 200 / 1_500
"""A packet of voice in packets of the link: 160 bytes, which 64 kbit/s make in PACKET_MS, and 40 of
IP, UDP and RTP."""
TRANSFER_PACKETS = 100
LONGEST_TRANSFER_MS = 10_000.0
FLOWS = 2
BUFFERS = (0.5, 2.0)
"""What the buffer holds: parts of capacity * round trip time, on average."""
INSTANCES = 4
CALL_MS = 30_000.0
NETWORKS = tuple(MODELS)
WORKLOADS = drawn_workloads(NETWORKS)
CONGESTION, PLAYOUT = "congestion.", "playout."


@dataclass(frozen=True)
class Outcome:
    """What a replay showed, in ms: the cost of voice, and how long a transfer takes."""

    voice_ms: float
    transfer_ms: float

    @property
    def cost(self) -> float:
        return self.voice_ms + self.transfer_ms


@dataclass(frozen=True)
class Scenario:
    """A link, the paths of the flows that use it, and the talk spurts of the call: the packets of
    each, and those that the pause after it leaves out. `bound` is a cost in ms."""

    name: str
    link: Link
    paths: tuple[Path, ...]
    speech: tuple[tuple[int, int], ...]
    baseline: Outcome
    bound: float


class Voice(Sender):
    """Sends the packets of talk spurts, each evenly over PACKET_MS.

    Of them as many are lost as of all that is sent at the time: one whenever the shares of what
    is dropped, added up over its packets, have come to 1. `spurts` has the delays of the others in
    ms, by spurt, and `lost_packets` counts them.
    """

    def __init__(self, speech: Sequence[tuple[int, int]]) -> None:
        self.speech = iter(speech)
        self.left = self.pause = 0
        self.delay_ms = 0.0
        self.dropping_ms = 0.0
        self.dropped = 0.0
        self.spurts: list[list[float]] = []
        self.lost_packets = 0

    def wake(self, bottleneck: Bottleneck) -> float:
        """A packet has been sent, or a pause is over."""
        if self.packets_per_ms:
            self._sent(bottleneck.dropping_ms)
            if not self.left:
                self.packets_per_ms = 0.0
                return bottleneck.now_ms + self.pause * PACKET_MS
        if not self.left:
            self.left, self.pause = next(self.speech)
            self.spurts.append([])
        self.left -= 1
        self.packets_per_ms = VOICE_PACKETS / PACKET_MS
        self.delay_ms, self.dropping_ms = bottleneck.delay_ms(), bottleneck.dropping_ms
        return bottleneck.now_ms + PACKET_MS

    def _sent(self, dropping_ms: float) -> None:
        """A whole packet has gone into the queue, or was dropped."""
        self.dropped += (dropping_ms - self.dropping_ms) / PACKET_MS
        if self.dropped < 1:
            self.spurts[-1].append(self.delay_ms)
        else:
            self.dropped -= 1
            self.lost_packets += 1


def replay(
    link: Link,
    paths: Sequence[Path],
    speech: Sequence[tuple[int, int]],
    make_playout_policy: Maker,
    make_congestion_policy: Maker,
) -> Outcome:
    """What a call of CALL_MS and flows show under any two policies.

    The playout policy is told and asked afterwards: the link knows nothing of what it does.
    """
    flows = [Flow(make_congestion_policy(), path) for path in paths]
    voice = Voice(speech)
    starts_ms = [path.start_ms for path in paths]
    run(Bottleneck(link), [*flows, voice], [*starts_ms, 0.0], CALL_MS)
    times_ms = [transfer_ms(flow.delivered_packets) for flow in flows]
    return Outcome(voice_ms(make_playout_policy(), voice), fmean(times_ms))


def transfer_ms(delivered_packets: float) -> float:
    """How long a flow that delivers so many in CALL_MS takes for TRANSFER_PACKETS."""
    slowest = CALL_MS * TRANSFER_PACKETS / LONGEST_TRANSFER_MS
    return CALL_MS * TRANSFER_PACKETS / max(slowest, delivered_packets)


def voice_ms(policy: PlayoutPolicy, voice: Voice) -> float:
    """The cost of voice, the mean over the packets that were sent. Raises ProblemError for a policy
    that breaks the rules."""
    spurts = [tuple(spurt) for spurt in voice.spurts if spurt]
    sent = sum(map(len, spurts)) + voice.lost_packets
    return (playing_cost_ms(policy, spurts) + LATE_PACKET_MS * voice.lost_packets) / sent


def bound_ms(link: Link, flows: int) -> float:
    """A cost that no two policies can go below; see the module's docstring."""
    equal_ms = TRANSFER_PACKETS * flows * CALL_MS / link.carries_packets(CALL_MS)
    return min(equal_ms, LONGEST_TRANSFER_MS / flows)


def scenarios(models: Iterable[str], instances: int, seed: bytes) -> Iterator[Scenario]:
    """Each model with each buffer so many times, with draws of its own."""
    for model, buffer, instance in product(models, BUFFERS, range(instances)):
        name = f"{model}/buffer {buffer}/{instance}"
        yield scenario(name, model, buffer, Draws(seed, f"call/{name}"))


def scenario(name: str, model: str, buffer: float, draws: Draws) -> Scenario:
    """The scenario of a call and flows on a link of a model."""
    begins_ms, rates = capacity(model, CALL_MS, draws)
    paths = tuple(path(0.0, MOST_LOSS[model], draws) for _ in range(FLOWS))
    mean_rtt_ms = fmean(one.base_rtt_ms for one in paths)
    mean_rate = Link(begins_ms, rates, 0.0).carries_packets(CALL_MS) / CALL_MS
    link = Link(begins_ms, rates, buffer * mean_rate * mean_rtt_ms)
    speech = tuple(talk(draws))
    baseline = replay(link, paths, speech, lambda: FixedDelay(BASELINE_MS), Reno)
    bound = bound_ms(link, FLOWS)
    return Scenario(name, link, paths, speech, baseline, bound)


def talk(draws: Draws) -> Iterator[tuple[int, int]]:
    """Talk spurts and pauses, until they last for more than CALL_MS."""
    left = CALL_MS / PACKET_MS
    for packets, pause in talk_spurts(draws):
        yield packets, pause
        left -= packets + pause
        if left < 0:
            return


class CongestionAndPlayout(PairProblem):
    """The joint problem of `audio` and `networking`; costs are milliseconds.

    `Score.beside` has `voice_ms` and `transfer_ms`, and the same with `baseline_` before it.
    """

    name = "congestion_and_playout"
    cost_unit = "ms"
    about = About(
        decides="how many packets flows have under way, and how late a call is played meanwhile",
        workload="two flows and a call on generated links",
        baseline="Reno with a playout delay of 60 ms",
        bound="no queue, and a link that is never idle; loose",
    )
    parts: Mapping[str, SingleProblem] = MappingProxyType(
        {PLAYOUT: PlayoutDelay(), CONGESTION: CongestionControl()}
    )
    training_workloads = NETWORKS
    development_workloads = development(NETWORKS)
    held_out_workloads = held_out(NETWORKS)
    beside = ("voice_ms", "transfer_ms")

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        model = WORKLOADS[workload]
        return tuple(scenarios([model], INSTANCES, workload.encode()))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of all models of `links`, with each buffer."""
        return tuple(scenarios(NETWORKS, 1, seed))

    def replay(
        self, scenario: Scenario, make_playout_policy: Maker, make_congestion_policy: Maker
    ) -> Outcome:
        """What a replay under any two policies shows."""
        return replay(
            scenario.link,
            scenario.paths,
            scenario.speech,
            make_playout_policy,
            make_congestion_policy,
        )
