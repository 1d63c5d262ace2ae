"""Congestion control: how many packets each flow may have under way.

Flows share a link whose capacity and buffer they do not know. Each has a policy of its own, which
learns of the others only by how long its packets take and which are lost. The cost of a scenario is
1 - the geometric mean of the flows' power, 0..1: throughput / delay, each in units of what the flow
would have with its fair share of the link and without a queue. The geometric mean makes one flow
count as much as another, and a flow that gets nothing cost all. (1 / power would have no limit, and
one bad scenario would outweigh all others.) Baseline is Reno's AIMD(1, 1/2) for every flow.

The bound is 0. Of the packets of flow i and all that begin after it no more are acknowledged than
the link can carry from the start of i on. Under that the fair shares F of `fair_shares` have the
largest product, so that packets V satisfy sum(V / F) <= number of flows: it is the condition of the
first order for their maximum, and what is allowed is convex. So the geometric mean of V / F is 1 at
most, as the arithmetic mean is. No round trip is shorter than without a queue, so power is no more
than V / F. It is loose: nobody can know a share before asking for it, and what a link could have
carried while the queue was empty is lost.

A workload is generated, none is recorded: links of the models in `links`, on which 2 or 4 flows
begin at different times and have different round trip times, fluid in a queue as `bottleneck` says.
Those to train on have INSTANCES scenarios of each shape; those to choose and to report on are of
other seeds. The policies of all flows of a scenario run in one process, kept from all else: they
could talk to each other through it. It would help them to share, and the bound holds all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from workers.problems.draws import Draws
from workers.problems.material import development, drawn_workloads, held_out, table_parameters
from workers.problems.networking import policy as networking_policy
from workers.problems.networking.bottleneck import Bottleneck, Link, run
from workers.problems.networking.flows import (
    INTERFACE,
    Flow,
    Path,
    Reno,
    fair_shares,
    geometric_mean,
    power,
)
from workers.problems.networking.links import MODELS, MOST_LOSS, capacity
from workers.problems.policies import Maker
from workers.problems.problem import About
from workers.problems.single import SingleProblem

FLOWS_MS = 48_000.0
LEAST_RTT_MS, MOST_RTT_MS = 30.0, 120.0
LATEST_START = 1 / 3
LOSS_GAPS = 500
INSTANCES = 2
SHAPES = ((2, 0.5), (2, 2.0), (4, 1.0))
"""How many flows, and what the buffer holds: parts of capacity * round trip time, on average."""
WORKLOADS = drawn_workloads(MODELS)


@dataclass(frozen=True)
class Scenario:
    """Flows on a link, in the order of their starts; costs as in the module's docstring."""

    name: str
    link: Link
    paths: tuple[Path, ...]
    until_ms: float
    baseline: float
    bound: float = 0.0


def lost_power(make_policy: Maker, link: Link, paths: tuple[Path, ...], until_ms: float) -> float:
    """1 - the geometric mean of the power of flows, each under a new policy. Raises ProblemError
    for a policy whose window is no number of packets."""
    flows = [Flow(make_policy(), path) for path in paths]
    starts_ms = [path.start_ms for path in paths]
    run(Bottleneck(link), flows, starts_ms, until_ms)
    shares = fair_shares(link, starts_ms, until_ms)
    return 1 - geometric_mean([power(*one) for one in zip(flows, shares, strict=True)])


def scenario(name: str, model: str, flows: int, buffer: float, draws: Draws) -> Scenario:
    """Flows on a link of a model, with a buffer as in SHAPES."""
    until_ms = FLOWS_MS / flows
    begins_ms, rates = capacity(model, until_ms, draws)
    unlimited = Link(begins_ms, rates, 0.0)
    starts_ms = sorted(draws.uniform() * LATEST_START * until_ms for _ in range(flows - 1))
    paths = tuple(path(start_ms, MOST_LOSS[model], draws) for start_ms in (0.0, *starts_ms))
    mean_rtt_ms = fmean(one.base_rtt_ms for one in paths)
    mean_rate = unlimited.carries_packets(until_ms) / until_ms
    link = Link(begins_ms, rates, buffer * mean_rate * mean_rtt_ms)
    baseline = lost_power(Reno, link, paths, until_ms)
    return Scenario(name, link, paths, until_ms, baseline)


def path(start_ms: float, most_loss: float, draws: Draws) -> Path:
    """A path that loses up to `most_loss` of its packets, each with equal probability."""
    base_rtt_ms = LEAST_RTT_MS + draws.uniform() * (MOST_RTT_MS - LEAST_RTT_MS)
    loss = draws.uniform() * most_loss
    gaps = tuple(draws.exponential() / loss for _ in range(LOSS_GAPS)) if loss else ()
    return Path(start_ms, base_rtt_ms, gaps)


def scenarios(models: Iterable[str], instances: int, seed: bytes) -> Iterator[Scenario]:
    """Each model in each shape so many times, with draws of its own."""
    for model, (flows, buffer), instance in product(models, SHAPES, range(instances)):
        name = f"{model}/{flows} flows/buffer {buffer}/{instance}"
        yield scenario(name, model, flows, buffer, Draws(seed, name))


class CongestionControl(SingleProblem):
    """The problem of the specialization `networking`; costs are lost power, 0..1."""

    specialization = "networking"
    name = "congestion_control"
    cost_unit = "lost power"
    about = About(
        decides="how many packets each flow may have under way",
        workload="2 or 4 flows on generated links: fluid in a queue, by Misra, Gong and Towsley",
        baseline="Reno: AIMD(1, 1/2)",
        bound="each flow its fair share, and no queue; loose",
    )
    interface = INTERFACE
    policy = networking_policy
    parameters = table_parameters(
        networking_policy.PARAMETERS,
        queued_packets=(0.2, 20.0, "log"),
        gain=(0.05, 1.5, "log"),
        startup_growth=(1.1, 4.0, "log"),
        free_queue=(0.02, 2.0, "log"),
        base_memory_ms=(500.0, 20_000.0, "log"),
        loss_tolerance=(0.001, 0.5, "log"),
        acceleration=(1.0, 2.0),
        trend=(-0.5, 2.0),
    )
    training_workloads = tuple(MODELS)
    development_workloads = development(tuple(MODELS))
    held_out_workloads = held_out(tuple(MODELS))

    def load(self, workload: str) -> tuple[Scenario, ...]:
        """The scenarios of one of the workloads that are named above."""
        model = WORKLOADS[workload]
        return tuple(scenarios([model], INSTANCES, workload.encode()))

    def generated(self, seed: bytes) -> tuple[Scenario, ...]:
        """Scenarios of all models of `links`."""
        return tuple(scenarios(MODELS, 1, seed))

    def replay(self, scenario: Scenario, make_policy: Maker) -> float:
        """The lost power of any policy, 0..1."""
        return lost_power(make_policy, scenario.link, scenario.paths, scenario.until_ms)
