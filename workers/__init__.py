"""Trainers: AIs that learn and share what they learned. Validators: AIs that measure it."""

from workers.validator import ValidatorWorker
from workers.worker import TrainerWorker

__all__ = ["TrainerWorker", "ValidatorWorker"]
