"""Trainers: AIs that learn and share what they learned. Validators: AIs that measure it."""

from workers.trainer_worker import TrainerWorker
from workers.validator_worker import ValidatorWorker

__all__ = ["TrainerWorker", "ValidatorWorker"]
