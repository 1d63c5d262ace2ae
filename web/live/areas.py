"""Which parts of a fleet a line of its history changes: pages show some, and are read anew."""

from __future__ import annotations

from typing import Literal, get_args

from coordinator.audit import AUDIT_KINDS
from coordinator.history import Line

Area = Literal["fleet", "work", "knowledge", "health"]
"""Who is there; sessions, units and workspaces; records and verdicts; what operators look after."""
AREAS: frozenset[Area] = frozenset(get_args(Area))

_FLEET = frozenset({"joined", "left", "credited", "draining", "kicked", "revoked", "enrolled"})
_KNOWLEDGE = frozenset({"shared", "validated", "retracted", "credited", "evaluator_changed"})


def areas_of(line: Line) -> frozenset[Area]:
    """Empty for a message: what one does is told by the events that come of it."""
    if line.kind in ("gap", "epoch"):
        return AREAS
    if line.kind == "message":
        return frozenset()
    event = line.data["event"]
    areas: set[Area] = set()
    if event in _FLEET:
        areas.add("fleet")
    if event in _KNOWLEDGE or event.startswith("validation_"):
        areas.add("knowledge")
    if event.startswith(("session_", "unit_", "workspace_", "feature_")):
        areas.add("work")
    if event in AUDIT_KINDS:
        areas.add("health")
    return frozenset(areas)
