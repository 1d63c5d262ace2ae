"""The sandbox in which components run: nothing that others wrote runs anywhere else."""

from workers.sandbox.compiler import Compiled, compile_cpp
from workers.sandbox.failures import Interrupted, NoCompiler, NoRung, PolicyFailed
from workers.sandbox.ladder import find_rung
from workers.sandbox.rung import Limits, Rung
from workers.sandbox.sandbox import Budget, Call, Sandbox

__all__ = [
    "Budget",
    "Call",
    "Compiled",
    "Interrupted",
    "Limits",
    "NoCompiler",
    "NoRung",
    "PolicyFailed",
    "Rung",
    "Sandbox",
    "compile_cpp",
    "find_rung",
]
