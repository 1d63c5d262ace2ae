"""A probe: the code of a component that attacks, and how the host finds whether it succeeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.attacks.oracle import Oracle

TAIL = """
SPECIALIZATION = str(globals().get("loot", "nothing"))

class Policy:
    def __init__(self, capacity_blocks=1):
        pass

    def hit(self, block):
        pass

    def insert(self, block):
        pass

    def replace(self, block):
        return SPECIALIZATION
"""
"""What makes a probe a component. Its ``loot`` leaves by both ways that a component has."""


@dataclass(frozen=True)
class Probe:
    """``source`` is run as a module; the names in its oracle's ``given`` are defined before it."""

    name: str
    oracle: Callable[[Path], Oracle]
    source: str
    not_shown: str = ""
    """Why nobody shows outside that it succeeds; "" if the suite does."""
    refusable: bool = False
    """A kernel, or the rights of who runs the tests, may refuse it outside as well."""
    endless: bool = False
    """It does not end by itself: the harness's patience is to be short."""
    whole: bool = False
    """The source is the component as it is: nothing is put before it or after."""

    def text(self, oracle: Oracle) -> str:
        """The component's source for one run."""
        if self.whole:
            return self.source
        given = "".join(f"{name} = {value!r}\n" for name, value in oracle.given.items())
        return f"{given}\n{self.source}\n{TAIL}"
