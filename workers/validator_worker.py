"""ValidatorWorker: an RQ worker that measures what others share."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import NoPermissionError
from rq import Queue
from rq.job import Job
from rq.utils import current_timestamp, now
from rq.worker_registration import clean_worker_registry

from coordinator.enrolled import read_access
from coordinator.errors import CoordError
from coordinator.keys import Keys
from coordinator.settings import Settings
from workers.fleet_worker import FleetWorker, run_worker
from workers.job import FleetQueue, ValidatorJob
from workers.sandbox import NoRung, find_rung
from workers.validate import run_validation
from workers.validation import validation_seed

LOADED_BEFORE_FORKING = (run_validation,)
"""What work-horses need, the problems' traces and all: imported by the process that forks them."""


class ValidatorWorker(FleetWorker):
    """``rq worker -w workers.ValidatorWorker --name Validator_1 coord.validation``.

    All validators of a fleet take from one queue. What one of them left undone is put there again
    by the coordinator, so none touches another's jobs, nor what RQ notes of them.
    """

    job_class = ValidatorJob
    queue_class = FleetQueue
    queue_in_words = "the queue of validations"
    agent_module = "workers.validator_agent"

    @staticmethod
    def queue_of(keys: Keys, ai_id: str) -> str:
        return keys.validation_queue

    @staticmethod
    def rq_name_of(keys: Keys, ai_id: str) -> str:
        return keys.validator(ai_id)

    def prepare(self) -> None:
        """Say what it will run components in. SystemExit if it was not enrolled for this.

        The sandbox is looked for once, here, and its work-horses have what was found.
        """
        sys.stderr.write(f"coord: {self.ai_id} {_sandbox()}\n")
        try:
            validation_seed(self.settings)
        except CoordError as error:
            raise SystemExit(f"coord: {error}") from None
        self._check_role()

    def monitor_work_horse(self, job: Job, queue: Queue) -> None:
        """Wait for its end, and count it; who is told to stop meanwhile stops after this."""
        super().monitor_work_horse(job, queue)
        with suppress(redis.RedisError):
            self.connection.lrem(queue.intermediate_queue_key, 0, job.id)
            self._finished[outcome_of(job.return_value(refresh=True))] += 1

    def clean_registries(self) -> None:
        """Drop what RQ notes of jobs and workers that are no more; no job fails by this."""
        for queue in self.queues:
            started = queue.started_job_registry.key
            self.connection.zremrangebyscore(started, 0, current_timestamp())
            queue.finished_job_registry.cleanup()
            queue.failed_job_registry.cleanup()
            clean_worker_registry(queue)
            for name in queue.intermediate_queue.get_job_ids():
                if not self.connection.exists(Job.key_for(name)):
                    queue.intermediate_queue.remove(name)
        self.last_cleaned_at = now()  # type: ignore[assignment]

    def _check_role(self) -> None:
        """A user of the server that may not look is told by the coordinator's refusals."""
        while True:
            try:
                access = read_access(self.connection, self.keys, self.ai_id)
                break
            except NoPermissionError:
                return
            except redis.RedisError:
                self._wait_for_server()
        if access is None or not access.is_validator:
            raise SystemExit(
                f"coord: {self.ai_id} is not enrolled as a validator, and nobody would believe it:"
                f" run `coord enroll {self.ai_id} --role validator` once"
            )


def outcome_of(told: dict[str, Any] | None) -> str:
    """The verdict; ``skipped`` for a run that came to none, ``died`` for one that said nothing."""
    return "died" if told is None else told.get("verdict", "skipped")


def _sandbox() -> str:
    try:
        return f"runs components in {find_rung().describe()}"
    except NoRung as error:
        return f"runs no component, and all stay not validated: {error.detail}"


def run_validator(
    ai_id: str, url: str, settings: Settings, minutes: float | None = None
) -> dict[str, int]:
    """Be the validator ``ai_id`` until told to stop, or for so many minutes; what it did.

    Raises ServerUnusable when there is no such server, SystemExit when the fleet refuses it.
    """
    return run_worker(ValidatorWorker, ai_id, url, settings, minutes)
