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

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from workers.sandbox.affinity import one_processor
from workers.sandbox.answers import BadAnswer, parse_answer, shown
from workers.sandbox.channel import Channel, Ended
from workers.sandbox.failures import NoRung, PolicyFailed
from workers.sandbox.limits import Limits
from workers.sandbox.process import UP_LIMIT_S, Process
from workers.sandbox.rung import Rung
from workers.sandbox.seccomp import SeccompError
from workers.sandbox.view import python_view

HARNESS = -1
LONGEST_BATCH = 4096
"""So many calls without an answer are buffered before the component is made to catch up."""
DONE = '[-1,"done",[]]'
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class _Loaded(BaseModel):
    model_config = ConfigDict(extra="forbid")

    specialization: StrictStr | None
    tests: list[StrictStr] = Field(max_length=1000)
    classes: dict[StrictStr, list[StrictStr]] = Field(max_length=1000)


class _Failure(BaseModel):
    """Type, message and line of an exception, and whether memory ran out."""

    model_config = ConfigDict(strict=True)

    error: tuple[str, str, int, bool]


class Sandbox:
    """One run of a component's ``source`` on ``rung``: a context, in which it is asked.

    Entering raises NoRung if the sandbox does not come up, and a call if somebody kills it from
    outside: neither is the component's fault. Whatever that does wrong raises PolicyFailed. One
    that raised, or gave what is not JSON, can be asked further; after all else it is dead, and
    every call raises the same again. Leaving ends all that is inside.
    """

    def __init__(self, rung: Rung, limits: Limits, source: str) -> None:
        self.startup_ms = 0.0
        self.asked_s = 0.0
        self.round_trips = 0
        self._rung = rung
        self._limits = limits
        self._source = source
        self._mark = secrets.token_hex(8)
        self._calls: list[str] = []
        self._failure: PolicyFailed | NoRung | None = None

    def __enter__(self) -> Self:
        self._began_s = time.perf_counter()
        view = python_view(self._rung.interpreter)
        with contextlib.ExitStack() as stack:
            stack.enter_context(one_processor())
            try:
                self._process = Process(self._rung, self._limits, view, self._mark)
            except (OSError, SeccompError) as error:
                raise NoRung(f"{self._rung.name} does not come up: {error}", "") from None
            stack.callback(self._process.close)
            self._channel = Channel(self._process, self._limits)
            self._come_up()
            self._stack = stack.pop_all()
        self.startup_ms = (time.perf_counter() - self._began_s) * 1000
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
            raise NoRung(f"{self._rung.name} does not come up: {said}", "") from None

    def load(self) -> dict[str, Any]:
        """Import the component inside. What it says of itself: its ``specialization`` or None, the
        names of its ``tests``, and its ``classes`` with the names of their methods."""
        self._call(HARNESS, "load", [self._source])
        try:
            return _Loaded.model_validate(self._exchange()).model_dump()
        except ValidationError:
            self._end(PolicyFailed("bad_answer", "it tampered with what is said of it"))

    def test(self, name: str) -> None:
        """Run one of its tests inside."""
        self._call(HARNESS, "test", [name])
        self.flush()

    def make(self, policy_id: int, arguments: Sequence[Any]) -> None:
        """Make a ``Policy`` of its, known as ``policy_id`` from then on; buffered."""
        self._call(HARNESS, "make", [policy_id, list(arguments)])

    def tell(self, policy_id: int, method: str, *arguments: Any) -> None:
        """Call a method without wanting an answer; buffered."""
        self._call(policy_id, method, arguments)

    def ask(self, policy_id: int, method: str, *arguments: Any) -> Any:
        """What a method answers, a JSON value: one round trip with all that is buffered."""
        self._calls.append(_encode((policy_id, method, arguments)))
        return self._exchange()

    def flush(self) -> None:
        """Send what is buffered, and wait until it was done."""
        self._calls.append(DONE)
        self._exchange()

    def _call(self, target: int, method: str, arguments: Sequence[Any]) -> None:
        self._calls.append(_encode((target, method, arguments)))
        if len(self._calls) >= LONGEST_BATCH:
            self.flush()

    def _exchange(self) -> Any:
        if self._failure is not None:
            raise self._failure
        request = f"[{','.join(self._calls)}]\n".encode()
        self._calls.clear()
        self.round_trips += 1
        began_s = time.perf_counter()
        try:
            line = self._channel.exchange(request, self._limits.wall_s - self.asked_s)
        except PolicyFailed as failure:
            self._end(failure)
        except Ended:
            self._end(self._how_it_ended())
        finally:
            self.asked_s += time.perf_counter() - began_s
        return self._value(line)

    def _value(self, line: bytes) -> Any:
        """The value in an answer: ``<mark><number>=<JSON>``; ! and ? stand for a failure."""
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
        raise _failed(sign, *error)

    def _how_it_ended(self) -> PolicyFailed | NoRung:
        took_s = time.perf_counter() - self._began_s
        status = self._process.status()
        self._drain()
        said = f"; it printed: {self._channel.printed}" if self._channel.printed else ""
        if status is None:
            return PolicyFailed("ended", f"it hung up{said}")
        if status == -signal.SIGKILL and took_s < self._limits.cpu_s:
            # No signal is sent from inside, and the kernel has had no reason to.
            return NoRung("the sandbox was killed from outside", "let it be run again")
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return PolicyFailed("timeout", f"it used more than {self._limits.cpu_s:g} s of CPU")
        if status < 0:
            name = signal.Signals(-status).name if -status in list(signal.Signals) else -status
            return PolicyFailed("ended", f"its process died of {name}{said}")
        return PolicyFailed("ended", f"its process ended with status {status}{said}")

    def _drain(self) -> None:
        with contextlib.suppress(PolicyFailed):
            while self._channel.read_output():
                pass

    def _end(self, failure: PolicyFailed | NoRung) -> NoReturn:
        self._failure = failure
        self._process.close()
        raise failure


def _failed(sign: str, name: str, message: str, line: int, out_of_memory: bool) -> PolicyFailed:
    where = f" (line {line})" if line else ""
    detail = shown(f"{name}: {message}" if message else name) + where
    if out_of_memory:
        return PolicyFailed("memory", f"it used more memory than it may: {detail}")
    if sign == "?":
        return PolicyFailed("bad_answer", f"its answer is not JSON: {detail}")
    return PolicyFailed("raised", detail)
