"""Validation: a shared component is read, run in a sandbox, measured, and judged."""

from __future__ import annotations

from workers.validation.run import validate
from workers.validation.source import Component, ComponentFault, Source, sources_of
from workers.validation.workload_seed import validation_seed

__all__ = [
    "Component",
    "ComponentFault",
    "Source",
    "sources_of",
    "validate",
    "validation_seed",
]
