"""How long a network keeps packets of voice, by models instead of recordings.

A packet is sent every PACKET_MS. Between two of them other traffic comes to the slowest link of the
path, so much that the link works on it for a while, and a packet waits until the link has done what
came before it: J.-C. Bolot, End-to-End Packet Delay and Loss Behavior in the Internet, SIGCOMM
1993, whose recurrence is that of D. V. Lindley, The Theory of Queues with a Single Server,
Mathematical Proceedings of the Cambridge Philosophical Society 48(2), 1952. It makes the spikes
that were measured: a delay that jumps, and then declines by up to PACKET_MS a packet.

The models differ in the work that comes. Each goes on for ever; what no source gives is a round
number, and none was chosen by how any policy scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType

from workers.problems.draws import Draws

PACKET_MS = 20
SPURT_MS, PAUSE_MS = 1_004, 1_587
BUFFER_MS = 500
BATCH_SHARE = 0.5
CALM_LOADS = (0.1, 0.4)
BACKGROUND_LOADS = (0.05, 0.2)
SHORTEST_BURST_MS, LONGEST_BURST_MS, BURSTS = 50, 500, 16
BURST_EVERY_MS = (2_000, 8_000)
QUIET_LOADS, BUSY_LOADS, CHANGE_MS = (0.1, 0.4), (0.7, 1.0), 8_000
RETRY_MS, MOST_RETRIES = 5, 7
GOOD_FAILS, BAD_FAILS = (0.02, 0.2), (0.4, 0.85)
GOOD_MS, BAD_MS = 1_000, 500
DECIMALS = 3


def between(low: float, high: float, draws: Draws) -> float:
    """Any number of low..high."""
    return low + (high - low) * draws.uniform()


def talk_spurts(draws: Draws) -> Iterator[tuple[int, int]]:
    """The packets of a talk spurt and those that the pause after it leaves out, at least 1 each, on
    and on.

    Both last exponentially long (P. T. Brady, A Statistical Analysis of On-Off Patterns in 16
    Conversations, Bell System Technical Journal 47(1), 1968), with the means of ITU-T P.59 (1993).
    """
    while True:
        spurt_ms, pause_ms = SPURT_MS * draws.exponential(), PAUSE_MS * draws.exponential()
        yield 1 + int(spurt_ms / PACKET_MS), 1 + int(pause_ms / PACKET_MS)


def batch_ms(load: float, draws: Draws) -> float:
    """The work that other traffic brings within PACKET_MS when it asks for this share of the link:
    none, or in BATCH_SHARE of cases any up to twice the mean of those."""
    is_some = draws.happens(BATCH_SHARE)
    return 2 * load * PACKET_MS / BATCH_SHARE * draws.uniform() if is_some else 0.0


def calm(draws: Draws) -> Iterator[float]:
    """Other traffic of a load that stays the same."""
    load = between(*CALM_LOADS, draws)
    while True:
        yield batch_ms(load, draws)


def spikes(draws: Draws) -> Iterator[float]:
    """Little, and now and then all of a file at once.

    Sizes have a heavy tail: M. E. Crovella, A. Bestavros, Self-Similarity in World Wide Web
    Traffic, SIGMETRICS 1996.
    """
    load = between(*BACKGROUND_LOADS, draws)
    often = PACKET_MS / between(*BURST_EVERY_MS, draws)
    sizes_ms: list[float] = []
    while True:
        work_ms = batch_ms(load, draws)
        if draws.happens(often):
            sizes_ms = sizes_ms or draws.heavy_tailed(BURSTS, SHORTEST_BURST_MS, LONGEST_BURST_MS)
            work_ms += sizes_ms.pop()
        yield work_ms


def congested(draws: Draws) -> Iterator[float]:
    """A load that changes between two at random: H. Heffes, D. M. Lucantoni, A Markov Modulated
    Characterization of Packetized Voice and Data Traffic and Related Statistical Multiplexer
    Performance, IEEE JSAC 4(6), 1986."""
    load, other = between(*QUIET_LOADS, draws), between(*BUSY_LOADS, draws)
    while True:
        if draws.happens(PACKET_MS / CHANGE_MS):
            load, other = other, load
        yield batch_ms(load, draws)


def wireless(draws: Draws) -> Iterator[float]:
    """A radio link that repeats what did not get across, RETRY_MS each time.

    It is good or bad for a while: E. N. Gilbert, Capacity of a Burst-Noise Channel, Bell System
    Technical Journal 39(5), 1960; E. O. Elliott, Estimates of Error Rates for Codes on Burst-Noise
    Channels, Bell System Technical Journal 42(5), 1963.
    """
    fails = between(*GOOD_FAILS, draws), between(*BAD_FAILS, draws)
    changes = PACKET_MS / GOOD_MS, PACKET_MS / BAD_MS
    state = 0
    while True:
        if draws.happens(changes[state]):
            state = 1 - state
        retries = 0
        while retries < MOST_RETRIES and draws.happens(fails[state]):
            retries += 1
        yield float(retries * RETRY_MS)


def delays_ms(work_ms: Iterator[float]) -> Iterator[float]:
    """The delay of each packet over that of an idle path, of the work that comes before each.

    What does not fit into the buffer of BUFFER_MS is dropped.
    """
    wait_ms = 0.0
    for work in work_ms:
        wait_ms = min(max(0.0, wait_ms - PACKET_MS) + work, BUFFER_MS)
        yield round(wait_ms, DECIMALS)


MODELS: MappingProxyType[str, Callable[[Draws], Iterator[float]]] = MappingProxyType(
    {"calm": calm, "spikes": spikes, "congested": congested, "wireless": wireless}
)
"""Milliseconds of work that come before each packet."""
