"""Policies as evaluators see them: how they are made, what they are told and asked, and what an
answer must be. Nothing that a policy says is believed before it was checked here."""

from __future__ import annotations

import reprlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from coordinator.errors import CoordError

Maker = Callable[..., Any]
"""What makes a policy: called with the arguments that its `Interface` names, in order."""
SHOWN_CHARACTERS = 80
SHOWN_PARTS = 4


class ProblemError(CoordError):
    """A problem was asked for what it cannot do, or a policy broke its rules."""

    code = "problem_error"


class WrongAnswer(ProblemError):
    """A policy's ``method`` gave an answer that its interface does not allow."""

    def __init__(self, method: str, answer: object, rule: str) -> None:
        super().__init__(f"the policy's {method}() answered {shown(answer)}: it must be {rule}")
        self.method = method


@dataclass(frozen=True)
class Interface:
    """How a policy of one specialization is made and called, wherever it runs.

    `arguments` names those of its constructor, in order. The methods in `tells` give no answer;
    `asks` has the type of each other method's answer, for `pydantic.TypeAdapter`. What is in both
    is only told when the answer would not be looked at. Arguments and answers are what JSON has:
    numbers, strings, and lists of them; a list stands for a tuple.
    """

    arguments: tuple[str, ...]
    tells: tuple[str, ...]
    asks: Mapping[str, Any]

    @property
    def methods(self) -> tuple[str, ...]:
        """All that a policy must have, each once."""
        return tuple(dict.fromkeys((*self.tells, *self.asks)))


class Remote(ABC):
    """Stands for a policy that runs elsewhere. It has the methods of its interface; one that asks
    takes a round trip, `tell` need not."""

    @abstractmethod
    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method whose answer nobody wants; at the latest, before the next one that asks."""


def telling(policy: Any, method: str) -> Callable[..., object]:
    """A method of a policy, to be called where its answer would not be looked at."""
    return partial(policy.tell, method) if isinstance(policy, Remote) else getattr(policy, method)


def makers_of(interfaces: Mapping[str, Interface], makers: Mapping[str, Maker]) -> list[Maker]:
    """The makers in the order of the interfaces; ProblemError unless there is one for each."""
    if set(makers) != set(interfaces):
        wanted, given = (", ".join(map(repr, sorted(names))) for names in (interfaces, makers))
        raise ProblemError(f"policies of {wanted} are needed, not of {given or 'none'}")
    return [makers[specialization] for specialization in interfaces]


def shown(answer: object) -> str:
    """An answer on one short line, whatever it is."""
    try:
        text = " ".join(reprlib.repr(answer).split())
    except ValueError:  # Python turns no whole number of so many digits into text
        where = "" if isinstance(answer, int) else f", in a {type(answer).__name__}"
        text = f"a number too long to show{where}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def is_finite_number(answer: object) -> bool:
    """Whether an answer is a number one can compute with: an int or a float, no bool, and neither
    infinite nor too large for a float."""
    return type(answer) in (int, float) and abs(answer) <= sys.float_info.max  # type: ignore[arg-type]


def bad_answer(method: str, answer: object, wanted: Any, rule: str = "") -> WrongAnswer:
    """The error of a policy whose answer is not of the type ``wanted``, or else breaks the rule."""
    parts = get_args(wanted)
    if isinstance(answer, list) and parts:
        answer = tuple(answer)
    given = answer[:SHOWN_PARTS] if isinstance(answer, tuple) else ()
    name, found = _written(wanted, parts), _written(type(answer), [type(one) for one in given])
    if name != found:
        rule = f"{'an' if name.startswith('i') else 'a'} {name}, not {found}"
    return WrongAnswer(method, answer, rule)


def _written(kind: Any, parts: Sequence[type]) -> str:
    """A type as it is written in Python."""
    inner = ", ".join(_written(part, ()) for part in parts)
    name = "None" if kind is type(None) else str(kind.__name__)
    return f"{name}[{inner}]" if inner else name
