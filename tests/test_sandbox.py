"""A component in the sandbox: what can be asked of it, and what comes with it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import NoReturn

import pytest

from tests.sandboxes import RUNG_NAMES, failure, rung_named
from workers.sandbox import Interrupted, Limits, Rung, Sandbox, channel, landlock
from workers.sandbox.interpreter import View, visible_parts

LIMITS = Limits(wall_s=10.0, cpu_s=5.0)
COUNTER = """
SPECIALIZATION = "counting"

class Policy:
    def __init__(self, start, step):
        self.value = start
        self.step = step

    def count(self, times):
        self.value += self.step * times

    def value_now(self):
        return self.value

    def echo(self, value):
        return value

    def refuse(self):
        raise ValueError("no\\n\\x1b[31mway\\u202e" + "y" * 1000)

    def _hidden(self):
        pass

class Other:
    pass

def test_counts():
    policy = Policy(1, 2)
    policy.count(3)
    assert policy.value == 7

def test_fails():
    assert Policy(1, 2).value == 3, "it is 1"

test_data = [1, 2]
"""


@pytest.fixture(params=RUNG_NAMES)
def rung(request: pytest.FixtureRequest) -> Rung:
    return rung_named(request.param)


@pytest.fixture
def counter(rung: Rung) -> Iterator[Sandbox]:
    with Sandbox(rung, LIMITS, COUNTER) as box:
        box.load()
        yield box


def test_it_says_what_it_is(rung: Rung) -> None:
    with Sandbox(rung, LIMITS, COUNTER) as box:
        said = box.load()
    assert said == {
        "specialization": "counting",
        "classes": {"Policy": ["count", "echo", "refuse", "value_now"]},
    }


def test_it_may_have_many_classes_and_tests(rung: Rung) -> None:
    many = "".join(f"class C{n}: pass\ndef test_{n}(): pass\n" for n in range(2000))
    with Sandbox(rung, LIMITS, many + "class Policy:\n    def hit(self): pass") as box:
        assert box.load() == {"specialization": None, "classes": {"Policy": ["hit"]}}


def test_its_tests_run_inside(counter: Sandbox) -> None:
    counter.test("test_counts")
    assert failure(counter.test, "test_fails") == ("raised", "AssertionError: it is 1 (line 33)")


def test_many_calls_travel_in_one_write(counter: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        written.append(data)
        return os.write(descriptor, data)

    monkeypatch.setattr(channel, "os", SimpleNamespace(write=write, read=os.read))
    trips = counter.round_trips
    counter.make(7, [10, 2])
    counter.make(8, [20, 3])
    for _ in range(500):
        counter.tell(7, "count", 1)
    answers = counter.ask(7, "value_now"), counter.ask(8, "value_now")
    assert (answers, len(written), counter.round_trips - trips) == ((1010, 20), 2, 2)
    assert counter.asked_s > 0


def test_many_questions_take_one_round_trip(counter: Sandbox) -> None:
    counter.make(7, [10, 2])
    counter.make(8, [20, 3])
    counter.tell(7, "count", 1)
    trips = counter.round_trips
    answers = counter.ask_all(
        [(8, "value_now", ()), (7, "value_now", ()), (7, "count", [1]), (7, "value_now", ())]
    )
    assert (answers, counter.round_trips - trips) == ([20, 12, None, 14], 1)
    assert counter.ask_all([]) == []


def test_one_question_that_fails_fails_all(counter: Sandbox) -> None:
    counter.make(0, [5, 1])
    kind, _ = failure(counter.ask_all, [(0, "value_now", ()), (0, "refuse", ())])
    assert (kind, counter.ask(0, "value_now")) == ("raised", 5)


def test_answers_together_may_be_as_long_as_one(counter: Sandbox) -> None:
    half = "x" * (LIMITS.answer_bytes // 2 - 100)
    counter.make(0, [0, 0])
    assert counter.ask_all([(0, "echo", [half])] * 2) == [half, half]
    rule = "its answer is too long: an answer may have 65536 bytes"
    assert failure(counter.ask_all, [(0, "echo", [half])] * 3) == ("bad_answer", rule)


def test_it_catches_up_with_what_was_told(counter: Sandbox) -> None:
    counter.make(0, [0, 1])
    for _ in range(10_000):
        counter.tell(0, "count", 1)
    trips = counter.round_trips - 1  # less that of load
    counter.flush()
    assert (trips, counter.ask(0, "value_now")) == (2, 10_000)


def test_arguments_and_answers_larger_than_a_pipe(rung: Rung) -> None:
    words = ["x" * 1000] * 1000
    with Sandbox(rung, replace(LIMITS, answer_bytes=2_000_000), COUNTER) as box:
        box.load()
        box.make(0, [0, 0])
        assert box.ask(0, "echo", words) == words


@pytest.mark.parametrize(
    "value", [None, True, -1, 2**63 - 1, 0.1, "ä\u20ac\U0001f600", [], {"a": [1, {"b": None}]}]
)
def test_values_pass_unchanged(counter: Sandbox, value: object) -> None:
    counter.make(0, [0, 0])
    answer = counter.ask(0, "echo", value)
    assert (answer, type(answer)) == (value, type(value))


def test_what_it_raises_is_told_in_one_line_and_it_goes_on(counter: Sandbox) -> None:
    counter.make(0, [5, 1])
    kind, detail = failure(counter.ask, 0, "refuse")
    assert kind == "raised"
    assert detail.startswith("ValueError: no \\x1b[31mway\\u202eyyy")
    assert detail.endswith("(line 19) in refuse")
    assert len(detail) < 450
    assert counter.ask(0, "value_now") == 5


def test_what_is_told_fails_at_the_next_question(counter: Sandbox) -> None:
    counter.make(0, [0, 0])
    counter.tell(0, "no_such_method")
    kind, detail = failure(counter.ask, 0, "value_now")
    assert (kind, detail) == (
        "raised",
        "AttributeError: 'Policy' object has no attribute 'no_such_method'"
        " in no_such_method or value_now",
    )


def test_what_it_says_of_itself_is_checked(rung: Rung) -> None:
    source = "import __main__\n__main__.Harness.load = lambda self, source: {'classes': 'all'}"
    with Sandbox(rung, LIMITS, source) as box:
        box.load()
        assert failure(box.load) == ("bad_answer", "it tampered with what is said of it")


def test_nothing_comes_with_it(rung: Rung) -> None:
    """No environment, no open files but its channel, no other packages."""
    source = """
