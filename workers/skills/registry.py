"""Which skills there are: the built-in ones, and those of other packages."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from coordinator.messages import WORD_PATTERN, one_line
from workers.skills import BUILT_IN
from workers.skills.skill import Skill

GROUP = "coord.skills"
"""The group of entry points by which a package brings skills; an entry point's name is the kind of
unit, and what it names is the skill or its class."""


class Skills(NamedTuple):
    """Skills by kind, and a sentence about each that was brought and is not among them."""

    by_kind: dict[str, Skill]
    faults: list[str]


def all_skills() -> dict[str, Skill]:
    """The skills of this installation, by the kind of unit that each runs."""
    return load_skills().by_kind


def find_skill(kind: str) -> Skill | None:
    """The skill that runs units of ``kind``; None if this installation has none."""
    return all_skills().get(kind)


@cache
def load_skills() -> Skills:
    """Load them, once in a process. A built-in cannot be replaced."""
    skills = Skills(dict(BUILT_IN), [])
    for entry in sorted(entry_points(group=GROUP), key=_described):
        if entry.name in skills.by_kind:
            skills.faults.append(f"{_described(entry)} is not used: there is a skill of that kind")
            continue
        try:
            skills.by_kind[entry.name] = _loaded(entry)
        except Exception as error:
            reason = one_line(f"{type(error).__name__}: {error}")
            skills.faults.append(f"{_described(entry)} is not used: {reason}")
    return skills


def _loaded(entry: EntryPoint) -> Skill:
    """The skill that ``entry`` names. Raises whatever its code does."""
    _check_word("the kind", entry.name)
    loaded = entry.load()
    skill = loaded() if isinstance(loaded, type) else loaded
    if not isinstance(skill, Skill):
        raise TypeError("a skill has `capabilities` and `run(unit, context)`")
    for capability in skill.capabilities:
        _check_word("the capability", capability)
    return skill


def _check_word(what: str, word: str) -> None:
    if not re.fullmatch(WORD_PATTERN, word):
        raise ValueError(f"{what} {word!r} must be letters, digits, '_', '.', '+' or '-'")


def _described(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "an unknown package"
    return f"the skill {entry.name} of {package} ({entry.value})"
