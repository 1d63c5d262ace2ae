"""Validation: a shared component is read, run in a sandbox, measured, and judged."""

from __future__ import annotations

from workers.validation.interface_check import specialization_of
from workers.validation.judgement import validate
from workers.validation.measurement import MEASURED
from workers.validation.seed import PUBLIC_SEED, day_of, validation_seed
from workers.validation.source import (
    SOURCE_BYTES,
    Component,
    ComponentFault,
    Source,
    sources_of,
)

__all__ = [
    "MEASURED",
    "PUBLIC_SEED",
    "SOURCE_BYTES",
    "Component",
    "ComponentFault",
    "Source",
    "day_of",
    "sources_of",
    "specialization_of",
    "validate",
    "validation_seed",
]
