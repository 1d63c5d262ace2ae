"""TrainerWorker: an RQ worker that is a whole trainer."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from typing import Any
from urllib.parse import quote, urlencode

import redis
from redis.client import PubSub
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from coordinator.connection import connect
from coordinator.keys import Keys
from coordinator.messages import ID_RULE, is_ai_id
from coordinator.settings import Settings
from workers.agent_process import AgentProcess
from workers.job import TrainerJob
from workers.launch import trainer_environment
from workers.lines import REFUSED_EXIT

log = logging.getLogger("rq.worker")

HEARTBEAT_S = 2
OUTAGE_WAIT_S = 1.0


class TrainerWorker(Worker):
    """``rq worker -w workers.TrainerWorker --name AI_Node_1 coord.ai.AI_Node_1``.

    The name is the AI's id, and its one queue is that AI's own: of a worker with several, RQ loses
    a job when it is killed between taking it and noting it. Jobs carry JSON, never pickles.
    coord's lease decides whether the name is free, not RQ, which would hold it for 8 minutes.
    """

    job_class = TrainerJob
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
        self._ends_s = None if minutes is None else time.monotonic() + minutes * 60
        queue_name = _own_queue(queues, name, self.settings)
        options |= {"serializer": JSONSerializer, "job_class": TrainerJob, "queue_class": Queue}
        options |= {"worker_ttl": 10 * HEARTBEAT_S, "job_monitoring_interval": HEARTBEAT_S}
        options.pop("default_worker_ttl", None)
        super().__init__([queue_name], name, **options)
        self._agent: AgentProcess | None = None
        self._finished: Counter[str] = Counter()
        self._is_refused = False

    @property
    def dequeue_timeout(self) -> int:
        return HEARTBEAT_S

    @property
    def metrics(self) -> dict[str, int]:
        """What this trainer did, over all its agents."""
        total = Counter(self._finished)
        total.update(self._agent.metrics if self._agent else {})
        return dict(total)

    def work(self, *arguments: Any, **options: Any) -> bool:
        """Join the fleet, then work until told to stop, through every outage of the server.

        SystemExit when the fleet does not take us; the agent has said why.
        """
        self._install_signal_handlers()
        try:
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

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline)
        self._look_after_agent()
        if self._ends_s is not None and time.monotonic() >= self._ends_s:
            self._stop_now_or_after_job()

    def get_heartbeat_ttl(self, job: Job) -> int:
        """Seconds after which a job whose worker went silent counts as abandoned."""
        return 3 * HEARTBEAT_S

    def register_birth(self) -> None:
        self.connection.delete(self.key)
        super().register_birth()

    def teardown(self) -> None:
        """The same when the server is away: what it still has of us expires there."""
        try:
            self.register_death()
        except redis.RedisError:
            self.log.warning("Worker %s: could not sign off: the server is away", self.name)
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
            try:
                self.connection.ping()
                return
            except redis.RedisError:
                self._look_after_agent()
                signal.sigtimedwait([], OUTAGE_WAIT_S)

    def _stop_now_or_after_job(self) -> None:
        self._stop_requested = True
        if self.horse_pid == 0:
            raise StopRequested

    def _start_agent(self) -> AgentProcess:
        return AgentProcess(self.name, trainer_environment(url_of(self.connection), self.settings))

    def _look_after_agent(self) -> None:
        """Take its news; start another one when it died, end when the fleet refused it."""
        if self._agent is None or self._is_horse:
            return
        self._agent.take_news()
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


def run_trainer(
    ai_id: str, url: str, settings: Settings, minutes: float | None = None
) -> dict[str, int]:
    """Be the trainer ``ai_id`` until told to stop, or for so many minutes; what it did.

    Raises ServerUnusable for a bad URL, SystemExit when the fleet refuses it.
    """
    worker = TrainerWorker(
        [Keys(settings.namespace).queue(ai_id)],
        ai_id,
        connection=connect(url),
        settings=settings,
        minutes=minutes,
    )
    worker.work(logging_level="WARNING")
    return worker.metrics


def url_of(connection: redis.Redis) -> str:
    """The URL of the server that ``connection`` talks to, with its credentials."""
    pool = connection.connection_pool
    options = pool.connection_kwargs
    login = ""
    if options.get("password"):
        login = f"{quote(options.get('username') or '', '')}:{quote(options['password'], '')}@"
    database = options.get("db") or 0
    if path := options.get("path"):
        return f"unix://{login}{quote(path)}?db={database}"
    place = f"{login}{options.get('host')}:{options.get('port') or 6379}/{database}"
    if not issubclass(pool.connection_class, redis.SSLConnection):
        return f"redis://{place}"
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    given = {name: value for name, value in tls.items() if isinstance(value, str | bool)}
    return f"rediss://{place}?{urlencode(given)}".rstrip("?")


def _own_queue(queues: Any, name: str | None, settings: Settings) -> str:
    """The name of a trainer's one queue. SystemExit with one sentence when it is not that."""
    if not name or not is_ai_id(name):
        raise SystemExit(f"coord: --name must be the AI's id ({ID_RULE}), not {name!r}")
    given = [getattr(queue, "name", queue) for queue in queues]
    own = Keys(settings.namespace).queue(name)
    if given != [own]:
        raise SystemExit(
            f"coord: the trainer {name} works on its own queue alone: give {own}, "
            f"not {' '.join(given)}"
        )
    return own
