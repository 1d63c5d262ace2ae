"""The jobs that a worker takes: those of its one function, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import redis
from rq import Queue
from rq.exceptions import DequeueTimeout, DeserializationError, NoSuchJobError
from rq.job import Job
from rq.utils import as_text

from coordinator.jobs import ENTRY_FUNCTION
from coordinator.messages import one_line
from coordinator.server_errors import is_outage
from coordinator.settings import Settings
from coordinator.validation.jobs import VALIDATION_FUNCTION

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
    """Whose job it is: the AI's id, its settings, and the instance of its agent."""

    ai_id: str
    settings: Settings
    instance: str


class FleetJob(Job):
    """A job that is judged before anything it names is imported: whoever can write a job's hash
    must not choose what runs. ``host`` is set by the worker that takes it.

    Each kind of worker has a kind of job: its ``function``, and what that ``takes``, by type and in
    words.
    """

    function: ClassVar[str]
    takes: ClassVar[list[type]]
    takes_in_words: ClassVar[str]
    role: ClassVar[str]

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
            self._fault = f"it has {hooks[0]}, which no job of a {self.role} has"

    @property
    def refusal(self) -> str:
        """Why it must not be run, in one line; "" for a job of that function."""
        if self._fault:
            return self._fault
        try:
            name, instance, arguments = self.func_name, self.instance, self.args
            keywords = self.kwargs
        except DeserializationError:
            return "its data are not JSON of the form [function, null, [arguments], {}]"
        if name != self.function:
            return one_line(f"{name} is not a function that {self.role}s run")
        if instance is not None or keywords != {} or not self._are_its(arguments):
            return f"{name} takes {self.takes_in_words}, and nothing else"
        return ""

    @property
    def func(self) -> Any:
        if self.refusal:
            raise DeserializationError(self.refusal)
        return super().func

    def _are_its(self, arguments: Any) -> bool:
        """Whether they are of exactly the types that it takes, for JSON."""
        return isinstance(arguments, list) and [type(value) for value in arguments] == self.takes


class TrainerJob(FleetJob):
    """One attempt at a unit."""

    function = ENTRY_FUNCTION
    takes: ClassVar[list[type]] = [str, int]
    takes_in_words = "the id of a unit and the number of an attempt"
    role = "trainer"


class ValidatorJob(FleetJob):
    """One attempt at validating a component as it was when its hash was taken."""

    function = VALIDATION_FUNCTION
    takes: ClassVar[list[type]] = [str, str, str, int]
    takes_in_words = "a kind of record, its id, its hash and the number of an attempt"
    role = "validator"


class FleetQueue(Queue):
    """A queue from which what is no job is dropped, and whose outages are as RQ knows them."""

    @classmethod
    def dequeue_any(
        cls,
        queues: Iterable[Queue],
        timeout: int | None,
        connection: redis.Redis,
        *arguments: Any,
        **options: Any,
    ) -> tuple[Job, Queue] | None:
        """Take the next job."""
        (queue,) = queues
        while True:
            try:
                cls.take_up(queue, connection)
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

    @classmethod
    def take_up(cls, queue: Queue, connection: redis.Redis) -> None:
        """What is done before a job is taken."""


class TrainerQueue(FleetQueue):
    """The queue of one trainer, which alone takes from it."""

    @classmethod
    def take_up(cls, queue: Queue, connection: redis.Redis) -> None:
        """Put the job that was taken and never begun in front, if there is one.

        RQ puts a job aside until its work-horse runs. When the answer gets lost with the
        connection, nobody knows of it: it would lie there for ten minutes, and then be failed.
        """
        connection.lmove(queue.intermediate_queue_key, queue.key, "RIGHT", "LEFT")
