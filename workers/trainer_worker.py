"""TrainerWorker: an RQ worker that is a whole trainer."""

from __future__ import annotations

import math

from rq.registry import clean_registries
from rq.utils import now
from rq.worker_registration import clean_worker_registry

from coordinator.keys import Keys
from coordinator.settings import Settings
from workers.entry import run_unit
from workers.fleet_worker import FleetWorker, run_worker
from workers.job import TrainerJob, TrainerQueue
from workers.skills.registry import load_skills

LOADED_BEFORE_FORKING = (run_unit,)
"""What work-horses need, numpy and all: imported once, by the process that forks them."""


class TrainerWorker(FleetWorker):
    """``rq worker -w workers.TrainerWorker --name AI_Node_1 coord.ai.AI_Node_1``.

    Its one queue is that AI's own, by whose name RQ knows it too.
    """

    job_class = TrainerJob
    queue_class = TrainerQueue
    queue_in_words = "its own queue"
    agent_module = "workers.trainer_agent"

    @staticmethod
    def queue_of(keys: Keys, ai_id: str) -> str:
        return keys.queue(ai_id)

    @staticmethod
    def rq_name_of(keys: Keys, ai_id: str) -> str:
        return keys.queue(ai_id)

    def prepare(self) -> None:
        load_skills()

    def clean_registries(self) -> None:
        """Fail the jobs that were begun and not ended: nobody else works on this queue, and no
        work-horse of ours runs while this does. RQ itself would wait, and look every 10 minutes."""
        for queue in self.queues:
            queue.started_job_registry.cleanup(math.inf)
            clean_registries(queue)
            clean_worker_registry(queue)
            queue.intermediate_queue.cleanup(self, queue)
        self.last_cleaned_at = now()  # type: ignore[assignment]


def run_trainer(
    ai_id: str, url: str, settings: Settings, minutes: float | None = None
) -> dict[str, int]:
    """Be the trainer ``ai_id`` until told to stop, or for so many minutes; what it did.

    Raises ServerUnusable when there is no such server, SystemExit when the fleet refuses it.
    """
    return run_worker(TrainerWorker, ai_id, url, settings, minutes)
