"""FleetWorker: an RQ worker that is a whole AI of the fleet."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

import redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from coordinator.connection import connect, connection_name, redact, unusable, url_of
from coordinator.keys import Keys
from coordinator.messages import ID_RULE, is_ai_id
from coordinator.settings import Settings
from workers.agent_process import AgentProcess
from workers.job import FleetJob, FleetQueue, Host
from workers.launch import check_named_server, worker_environment
from workers.lines import REFUSED_EXIT
from workers.logs import log_as_json, log_to_stderr

log = logging.getLogger("rq.worker")

HEARTBEAT_S = 2
CLEAN_EVERY_S = 5
ANSWER_LIMIT_S = 5
"""Longer than a dequeue waits; short enough that an agent hears of us when the server is frozen."""
OUTAGE_WAIT_S = 1.0
SERVER_MIN = (7, 0, 0)

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class FleetWorker(Worker):
    """What workers of every kind have in common: ``rq worker -w CLASS --name AI_ID QUEUE``.

    The name is the AI's id, and there is one queue: of a worker with several, RQ loses a job when
    it is killed between taking it and noting it. Jobs carry JSON, never pickles. coord's lease
    decides whether the name is free, not RQ, which would hold it for 8 minutes.

    A kind of worker has its kind of jobs and of queue, and the module of its agent.
    """

    job_class: type[FleetJob]
    queue_class: type[FleetQueue]
    queue_in_words: ClassVar[str]
    agent_module: ClassVar[str]
    max_connection_wait_time = 5.0

    def __init__(
        self,
        queues: Any,
        name: str | None = None,
        *,
        settings: Settings | None = None,
        minutes: float | None = None,
        **options: Any,
    ) -> None:
        self.settings = settings or Settings()
        self.keys = Keys(self.settings.namespace)
        self._ends_s = None if minutes is None else time.monotonic() + minutes * 60
        self.ai_id, queue_name = self._own_queue(queues, name)
        check_named_server(options.get("connection"), self.settings)
        options |= {"serializer": JSONSerializer, "job_class": self.job_class}
        options |= {"queue_class": self.queue_class, "maintenance_interval": CLEAN_EVERY_S}
        options |= {"worker_ttl": 10 * HEARTBEAT_S, "job_monitoring_interval": HEARTBEAT_S}
        options.pop("default_worker_ttl", None)
        super().__init__([queue_name], self.rq_name_of(self.keys, self.ai_id), **options)
        self._agent: AgentProcess | None = None
        self._instance = ""
        self._finished: Counter[str] = Counter()
        self._is_refused = False

    @staticmethod
    def queue_of(keys: Keys, ai_id: str) -> str:
        """The name of the one queue that it works on."""
        raise NotImplementedError

    @staticmethod
    def rq_name_of(keys: Keys, ai_id: str) -> str:
        """What RQ knows it by, which tells it from the like of another fleet."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What is done before it joins. SystemExit with one sentence when it should not."""

    @property
    def dequeue_timeout(self) -> int:
        return HEARTBEAT_S

    @property
    def metrics(self) -> dict[str, int]:
        """What it did, over all its agents."""
        total = Counter(self._finished)
        total.update(self._agent.metrics if self._agent else {})
        return dict(total)

    def work(self, *arguments: Any, **options: Any) -> bool:
        """Join the fleet, then work until told to stop, through every outage of the server.

        SystemExit when the fleet does not take us; the agent has said why.
        """
        self._install_signal_handlers()
        if self.settings.log_json:
            log_as_json()
        try:
            self.prepare()
            gc.freeze()  # or the first collection in a work-horse copies all that was loaded
            self._agent = self._start_agent()
            if not self._agent.wait_until_joined():
                raise SystemExit(1)
            worked = self._work_through_outages(*arguments, **options)
        except StopRequested:
            worked = False
        finally:
            self._end_agent()
        if self._is_refused:
            raise SystemExit(1)
        return worked

    def _own_queue(self, queues: Any, name: str | None) -> tuple[str, str]:
        """The AI's id, and the name of its one queue. SystemExit with one sentence when it is not
        that."""
        if not name or not is_ai_id(name):
            raise SystemExit(f"coord: --name must be the AI's id ({ID_RULE}), not {name!r}")
        given = [getattr(queue, "name", queue) for queue in queues]
        own = self.queue_of(self.keys, name)
        if given != [own]:
            raise SystemExit(
                f"coord: the {self.job_class.role} {name} works on {self.queue_in_words} alone: "
                f"give {own}, not {' '.join(given)}"
            )
        return name, own

    # -- jobs --------------------------------------------------------------------------------------

    def execute_job(self, job: FleetJob, queue: Queue) -> None:  # type: ignore[override]
        """Run a job of its kind; refuse all else."""
        try:
            if job.refusal:
                self._refuse(job, queue)
            else:
                super().execute_job(job, queue)
        except redis.RedisError as error:
            self.log.warning("Worker %s: job %s: %s", self.name, job.id, error)

    def main_work_horse(self, job: FleetJob, queue: Queue) -> NoReturn:  # type: ignore[override]
        """As a forked process: it ends with its worker, and knows whose work it does."""
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != self.pid:
            os._exit(1)  # it ended before prctl, which then sends nothing
        job.host = Host(self.ai_id, self.settings, self._instance)
        super().main_work_horse(job, queue)
        os._exit(0)

    def _refuse(self, job: FleetJob, queue: Queue) -> None:
        self.log.warning("Worker %s: job %s is not run: %s", self.name, job.id, job.refusal)
        self.handle_job_failure(job, queue, exc_string=job.refusal)
        self.connection.lrem(queue.intermediate_queue_key, 0, job.id)

    def get_heartbeat_ttl(self, job: Job) -> int:
        """Seconds after which a job whose worker went silent counts as abandoned."""
        return 3 * HEARTBEAT_S

    # -- what RQ notes of a worker, for people to see: an outage is no reason to end for -----------

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        if self._is_horse:
            super().heartbeat(timeout, pipeline)
            return
        self._look_after_agent()
        with suppress(redis.RedisError):
            super().heartbeat(timeout, pipeline)
        if self._ends_s is not None and time.monotonic() >= self._ends_s:
            self._stop_now_or_after_job()

    def maintain_heartbeats(self, job: Job) -> None:
        """RQ itself would let a work-horse that hangs live 60 s longer."""
        if job.timeout and 0 < job.timeout < self.current_job_working_time:
            self.kill_horse()
        with suppress(redis.RedisError):
            super().maintain_heartbeats(job)

    def set_current_job_working_time(
        self, current_job_working_time: float, pipeline: Any = None
    ) -> None:
        self._look_after_agent()
        with suppress(redis.RedisError):
            super().set_current_job_working_time(current_job_working_time, pipeline)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        with suppress(redis.RedisError):
            super().set_state(state, pipeline)

    def set_shutdown_requested_date(self) -> None:
        with suppress(redis.RedisError):
            super().set_shutdown_requested_date()

    def check_for_suspension(self, burst: bool) -> None:
        with suppress(redis.RedisError):
            super().check_for_suspension(burst)

    def run_maintenance_tasks(self) -> None:
        """Of what RQ does here: no job of ours is in a group, and none is scheduled by RQ."""
        with suppress(redis.RedisError):
            self.clean_registries()

    # -- the server --------------------------------------------------------------------------------

    @property
    def connection_timeout(self) -> int:
        return ANSWER_LIMIT_S

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        """One that neither waits long nor sends anything twice by itself, and is called as we are;
        those that RQ has opened already are not."""
        pool = connection.connection_pool
        pool.connection_kwargs["socket_timeout"] = self.connection_timeout
        pool.connection_kwargs["client_name"] = connection_name(self.ai_id)
        pool.disconnect()
        pool.reset()
        connection.set_retry(Retry(NoBackoff(), 0))
        # RQ would ask by INFO, which an AI's own user may not; all that coord runs on have LMOVE.
        setattr(connection, "__rq_redis_server_version", SERVER_MIN)
        return connection

    def _set_ip_address(self, connection: redis.Redis) -> None:
        """RQ would find it in CLIENT LIST, which tells of everybody."""
        self.ip_address = "unknown"

    def register_birth(self) -> None:
        self.connection.delete(self.key)
        super().register_birth()

    def teardown(self) -> None:
        """The same when the server is away: what it still has of us expires there."""
        try:
            self.register_death()
        except redis.RedisError as error:
            self.log.warning("Worker %s: could not sign off: %s", self.name, error)
        try:
            self.unsubscribe()
        except redis.RedisError:
            self.log.debug("Worker %s: could not unsubscribe", self.name)

    def _pubsub_exception_handler(self, exc: Exception, pubsub: PubSub, pubsub_thread: Any) -> None:
        if isinstance(exc, redis.TimeoutError):
            exc = redis.ConnectionError(str(exc))
        super()._pubsub_exception_handler(exc, pubsub, pubsub_thread)

    def _work_through_outages(self, *arguments: Any, **options: Any) -> bool:
        worked = False
        while True:
            try:
                worked = super().work(*arguments, **options) or worked
            except redis.RedisError as error:
                self.log.warning("Worker %s: %s", self.name, error)
            wanted = options.get("burst") or options.get("max_jobs") or options.get("max_idle_time")
            if wanted or self.is_stopping:
                return worked
            self.log.warning("Worker %s: working again after an outage", self.name)
            self._wait_for_server()

    @property
    def is_stopping(self) -> bool:
        return self._stop_requested or self._shutdown_requested_date is not None

    def _wait_for_server(self) -> None:
        while not self.is_stopping:
            self._look_after_agent()
            signal.sigtimedwait([], OUTAGE_WAIT_S)
            with suppress(redis.RedisError):
                self.connection.ping()
                return

    def _stop_now_or_after_job(self) -> None:
        self._stop_requested = True
        if self.horse_pid == 0:
            raise StopRequested

    # -- the agent ---------------------------------------------------------------------------------

    def _start_agent(self) -> AgentProcess:
        environment = worker_environment(url_of(self.connection), self.settings)
        return AgentProcess(self.agent_module, self.ai_id, environment)

    def _look_after_agent(self) -> None:
        """Tell it that we are there, and take its news; start another one when it died, end when
        the fleet refused it."""
        if self._agent is None or self._is_horse:
            return
        self._agent.ping()
        self._agent.take_news()
        self._instance = self._agent.instance or self._instance
        exit_code = self._agent.exit_code
        if exit_code is None:
            return
        self._finished.update(self._agent.metrics)
        self._agent = None
        if exit_code == REFUSED_EXIT:
            self._is_refused = True
            self._stop_now_or_after_job()
        elif not self.is_stopping:
            self.log.warning(
                "Worker %s: its agent ended (%s); another starts", self.name, exit_code
            )
            self._agent = self._start_agent()

    def _end_agent(self) -> None:
        if self._agent is not None:
            self._agent.stop()
            self._finished.update(self._agent.metrics)
            self._agent = None


def run_worker(
    kind: type[FleetWorker], ai_id: str, url: str, settings: Settings, minutes: float | None
) -> dict[str, int]:
    """Be that worker until told to stop, or for so many minutes; what it did.

    Raises ServerUnusable when there is no such server, SystemExit when the fleet refuses it.
    """
    connection = connect(url)
    worker = kind(
        [kind.queue_of(Keys(settings.namespace), ai_id)],
        ai_id,
        connection=connection,
        settings=settings,
        minutes=minutes,
    )
    try:
        connection.ping()
    except redis.RedisError as error:
        raise unusable(f"the server at {redact(url)}", error) from error
    # Else RQ would log to standard output, which is for what the command prints.
    log_to_stderr(settings.log_json)
    worker.work(logging_level="WARNING")
    return worker.metrics
