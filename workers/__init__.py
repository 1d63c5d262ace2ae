"""Trainers: AIs that learn and share what they learned."""

from workers.worker import TrainerWorker

__all__ = ["TrainerWorker"]
