"""What a skill is: it runs the units of one kind."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from coordinator.errors import CoordError
from coordinator.reads import Item
from coordinator.work import Unit

Output = dict[str, Any]
"""What a unit made, as JSON. A ``component`` in the output of a session's last unit is what the
session made; its ``summary`` (small) is told to all who took part."""


class SkillError(CoordError):
    """A unit cannot be done, and trying again would not help more than a few times."""

    code = "skill_error"


class Workspace(Protocol):
    """What the participants of a session share, key by key."""

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it is now."""

    def items(self, prefix: str = "") -> dict[str, Any]:
        """All values whose key begins with ``prefix``, by key."""

    def put(self, key: str, value: Any) -> None:
        """Write ``value`` (JSON) at the same moment as this unit's result: both or neither."""


class Knowledge(Protocol):
    """What the fleet knows: the newest records, newest first, as ``query`` gives them."""

    def patterns(self, specialization: str | None = None, limit: int = 100) -> list[Item]: ...

    def components(self, specialization: str | None = None, limit: int = 100) -> list[Item]: ...

    def features(self, specialization: str | None = None, limit: int = 100) -> list[Item]: ...


class Artifacts(Protocol):
    """What is too large for a message. A reference is a string, ``<ai>:<sha256>``."""

    def put(self, data: bytes) -> str:
        """Keep ``data`` for a while; the reference to hand on."""

    def get(self, reference: str) -> bytes:
        """The bytes. Raises SkillError when they are gone, or not what the reference says."""


class Progress(Protocol):
    def __call__(self, progress: float) -> None:
        """Tell how far the unit has come, 0 to 1; told on at most once a second."""


@dataclass(frozen=True)
class UnitContext:
    """What a skill is given beside its unit. ``outputs`` are those of the units that this one
    needs, by their names in the plan."""

    ai_id: str
    specialization: str
    outputs: dict[str, Output]
    workspace: Workspace
    knowledge: Knowledge
    artifacts: Artifacts
    progress: Progress
    log: logging.Logger


@runtime_checkable
class Skill(Protocol):
    @property
    def capabilities(self) -> tuple[str, ...]:
        """Words that the AI says of itself because of this skill."""

    def run(self, unit: Unit, context: UnitContext) -> Output:
        """Do the unit. Any exception fails the attempt, and its text is the reason."""
