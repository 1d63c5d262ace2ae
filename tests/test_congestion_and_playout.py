"""The joint problem of congestion and playout: its call by hand, its bound, what it is worth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.problems import ProblemError, find_joint_problem
from workers.problems.audio.jitter import PACKET_MS
from workers.problems.audio.problem import BASELINE_MS, LATE_PACKET_MS, FixedDelay, PlayoutDelay
from workers.problems.networking.bottleneck import Bottleneck, Link, Sender, run
from workers.problems.networking.flows import Path as FlowPath
from workers.problems.networking.flows import Reno
from workers.problems.networking.problem import CongestionControl
from workers.problems.pairs.congestion_and_playout import (
    BUFFERS,
    CALL_MS,
    CONGESTION,
    INSTANCES,
    LONGEST_TRANSFER_MS,
    PLAYOUT,
    TRANSFER_PACKETS,
    VOICE_PACKETS,
    WORKLOADS,
    CongestionAndPlayout,
    Outcome,
    Voice,
    bound_ms,
    replay,
    transfer_ms,
    voice_ms,
)
from workers.problems.policies import WrongAnswer
from workers.problems.problem import JointProblem, defaults
from workers.search import search

WIDE = Link((0.0,), (1.0,), 1_000.0)
RTT_MS = 50.0
PATHS = (FlowPath(0.0, RTT_MS, ()),) * 2
TALK = ((50, 75),) * 13
BASELINE = {"audio": lambda: FixedDelay(BASELINE_MS), "networking": Reno}


@pytest.fixture(scope="module")
def problem() -> CongestionAndPlayout:
    return CongestionAndPlayout()


class Flood(Sender):
    """Sends at the same rate for ever."""

    def __init__(self, packets_per_ms: float) -> None:
        self.packets_per_ms = packets_per_ms

    def wake(self, bottleneck: Bottleneck) -> float:
        return 1e9


class Windows:
    """The same windows again and again, whatever comes."""

    def __init__(self, packets: Sequence[float]) -> None:
        self.packets = packets
        self.asked = 0

    def round_trip(self, acked_packets: float, lost_packets: float, rtt_ms: float) -> None: ...

    def window(self) -> float:
        self.asked += 1
        return self.packets[self.asked % len(self.packets)]


def called(link: Link, flood_per_ms: float, *speech: tuple[int, int]) -> Voice:
    """What a call of a second meets on a link that something else floods."""
    voice = Voice([*speech, (1, 10_000)])
    run(Bottleneck(link), [Flood(flood_per_ms), voice], [0.0, 0.0], 1_000.0)
    return voice


def shown(window_packets: float) -> Outcome:
    """What constant windows and a delay of 60 ms show."""
    return replay(WIDE, PATHS, TALK, lambda: FixedDelay(60.0), lambda: Windows([window_packets]))


def test_a_packet_goes_every_20_ms_and_then_comes_a_pause() -> None:
    bottleneck, voice = Bottleneck(WIDE), Voice([(2, 3), (1, 1)])
    times_ms, rates = [], []
    for _ in range(5):
        times_ms.append(bottleneck.now_ms)
        next_ms = voice.wake(bottleneck)
        rates.append(voice.packets_per_ms)
        bottleneck.advance(next_ms)
    assert times_ms == [0.0, 20.0, 40.0, 100.0, 120.0]
    talks = VOICE_PACKETS / PACKET_MS
    assert rates == [talks, talks, 0.0, talks, 0.0]
    assert voice.spurts == [[0.0, 0.0], [0.0]]


def test_voice_waits_for_what_is_in_the_queue() -> None:
    voice = called(WIDE, 1.5, (4, 1))
    growth = 0.5 + VOICE_PACKETS / PACKET_MS
    expected = [PACKET_MS * packet * growth for packet in range(4)]
    assert voice.spurts[0] == pytest.approx(expected)
    # The pause is a packet long, and what comes in it still makes the queue longer.
    assert voice.spurts[1] == pytest.approx([4 * PACKET_MS * growth + PACKET_MS * 0.5])
    assert voice.lost_packets == 0


def test_as_much_voice_is_lost_as_of_all_else() -> None:
    voice = called(Link((0.0,), (1.0,), 0.0), 2.0, (40, 1))
    # Somewhat more than half of what comes finds no room, and there is no queue to wait in.
    assert voice.spurts[0] == [0.0] * 20
    assert voice.lost_packets == 20
    assert voice_ms(FixedDelay(0.0), voice) == pytest.approx(LATE_PACKET_MS * 20 / 41)


def test_a_spurt_that_is_lost_is_asked_for_by_nobody() -> None:
    voice = Voice([])
    voice.spurts, voice.lost_packets = [[], [5.0], []], 3
    assert voice_ms(FixedDelay(10.0), voice) == (10 + 3 * LATE_PACKET_MS) / 4


def test_a_transfer_takes_so_long_and_no_longer() -> None:
    assert transfer_ms(1_000.0) == CALL_MS * TRANSFER_PACKETS / 1_000
    assert transfer_ms(0.0) == transfer_ms(1.0) == LONGEST_TRANSFER_MS


def test_the_bound_is_a_link_that_is_shared_equally_and_never_idle() -> None:
    assert bound_ms(WIDE, 2) == 2 * TRANSFER_PACKETS
    assert bound_ms(Link((0.0, CALL_MS / 2), (1.0, 3.0), 9.0), 2) == TRANSFER_PACKETS
    assert bound_ms(Link((0.0,), (0.001,), 9.0), 2) == LONGEST_TRANSFER_MS / 2


def test_windows_that_just_fill_the_link_come_close_to_the_bound() -> None:
    silent = ((1, 10_000),)
    playout, congestion = lambda: FixedDelay(0.0), lambda: Windows([RTT_MS / 2])
    outcome = replay(WIDE, PATHS, silent, playout, congestion)
    assert outcome.voice_ms == 0
    assert bound_ms(WIDE, 2) < outcome.transfer_ms < 1.01 * bound_ms(WIDE, 2)


def test_what_is_good_for_the_flows_is_bad_for_the_call() -> None:
    empty, full, fuller = (shown(packets) for packets in (20.0, 50.0, 80.0))
    assert (empty.voice_ms, full.voice_ms) == (60.0, 60.0)
    assert empty.transfer_ms > full.transfer_ms
    # Behind 60 packets too many all voice comes too late.
    assert fuller.voice_ms > 10 * full.voice_ms
    assert fuller.transfer_ms == pytest.approx(full.transfer_ms, rel=0.01)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(1, 300), min_size=1, max_size=8),
    st.floats(0, 200),
    st.sampled_from([*chain(*map(CongestionAndPlayout().recorded, ("wired", "cellular")))]),
)
def test_nothing_is_better_than_the_bound(
    windows: list[float], playout_ms: float, scenario: Any
) -> None:
    makers = {"audio": lambda: FixedDelay(playout_ms), "networking": lambda: Windows(windows)}
    outcome = CongestionAndPlayout().measure(makers, scenario)
    assert outcome.cost >= scenario.bound


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_gap_that_nobody_overtakes(
    workload: str, problem: CongestionAndPlayout
) -> None:
    scenarios = problem.recorded(workload)
    score = problem.evaluate(defaults(problem.parameters), workload)
    assert len(scenarios) == len(BUFFERS) * INSTANCES
    for scenario in scenarios:
        assert sum(map(sum, scenario.speech)) * PACKET_MS > CALL_MS
        assert scenario.baseline.cost > 1.1 * scenario.bound
        assert score.scenarios[scenario.name].achieved > scenario.bound


def test_the_problem_is_found() -> None:
    found = find_joint_problem("networking", "audio")
    assert isinstance(found, JointProblem)
    assert (found.name, found.cost_unit) == ("congestion_and_playout", "ms")


def test_evaluation_is_deterministic(problem: CongestionAndPlayout) -> None:
    values = defaults(problem.parameters)
    assert problem.evaluate(values, "wireless") == problem.evaluate(values, "wireless")


def test_the_baseline_closes_nothing_and_both_its_parts_are_shown(
    problem: CongestionAndPlayout,
) -> None:
    score = problem.evaluate_policies(BASELINE, problem.recorded("wired"))
    assert score.gap_closed == 0.0
    assert score.beside["voice_ms"] == score.beside["baseline_voice_ms"]
    assert score.beside["transfer_ms"] == score.beside["baseline_transfer_ms"]
    assert sum(score.beside.values()) == pytest.approx(2 * score.baseline)


def test_values_of_the_two_problems_are_joined(problem: CongestionAndPlayout) -> None:
    parts = {
        one.specialization: defaults(one.parameters)
        for one in (CongestionControl(), PlayoutDelay())
    }
    assert problem.specializations == ("audio", "networking")
    assert problem.joined(parts) == defaults(problem.parameters)


def test_bad_values_are_refused(problem: CongestionAndPlayout) -> None:
    values = defaults(problem.parameters)
    with pytest.raises(ProblemError, match=re.escape("playout.quantile: 1.5 is not within")):
        problem.evaluate(values | {f"{PLAYOUT}quantile": 1.5}, "wired")
    with pytest.raises(ProblemError, match="unknown workload"):
        problem.evaluate(values, "calm")


@pytest.mark.parametrize("answer", [True, None, "9", [9.0], float("nan"), -1, 10**400])
@pytest.mark.parametrize("specialization", BASELINE)
def test_policies_that_break_the_rules_are_refused(
    problem: CongestionAndPlayout, specialization: str, answer: Any
) -> None:
    breaks = {"audio": FixedDelay(answer), "networking": Windows([answer])}
    makers = BASELINE | {specialization: lambda: breaks[specialization]}
    with pytest.raises(WrongAnswer):
        problem.measure(makers, problem.recorded("wired")[0])


def test_the_best_together_is_not_the_best_of_each(problem: CongestionAndPlayout) -> None:
    alone = {
        one.specialization: search(one, one.training_workloads[0], 20, seed=0).values
        for one in (PlayoutDelay(), CongestionControl())
    }
    joined = problem.joined(alone)
    together = search(problem, "wired", 20, seed=0, start=joined)
    assert together.score.gap_closed > problem.evaluate(joined, "wired").gap_closed + 0.05
    for prefix in (PLAYOUT, CONGESTION):
        names = [name for name in joined if name.startswith(prefix)]
        assert any(together.values[name] != joined[name] for name in names)
