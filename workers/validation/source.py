"""The sources in a shared component, read without running any of it.

What cannot be the source of a component is a fault: one line that names what, the rule and the
fix. Nothing here trusts a record: its fields may be of any type and any size.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coordinator.errors import CoordError
from coordinator.messages import one_line

SOURCE_BYTES = 256 * 1024
LINE_BYTES = 100_000
TOKENS = 65_536
"""Words, signs and lines; the parser takes about 0.5 s and 100 MB for so many."""
TEST_CASES = 64
"""Most tests of a component, and most entries of its ``test_cases``."""
ENTRY_CHARS = 200
FENCE = "```"
_TOKEN = re.compile(r"\w+|[^\w\s#]|\n")


class ComponentFault(CoordError):
    """A component breaks a rule that can be checked without running it."""

    code = "component_fault"


@dataclass(frozen=True)
class Component:
    """A record as it was shared, nothing of it checked before: the ``code`` of a ``code_share``, or
    the ``component`` of an ``os_component_share``.

    ``specialization`` is the registry's, for a record that names none itself.
    """

    record: Mapping[str, Any]
    specialization: str = ""


@dataclass(frozen=True)
class Source:
    """The text that implements one specialization."""

    specialization: str
    text: str


@dataclass(frozen=True)
class Cases:
    """The entries of ``test_cases``: names of functions, and what is no name, which nobody runs."""

    names: tuple[str, ...]
    not_run: tuple[str, ...]


def sources_of(component: Component) -> list[Source]:
    """The texts in a component, one for each specialization that it has a policy for.

    Raises ComponentFault for what is no text, too large, or could be read in two ways.
    """
    record = component.record
    given = [_texts(record[name]) for name in ("implementation", "code") if record.get(name)]
    if not given:
        raise ComponentFault("there is no code: put the module's text into `code`")
    if given[0] != given[-1]:
        raise ComponentFault(
            "`implementation` and `code` differ, and only one can be judged: leave one out"
        )
    texts = given[0]
    specialization = _words([record.get("specialization") or component.specialization])[0]
    if isinstance(texts, str):
        return [Source(one_line(specialization, ENTRY_CHARS), texts)]
    if len(texts) == 1 and specialization:
        _check_specializations([specialization], texts)
    if isinstance(record.get("specializations"), list):
        _check_specializations(_words(record["specializations"]), texts)
    return [Source(one_line(name, ENTRY_CHARS), text) for name, text in sorted(texts.items())]


def _texts(given: object) -> str | dict[str, str]:
    """One text, or texts by specialization, if each can be a source. Raises ComponentFault."""
    if isinstance(given, Mapping):
        return {str(name): _checked(text) for name, text in given.items()}
    return _checked(given)


def _words(given: list[Any]) -> list[str]:
    for word in given:
        if not isinstance(word, str):
            raise ComponentFault(
                f"a specialization is a {type(word).__name__}, and must be text: a string"
            )
    return given


def _check_specializations(named: list[str], texts: Iterable[str]) -> None:
    """They are those named: what is measured as one thing must not be listed as another."""
    has = sorted(texts)
    if sorted(named) != has:
        raise ComponentFault(
            one_line(f"the code is of {has}, but was shared for {named}: name what it is of")
        )


def _checked(text: object) -> str:
    """``text``, if it can be a source. Raises ComponentFault."""
    if not isinstance(text, str):
        raise ComponentFault(f"the code is a {type(text).__name__}, and must be text: a string")
    if text.startswith("\ufeff"):
        raise ComponentFault("the code begins with a byte order mark: save it as UTF-8 without one")
    if "\0" in text:
        raise ComponentFault("the code has a NUL character, which no source has: remove it")
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ComponentFault(
            f"line {line} of the code has half of a surrogate pair, which is no character: write"
            " it as an escape"
        ) from None
    if len(encoded) > SOURCE_BYTES:
        raise ComponentFault(
            f"the code has {len(encoded)} bytes, and may have {SOURCE_BYTES}: make it shorter"
        )
    longest = max(map(len, encoded.splitlines()), default=0)
    if longest > LINE_BYTES:
        raise ComponentFault(
            f"a line of the code has {longest} bytes, and may have {LINE_BYTES}: break it"
        )
    return text


def parse(text: str) -> ast.Module:
    """The syntax tree of a checked text. Raises ComponentFault.

    The interpreter bounds the depth of its parser, of brackets, of indentation and of the tree, and
    the digits of a number; what goes beyond is refused here as too deep. Its time and its memory
    are bounded by what is counted here. None of it is compiled.
    """
    tokens = sum(1 for _ in _TOKEN.finditer(text))
    if tokens > TOKENS:
        raise ComponentFault(
            f"the code has {tokens} words, signs and lines, and may have {TOKENS}: make it shorter"
        )
    if text.lstrip().startswith(FENCE):
        raise ComponentFault(
            f"the code is no Python: it begins with {FENCE}, as in Markdown; leave such fences out"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (RecursionError, MemoryError):
        raise ComponentFault(
            "the code is nested too deeply for the parser: split what is nested or chained"
        ) from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line} of the code" if line else "the code"
        what = getattr(error, "msg", None) or error
        raise ComponentFault(one_line(f"{where} is no Python: {what}")) from None


def cases_of(component: Component) -> Cases:
    """What the record wants tested: a word is the name of a function, all else is prose."""
    given = component.record.get("test_cases") or []
    entries = given if isinstance(given, list) else [given]
    if len(entries) > TEST_CASES:
        raise ComponentFault(
            f"`test_cases` has {len(entries)} entries, and may have {TEST_CASES}: leave some out"
        )
    names, prose = [], []
    for entry in entries:
        word = entry.strip().removesuffix("()") if isinstance(entry, str) else ""
        if word.isidentifier():
            names.append(word)
        else:
            prose.append(one_line(_as_text(entry), ENTRY_CHARS))
    return Cases(tuple(dict.fromkeys(names)), tuple(prose))


def _as_text(entry: object) -> str:
    if isinstance(entry, str):
        return entry
    try:
        return json.dumps(entry, default=str)
    except (RecursionError, ValueError):
        return f"a {type(entry).__name__} that is too large to show"
