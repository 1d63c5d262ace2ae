"""Attacks by the source's text alone, on whoever reads it before it runs."""

from __future__ import annotations

from pathlib import Path

from tests.attacks.oracle import Saw, saw
from tests.attacks.probe import Probe
from tests.attacks.seen import Seen

SIMPLE = 'SPECIALIZATION = "nothing"\n\nclass Policy:\n    pass\n'


def _crashed(seen: Seen) -> bool:
    return bool(seen.crashed)


class HiddenCode(Saw):
    """Code was run that whoever reads the text as it stands takes for a comment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, lambda seen: "hidden" in seen.said)


PROBES = (
    Probe(
        "hidden_by_encoding",
        HiddenCode,
        '# coding: utf-7\nSPECIALIZATION = "seen"\nclass Policy:\n'
        "    def __init__(self, capacity_blocks): pass\n"
        "    def replace(self, block): return 0\n"
        '# +AAo-SPECIALIZATION = "hid" "den"\n',
        whole=True,
    ),
    Probe("surrogate", saw(_crashed), f"{SIMPLE}x = '\ud800'\n", whole=True),
    Probe("line_of_a_megabyte", saw(_crashed), f"{SIMPLE}x = {'-' * 10**6}1\n", whole=True),
    Probe("deep_expression", saw(_crashed), f"{SIMPLE}x = 1{'+1' * 100_000}\n", whole=True),
    Probe(
        "nul",
        saw(_crashed),
        f"{SIMPLE}x = 1\0\n",
        whole=True,
        not_shown="Python itself refuses it, from 3.11.4 on in good order",
    ),
    Probe(
        "byte_order_mark",
        saw(_crashed),
        f"\ufeff{SIMPLE}",
        whole=True,
        not_shown="Python itself refuses it in a text",
    ),
)
