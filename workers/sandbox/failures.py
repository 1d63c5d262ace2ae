"""How a run in the sandbox fails, and why there may be none."""

from __future__ import annotations

from typing import Literal

from coordinator.errors import CoordError

FailureKind = Literal["raised", "timeout", "memory", "ended", "bad_answer", "too_much_output"]


class PolicyFailed(CoordError):
    """The component did what it must not, or nothing at all. ``detail`` is one printable line,
    and what it quotes comes from the component: it is to be shown, not to be believed."""

    code = "policy_failed"

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind: FailureKind = kind


class NoRung(CoordError):
    """No sandbox holds on this machine, so no component runs. ``cure`` says what to do."""

    code = "no_sandbox"

    def __init__(self, reason: str, cure: str) -> None:
        super().__init__(f"{reason}; {cure}" if cure else reason)
        self.reason = reason
        self.cure = cure


class Interrupted(NoRung):
    """An accident of this machine ended one run: that says nothing of the component, nor of the
    rung, and the next run may well succeed."""

    code = "sandbox_interrupted"

    def __init__(self, reason: str, cure: str = "let it be run again") -> None:
        super().__init__(reason, cure)


class NoCompiler(CoordError):
    """No C++ compiler is installed that could be run confined."""

    code = "no_compiler"
