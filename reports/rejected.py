"""What was rejected, and why: reasons that differ in numbers alone are one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from coordinator.validation.models import shown_word
from reports import formats
from reports.run import PASSED, Run

GROUPS = 12
"""So many reasons of each sort are shown."""
AIS_SHOWN = 3


class Group(NamedTuple):
    """``times`` times the same; ``reason`` is one of them as an example."""

    what: str
    reason: str
    times: int
    ais: str


class Rejections(NamedTuple):
    """``sort`` in a few words, the groups, and how many rejections are in groups left out."""

    sort: str
    total: int
    groups: list[Group]
    left_out: int


Rejection = tuple[str, str, str]
"""What happened, why, and to which AI."""


def rejections_of(run: Run, sessions: Iterable[Mapping[str, Any]]) -> list[Rejections]:
    """Components, messages and sessions that came to nothing; no sort that has none."""
    components = [
        (shown_word(one.word), one.reason, one.maker)
        for one in run.judgements
        if one.word != PASSED
    ]
    messages = [
        (code, run.refused_for[code], ai)
        for code, ais in run.refused.items()
        for ai in ais.elements()
    ]
    ended = [
        (str(session["state"]), str(session.get("reason") or ""), str(session["initiator"]))
        for session in sessions
        if session["state"] in ("failed", "declined", "expired", "cancelled")
    ]
    sorts = {
        "Components that did not pass": components,
        "Work together that came to nothing": ended,
        "Messages that were refused": messages,
    }
    return [_grouped(sort, found) for sort, found in sorts.items() if found]


def _grouped(sort: str, found: list[Rejection]) -> Rejections:
    by_reason: dict[tuple[str, str], list[Rejection]] = {}
    for what, reason, ai in found:
        by_reason.setdefault((what, _alike(reason)), []).append((what, reason, ai))
    groups = [_group(alike) for alike in by_reason.values()]
    groups.sort(key=lambda group: (-group.times, group.what, group.reason))
    left_out = sum(group.times for group in groups[GROUPS:])
    return Rejections(sort, len(found), groups[:GROUPS], left_out)


def _alike(reason: str) -> str:
    """The same for reasons that differ in numbers and in what is quoted."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f]*[0-9][0-9a-f]*", "#", formats.text(reason))


def _group(alike: list[Rejection]) -> Group:
    what, reason, _ = alike[0]
    counts = Counter(ai for _, _, ai in alike)
    told = [
        f"{formats.name(ai)} ({n})" if n > 1 else formats.name(ai) for ai, n in counts.most_common()
    ]
    more = [f"{len(told) - AIS_SHOWN} more"] if len(told) > AIS_SHOWN else []
    return Group(
        formats.name(what), formats.text(reason), len(alike), ", ".join(told[:AIS_SHOWN] + more)
    )