import os, sys
class Policy:
    def environment(self): return dict(os.environ)
    def open_files(self): return [number for number in range(256) if is_open(number)]
    def channel(self): return [int(number) for number in sys.argv[1:]]
    def modules(self): return [n for n in sys.modules if n.split(".")[0] in ("workers", "numpy")]
def is_open(number):
    try: os.fstat(number)
    except OSError: return False
    return True
"""
    with Sandbox(rung, LIMITS, source) as box:
        box.load()
        box.make(0, [])
        channel_files = box.ask(0, "channel")
        assert box.ask(0, "open_files") == [0, 1, 2, *channel_files]
        assert (box.ask(0, "environment"), box.ask(0, "modules")) == ({}, [])


def test_a_sandbox_that_does_not_come_up_is_not_the_component_s_fault(rung: Rung) -> None:
    broken = replace(rung, interpreter=replace(rung.interpreter, executable="/nowhere/python"))
    with pytest.raises(Interrupted, match=f"{rung.name} does not come up: .*/nowhere/python"):
        Sandbox(broken, LIMITS, COUNTER).__enter__()


def test_a_file_may_go_while_it_comes_up(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(view: View, path: str) -> list[str]:
        gone = [f"{path}/gone"] if path == rung.interpreter.library else []
        return visible_parts(view, path) + gone

    monkeypatch.setattr(landlock, "visible_parts", listed)
    with Sandbox(rung, LIMITS, COUNTER) as box:
        assert "Policy" in box.load()["classes"]


@pytest.mark.parametrize("made", ["pidfd_open", "pipe"])
def test_without_descriptors_it_is_an_accident(
    rung: Rung, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    def none_left(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, made, none_left)
    with pytest.raises(Interrupted, match=f"{rung.name} does not come up: .*Too many open files"):
        Sandbox(rung, LIMITS, COUNTER).__enter__()
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def no_standard_streams() -> Iterator[None]:
    saved = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 10) for stream in range(3)]
    os.closerange(0, 3)
    yield
    for stream, copy in enumerate(saved):
        os.dup2(copy, stream)
        os.close(copy)


@pytest.mark.usefixtures("no_standard_streams")
def test_a_supervisor_needs_no_standard_streams(rung: Rung) -> None:
    with Sandbox(rung, LIMITS, COUNTER) as box:
        box.load()
        box.make(0, [5, 1])
        assert box.ask(0, "value_now") == 5


def test_supervisors_may_overlap_and_get_their_processors_back(rung: Rung) -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    before = os.sched_getaffinity(0)
    first, second = Sandbox(rung, LIMITS, COUNTER), Sandbox(rung, LIMITS, COUNTER)
    first.__enter__()
    second.__enter__()
    during = os.sched_getaffinity(0)
    first.__exit__(None, None, None)
    second.load()
    second.__exit__(None, None, None)
    assert (len(during), os.sched_getaffinity(0)) == (1, before)
