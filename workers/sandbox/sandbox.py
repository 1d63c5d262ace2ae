"""The supervisor of one run: what is asked of a component, and how it failed."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError

from workers.sandbox.affinity import one_processor
from workers.sandbox.channel import BadAnswer, Channel, Ended, parse_answer, shown
from workers.sandbox.failures import Interrupted, PolicyFailed
from workers.sandbox.interpreter import python_view
from workers.sandbox.process import UP_LIMIT_S, Process, killed_from_outside
from workers.sandbox.rung import Limits, Rung
from workers.sandbox.seccomp import SeccompError

HARNESS = -1
Call = tuple[int, str, Sequence[Any]]
"""The id of a policy, the name of a method, and its arguments."""
LONGEST_BATCH = 4096
"""So many calls without an answer are buffered before the component is made to catch up."""
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class _Loaded(BaseModel):
    model_config = ConfigDict(extra="forbid")

    specialization: StrictStr | None
    classes: dict[StrictStr, list[StrictStr]]


class _Failure(BaseModel):
    """Type, message and line of an exception, and whether memory ran out."""

    model_config = ConfigDict(strict=True)

    error: tuple[str, str, int, bool]


class Budget:
    """Seconds that are waited for a sandbox, or for all that share it: ``wall_s`` in all."""

    def __init__(self, wall_s: float) -> None:
        self.wall_s = wall_s
        self.left_s = wall_s


class Sandbox:
    """One run of a component's ``source`` on ``rung``: a context, in which it is asked.

    Entering raises Interrupted if it does not come up, and a call does if somebody kills it from
    outside, or others have the processor: none is the component's fault. Whatever that does wrong
    raises PolicyFailed. One that raised, or gave what is not JSON, can be asked further; after all
    else it is dead, and every call raises the same again. Leaving ends all that is inside.

    Without a ``budget`` shared with others it has one of its own, of the limits' ``wall_s``.
    """

    def __init__(
        self, rung: Rung, limits: Limits, source: str, budget: Budget | None = None
    ) -> None:
        self.startup_ms = 0.0
        self.asked_s = 0.0
        self.round_trips = 0
        self._rung = rung
        self._limits = limits
        self._budget = budget or Budget(limits.wall_s)
        self._source = source
        self._mark = secrets.token_hex(8)
        self._told: list[Call] = []
        self._failure: PolicyFailed | Interrupted | None = None

    def __enter__(self) -> Self:
        began_s = time.perf_counter()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(one_processor())
                view = python_view(self._rung.interpreter)
                self._process = Process(self._rung, self._limits, view, self._mark)
            except (OSError, SeccompError) as error:
                raise Interrupted(f"{self._rung.name} does not come up: {error}") from None
            stack.callback(self._process.close)
            self._channel = Channel(self._process, self._limits)
            self._come_up()
            self._stack = stack.pop_all()
        self.startup_ms = (time.perf_counter() - began_s) * 1000
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _come_up(self) -> None:
        try:
            self._channel.exchange(b"", UP_LIMIT_S)
        except (Ended, PolicyFailed) as error:
            self._drain()
            said = self._channel.printed or str(error) or "it ended at once"
            raise Interrupted(f"{self._rung.name} does not come up: {said}") from None

    def load(self) -> dict[str, Any]:
        """Import the component inside. What it says of itself: its ``specialization`` or None, and
        ``classes``: its ``Policy``, if it has one, with the names of the methods."""
        said = self.ask(HARNESS, "load", self._source)
        try:
            return _Loaded.model_validate(said).model_dump()
        except ValidationError:
            self._end(PolicyFailed("bad_answer", "it tampered with what is said of it"))

    def test(self, name: str) -> None:
        """Run one of its tests inside."""
        self.ask(HARNESS, "test", name)

    def make(self, policy_id: int, arguments: Sequence[Any]) -> None:
        """Make a ``Policy`` of its, known as ``policy_id`` from then on; buffered."""
        self.tell(HARNESS, "make", policy_id, list(arguments))

    def tell(self, policy_id: int, method: str, *arguments: Any) -> None:
        """Call a method without wanting an answer; buffered."""
        self._told.append((policy_id, method, arguments))
        if len(self._told) >= LONGEST_BATCH:
            self.flush()

    def ask(self, policy_id: int, method: str, *arguments: Any) -> Any:
        """What a method answers, a JSON value: one round trip with all that is buffered."""
        [answer] = self.ask_all([(policy_id, method, arguments)])
        return answer

    def ask_all(self, calls: Sequence[Call]) -> list[Any]:
        """What each method answers, in the order of ``calls``: one round trip for all of them,
        after what is buffered. Their answers together may be as long as one."""
        values = self._exchange(calls)
        if not isinstance(values, list) or len(values) != len(calls):
            self._end(PolicyFailed("bad_answer", "it does not answer each of its questions"))
        return values

    def flush(self) -> None:
        """Send what is buffered, and wait until it was done."""
        self.ask_all(())

    def _exchange(self, calls: Sequence[Call]) -> Any:
        if self._failure is not None:
            raise self._failure
        told, self._told = self._told, []
        request = f"{_encode((told, calls))}\n".encode()
        self.round_trips += 1
        began_s = time.perf_counter()
        given_back_s = self._channel.given_back_s
        try:
            line = self._channel.exchange(request, self._budget.left_s)
        except Interrupted as accident:
            self._end(accident)
        except PolicyFailed as failure:
            if failure.kind == "timeout":
                detail = f"it took longer than {self._budget.wall_s:g} s"
                failure = PolicyFailed("timeout", detail)
            self._end(failure)
        except Ended:
            self._end(self._how_it_ended())
        finally:
            waited_s = time.perf_counter() - began_s
            self.asked_s += waited_s
            self._budget.left_s -= waited_s - (self._channel.given_back_s - given_back_s)
        return self._value(line, told, calls)

    def _value(self, line: bytes, told: Sequence[Call], calls: Sequence[Call]) -> Any:
        """The value in an answer: ``<mark><number>=<JSON>``; ! stands for a failure of one of all
        these calls, ? for an answer to one of ``calls`` that is not JSON."""
        prefix = f"{self._mark}{self.round_trips}"
        try:
            text = line.decode("ascii")
            if not text.startswith(prefix):
                raise BadAnswer("it does not belong to what was asked")
            value = parse_answer(text[len(prefix) + 1 :])
            sign = text[len(prefix)]
            if sign == "=":
                return value
            error = _Failure.model_validate({"error": tuple(value)}).error
        except (BadAnswer, UnicodeDecodeError, ValidationError, TypeError) as fault:
            rule = str(fault) if isinstance(fault, BadAnswer) else "it is malformed"
            self._end(PolicyFailed("bad_answer", f"its answer cannot be used: {rule}"))
        raise _failed(sign, calls if sign == "?" else [*told, *calls], *error)

    def _how_it_ended(self) -> PolicyFailed | Interrupted:
        status = self._process.status()
        self._drain()
        said = f"; it printed: {self._channel.printed}" if self._channel.printed else ""
        if status is None:
            return PolicyFailed("ended", f"it hung up{said}")
        if killed_from_outside(status):
            return Interrupted("the sandbox was killed from outside")
        if status == -signal.SIGXCPU:
            return PolicyFailed("timeout", f"it used more than {self._limits.cpu_s:g} s of CPU")
        if status < 0:
            name = signal.Signals(-status).name
            return PolicyFailed("ended", f"its process died of {name}{said}")
        return PolicyFailed("ended", f"its process ended with status {status}{said}")

    def _drain(self) -> None:
        with contextlib.suppress(PolicyFailed):
            while self._channel.read_output():
                pass

    def _end(self, failure: PolicyFailed | Interrupted) -> NoReturn:
        self._failure = failure
        self._process.close()
        raise failure


def _failed(
    sign: str, calls: Sequence[Call], name: str, message: str, line: int, out_of_memory: bool
) -> PolicyFailed:
    """The failure of one of ``calls``: which one nobody tells, but which methods there are."""
    methods = dict.fromkeys(method for target, method, _ in calls if target != HARNESS)
    where = f" (line {line})" if line else ""
    where += f" in {' or '.join(methods)}" if methods else ""
    detail = shown(f"{name}: {message}" if message else name) + where
    if out_of_memory:
        return PolicyFailed("memory", f"it used more memory than it may: {detail}")
    if sign == "?":
        return PolicyFailed("bad_answer", f"its answer is not JSON: {detail}")
    return PolicyFailed("raised", detail)
