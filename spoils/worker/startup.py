"""The parts of a worker process: how they are connected, and the order in which they start."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.job.outcome import Interrupted
from spoils.job.registry import Registry
from spoils.job.schema import schema_digest
from spoils.models import db
from spoils.queue.claim_scope import COMMON
from spoils.queue.settlement import Token
from spoils.worker.alert_delivery import AlertDelivery
from spoils.worker.attempt import Attempt
from spoils.worker.dispatcher import Dispatcher
from spoils.worker.forks import Forks
from spoils.worker.heartbeat import Heartbeat
from spoils.worker.in_flight import InFlight
from spoils.worker.job_deadlines import JobDeadlines
from spoils.worker.maintenance import Maintenance
from spoils.worker.performer import Performer
from spoils.worker.pool import Pool
from spoils.worker.rescuer import Rescuer
from spoils.worker.scheduler import Scheduler
from spoils.worker.settler import Settler
from spoils.worker.watchdog import Performing, Watchdog
from spoils.worker.worker_application import OWN_CONNECTIONS, application_name, create_worker_app

log = logging.getLogger("spoils.worker")

LOCK_TIMEOUT_MS = 5_000
"""How long the worker's own statements wait for a lock before they fail and are tried again.

Well below the watchdog's limit: an operator's open transaction must not end one worker after another.
"""


class WorkerParts:
    """All parts of a worker process. They know each other only by the callables that are passed here."""

    def __init__(
        self,
        *,
        settings: Settings,
        registry: Registry,
        database_url: str,
        on_registered: Callable[[], None],
        on_ended: Callable[[], None],
        on_threads_lost: Callable[[], None],
    ) -> None:
        """`on_registered`: other workers can see that this one is alive. `on_ended`: a rescue has ended its row.
        `on_threads_lost`: half of its threads are lost.
        """
        self.worker_id: UUID = uuid4()
        self.in_flight = InFlight()
        self.stopping = threading.Event()
        self.progress = threading.Event()
        self._settings = settings
        self._on_threads_lost = on_threads_lost
        self._settled_at = 0.0
        self._task_types = task_types = _task_types(settings, registry)
        job_classes = {job_class.__name__: schema_digest(job_class) for job_class in registry}
        app = create_worker_app(settings, database_url=database_url, worker_id=self.worker_id)
        with app.app_context():
            self.sessions = db.engine
        self.engine = make_engine(
            database_url,
            connections=OWN_CONNECTIONS,
            application_name=application_name(self.worker_id),
            autocommit=True,
            by_index=True,
            # Every loop tries again, and a ping before each claim would cost a quarter of it.
            ping=False,
            lock_timeout_ms=LOCK_TIMEOUT_MS,
        )
        self.forks = Forks(self.engine, self.sessions)

        self.settler = Settler(
            engine=self.engine,
            worker_id=self.worker_id,
            release=settings.release,
            on_settled=self._settled,
        )
        self.performer = Performer(
            app=app,
            engine=self.sessions,
            registry=registry,
            worker_id=self.worker_id,
            stopping=self.stopping,
            hand_over=self.settler.hand_over,
            drop=lambda token: self._settled([token]),
            on_deadline=lambda: self.job_deadlines.loop.wake(),
            others_differ=lambda: self.heartbeat.others_differ,
        )
        self.job_deadlines = JobDeadlines(running=self.performer.running, give_up=self._give_up)
        self.pool = Pool(
            threads=settings.worker_threads,
            perform=self.performer.perform,
            on_room=lambda: self.dispatcher.loop.wake(),
            at_work=self.performer.at_work,
        )
        self.heartbeat = Heartbeat(
            engine=self.engine,
            worker_id=self.worker_id,
            release=settings.release,
            threads=settings.worker_threads,
            task_types=task_types,
            job_classes=job_classes,
            running=lambda: self.pool.busy,
            performing=lambda: [attempt.task_id for attempt in self.performer.running()],
            on_due=lambda seconds: self.dispatcher.due_in(seconds),
            on_dead=lambda dead: self.rescuer.found_dead(dead),
            on_cancelled=self.performer.ask_to_stop,
            on_orders=lambda orders: self.dispatcher.follow(orders),
            on_registered=on_registered,
            on_ended=on_ended,
        )
        self.dispatcher = Dispatcher(
            engine=self.engine,
            worker_id=self.worker_id,
            task_types=task_types,
            kinds=list(job_classes),
            pool=self.pool,
            in_flight=self.in_flight,
            registered=self.heartbeat.registered,
            writing=self.settler.writing,
        )
        # The heartbeat and the claim hold a connection each. The third serves settling and the background loops, which
        # take turns, so that only one of them at a time delays settling.
        turn = threading.Lock()
        self.rescuer = Rescuer(engine=self.engine, turn=turn)
        self.scheduler = Scheduler(
            engine=self.engine, jobs=list(registry), default_zone=settings.cron_timezone, turn=turn
        )
        self.maintenance = Maintenance(
            engine=self.engine,
            worker_id=self.worker_id,
            task_types=task_types,
            shared_with_fang=settings.shared_with_fang,
            foreign_claim_timeout=settings.foreign_claim_timeout,
            turn=turn,
        )
        self.alerts = AlertDelivery(
            engine=self.engine,
            url=settings.alert_url,
            wait_seconds=settings.alert_wait_seconds,
            turn=turn,
        )
        self.watchdog = Watchdog(
            loops=[self.heartbeat.loop, self.settler.loop, self.dispatcher.loop], performing=self._performing
        )

    def start(self) -> None:
        """The heartbeat first: nothing is claimed before other workers can see that this one is alive."""
        log.info(
            "Worker pool started: %d threads, task types %s, %d database connections at most",
            self._settings.worker_threads,
            ", ".join(self._task_types),
            self._settings.worker_connections,
            extra={"action": "start", "worker_id": self.worker_id},
        )
        self.heartbeat.loop.start()
        self.settler.loop.start()
        self.pool.start()
        for room in (
            self.dispatcher,
            self.scheduler,
            self.maintenance,
            self.rescuer,
            self.job_deadlines,
            self.alerts,
        ):
            room.loop.start()
        self.watchdog.start()

    def _performing(self) -> Performing:
        in_job = self.performer.in_job
        return Performing(
            moved_at=max(self.pool.moved_at, self._settled_at),
            waiting=len(self.in_flight) - len(self.in_flight.again()) - in_job - self.settler.waiting,
            free=self._settings.worker_threads - in_job,
        )

    def _settled(self, tokens: Sequence[Token]) -> None:
        self._settled_at = time.monotonic()
        self.in_flight.drop(tokens)
        self.progress.set()
        self.dispatcher.loop.wake()

    def _give_up(self, attempt: Attempt, error: Interrupted) -> None:
        self.performer.give_up(attempt, error)
        self.pool.replace(attempt.thread)
        too_few = self.pool.lost * 2 >= self._settings.worker_threads and self.pool.lost > 1
        if too_few:
            self._on_threads_lost()  # before logging, which may hang
        log.error(
            "Abandoning a thread: its job ignores the interruption",
            extra={"action": "interrupt", "task_id": attempt.task_id},
        )
        if too_few:
            log.error("Half of the threads are lost; draining and exiting", extra={"action": "stop"})


def _task_types(settings: Settings, registry: Registry) -> list[str]:
    return list(settings.worker_task_types or dict.fromkeys([*registry.task_types(), COMMON]))
