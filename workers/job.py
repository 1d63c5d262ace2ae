"""The jobs a trainer takes: those that run a unit, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import redis
from rq import Queue
from rq.exceptions import DequeueTimeout, DeserializationError, NoSuchJobError
from rq.job import Job
from rq.utils import as_text

from coordinator.jobs import ENTRY_FUNCTION
from coordinator.messages import one_line
from coordinator.server_errors import is_outage
from coordinator.settings import Settings

log = logging.getLogger("rq.worker")

HOOKS = {
    "success_callback_name": "a callback",
    "failure_callback_name": "a callback",
    "stopped_callback_name": "a callback",
    "webhooks": "webhooks",
}
"""Fields of a job's hash that make RQ import what they name, or call its URL."""
REPEATS = ("retries_left", "number_of_retries", "repeats_left")
"""Fields by which RQ would run a job again; that is the coordinator's affair."""


class Host(NamedTuple):
    """Whose job it is: the trainer's id, its settings, and the instance of its agent."""

    ai_id: str
    settings: Settings
    instance: str


class TrainerJob(Job):
    """A job that is judged before anything it names is imported: whoever can write a job's hash
    must not choose what runs. ``host`` is set by the worker that takes it."""

    host: Host
    _fault = ""

    def restore(self, raw_data: Any) -> None:
        """Read all but what RQ would act upon; a record that cannot be read is refused later."""
        fields = {as_text(name): value for name, value in raw_data.items()}
        hooks = [what for name, what in HOOKS.items() if fields.pop(name, b"") not in (b"", b"[]")]
        for name in REPEATS:
            fields.pop(name, None)
        try:
            super().restore(fields)
        except NoSuchJobError:
            raise
        except Exception as error:  # RQ checks nothing: whatever it stumbled over
            self._fault = one_line(f"its record cannot be read: {error}")
        if hooks:
            self._fault = f"it has {hooks[0]}, which no job of a trainer has"

    @property
    def refusal(self) -> str:
        """Why it must not be run, in one line; "" for a job that runs a unit."""
        if self._fault:
            return self._fault
        try:
            name, instance, arguments = self.func_name, self.instance, self.args
            keywords = self.kwargs
        except DeserializationError:
            return "its data are not JSON of the form [function, null, [arguments], {}]"
        if name != ENTRY_FUNCTION:
            return one_line(f"{name} is not a function that trainers run")
        if instance is not None or keywords != {} or not _is_call(arguments):
            return f"{name} takes the id of a unit and the number of an attempt, and nothing else"
        return ""

    @property
    def func(self) -> Any:
        if self.refusal:
            raise DeserializationError(self.refusal)
        return super().func


class TrainerQueue(Queue):
    """The queue of one trainer, which alone takes from it."""

    @classmethod
    def dequeue_any(
        cls,
        queues: Iterable[Queue],
        timeout: int | None,
        connection: redis.Redis,
        *arguments: Any,
        **options: Any,
    ) -> tuple[Job, Queue] | None:
        """Take the next job; first the one that was taken and never begun, if there is one.

        RQ puts a job aside until its work-horse runs. When the answer gets lost with the
        connection, nobody knows of it: it would lie there for ten minutes, and then be failed.
        """
        (queue,) = queues
        while True:
            try:
                connection.lmove(queue.intermediate_queue_key, queue.key, "RIGHT", "LEFT")
                return super().dequeue_any([queue], timeout, connection, *arguments, **options)
            except DequeueTimeout:
                raise
            except Exception as error:
                if isinstance(error, redis.RedisError) and is_outage(error):
                    # The one kind of error that RQ waits for the end of.
                    raise redis.ConnectionError(str(error)) from error
                if connection.rpop(queue.intermediate_queue_key) is None:
                    raise
                log.warning("Queue %s: what is no job is dropped: %s", queue.name, error)


def _is_call(arguments: Any) -> bool:
    """Whether they are a unit's id and an attempt's number: exactly their types, for JSON."""
    return isinstance(arguments, list) and [type(value) for value in arguments] == [str, int]
