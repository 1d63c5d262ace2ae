"""Handler: AIs say something to each other that is stored nowhere."""

from __future__ import annotations

from coordinator.context import Context, Incoming, pass_on
from coordinator.effects import Effect, Note


def message(said: Incoming, _: Context) -> list[Effect]:
    """Pass on what somebody says, whatever it is. What is no text for people, as trainers tell each
    other dozens of times a second what they measured, is worth no note."""
    if "text" not in said.envelope.payload:
        return pass_on(said)
    target = said.envelope.target_ai or "all"
    return [*pass_on(said), Note(f"{said.sender} says something to {target}")]
