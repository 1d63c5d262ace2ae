"""The sandbox in which components run: nothing that others wrote runs anywhere else."""

from workers.sandbox.compiler import Compiled, compile_cpp
from workers.sandbox.failures import NoCompiler, NoRung, PolicyFailed
from workers.sandbox.ladder import find_rung
from workers.sandbox.limits import Limits
from workers.sandbox.rung import Rung
from workers.sandbox.sandbox import Sandbox

__all__ = [
    "Compiled",
    "Limits",
    "NoCompiler",
    "NoRung",
    "PolicyFailed",
    "Rung",
    "Sandbox",
    "compile_cpp",
    "find_rung",
]
