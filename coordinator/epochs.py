"""Epochs: from one to the next the server may have forgotten the end of a stream, whose numbers are
given again."""

from __future__ import annotations

import json
from typing import NamedTuple

MAX_EPOCHS = 64


class Begin(NamedTuple):
    """The last number a stream had when an epoch began."""

    epoch: str
    n: int


def encode_begins(begins: list[Begin]) -> str:
    return json.dumps(begins[-MAX_EPOCHS:], separators=(",", ":"))


def decode_begins(text: bytes | None) -> list[Begin]:
    return [Begin(str(epoch), int(n)) for epoch, n in json.loads(text or b"[]")]


def fleet_of(epoch: str) -> str:
    """An epoch's id is ``<fleet>.<epoch>``: the fleet's part stays as long as its data does."""
    return epoch.rpartition(".")[0]


def resume_after(epoch: str, n: int, begins: list[Begin], last_n: int) -> int:
    """Where a reader goes on that saw ``n`` in ``epoch``: there, or earlier if the server forgot.

    Every epoch that began since then may have begun before what the reader saw; the lowest of
    their beginnings is the last number that is still the same message. An epoch that the history
    does not know was itself forgotten: then all but the oldest may have come after it. Of another
    fleet (the server was wiped) nothing is the same.
    """
    if begins and fleet_of(epoch) != fleet_of(begins[-1].epoch):
        return 0
    known = [i for i, begin in enumerate(begins) if begin.epoch == epoch]
    later = begins[known[-1] + 1 :] if known else begins[1:] or begins
    return min([n, last_n, *(begin.n for begin in later)])
