"""Handler: AIs say something to each other that is stored nowhere."""

from __future__ import annotations

from coordinator.context import Context, Incoming, pass_on
from coordinator.effects import Effect, Note


def message(said: Incoming, _: Context) -> list[Effect]:
    """Pass on what somebody says, whatever it is."""
    target = said.envelope.target_ai or "all"
    return [*pass_on(said), Note(f"{said.sender} says something to {target}")]
