"""The jobs a trainer takes: those whose function is on the list, and nothing else."""

from __future__ import annotations

from typing import Any

from rq.exceptions import DeserializationError
from rq.job import Job

ENTRY_FUNCTIONS: frozenset[str] = frozenset()
"""Dotted names of the functions that a job may name; there are none until there are work units."""


class TrainerJob(Job):
    """A job whose function is looked up on a list before anything is imported, and that has no
    callbacks and no webhooks: whoever can write a job hash must not choose what runs."""

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self._success_callback_name = None
        self._failure_callback_name = None
        self._stopped_callback_name = None
        self.webhooks = []

    @property
    def func(self) -> Any:
        if self.func_name not in ENTRY_FUNCTIONS:
            raise DeserializationError(f"{self.func_name} is not a function that trainers run")
        return super().func
