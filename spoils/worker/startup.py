"""The parts of a worker process: how they are connected, and the order in which they start."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID, uuid4

from sqlalchemy.exc import SQLAlchemyError

from spoils.config import OTHERS, Settings
from spoils.db.engine import make_engine, transaction
from spoils.job import Job
from spoils.job.definition import is_async
from spoils.job.outcome import Interrupted
from spoils.job.registry import Registry
from spoils.job.schema import schema_digest
from spoils.models import db
from spoils.queue.claim_scope import COMMON
from spoils.queue.limits import publish, repair
from spoils.queue.settlement import Token
from spoils.worker.alert_delivery import AlertDelivery
from spoils.worker.async_attempt import AsyncAttempt
from spoils.worker.attempt import Attempt
from spoils.worker.dispatcher import Dispatcher, Lane
from spoils.worker.event_loop import EventLoop
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
        self.settled = 0
        """How many outcomes were written."""
        self._session_connections = settings.worker_connections - OWN_CONNECTIONS
        self._stuck: list[AsyncAttempt] = []  # given up, and still in a thread with their session
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
            async_sessions=self._session_connections,
            step_engine=self.engine,
            others_differ=lambda: self.heartbeat.others_differ,
        )
        self.job_deadlines = JobDeadlines(running=self.performer.running, give_up=self._give_up)
        self.pool = self._make_pool(settings.worker_threads[OTHERS])
        async_classes = [job_class for job_class in registry if is_async(job_class)]
        async_types = {job_class.task_type for job_class in async_classes} - {COMMON}
        async_kinds = [job_class.__name__ for job_class in async_classes]
        kinds = [name for name in job_classes if name not in async_kinds]
        self._thread_pools = {
            name: self._make_pool(threads)
            for name, threads in settings.worker_threads.items()
            if name in task_types and name not in async_types
        }
        # Rows of the type `common` may be of any class, so one lane of threads has the classes: that of the type.
        lanes = [
            Lane(
                pool=self.pool,
                task_types=[name for name in task_types if name not in {*async_types, *self._thread_pools}],
                kinds=[] if COMMON in self._thread_pools else kinds,
            )
        ]
        for name, pool in self._thread_pools.items():
            lanes.append(Lane(pool=pool, task_types=[name], kinds=kinds if name == COMMON else []))
        self.event_loop: EventLoop | None = None
        own_types = [name for name in task_types if name == COMMON or name in async_types]
        if async_classes and own_types:
            self.event_loop = EventLoop(
                places=settings.worker_async_jobs,
                perform=self.performer.perform_async,
                on_room=lambda: self.dispatcher.loop.wake(),
            )
            lanes.append(Lane(pool=self.event_loop, task_types=own_types, kinds=async_kinds))
        self.pools = [lane.pool for lane in lanes]
        in_child = [self.event_loop.leave_to_parent] if self.event_loop else []
        self.forks = Forks(self.engine, self.sessions, in_child=in_child)
        self.heartbeat = Heartbeat(
            engine=self.engine,
            worker_id=self.worker_id,
            release=settings.release,
            capacity=sum(pool.size for pool in self.pools),
            task_types=task_types,
            job_classes=job_classes,
            running=lambda: sum(pool.busy for pool in self.pools),
            performing=lambda: [attempt.task_id for attempt in self.performer.running()],
            on_due=lambda seconds: self.dispatcher.due_in(seconds),
            on_dead=lambda dead: self.rescuer.found_dead(dead),
            on_cancelled=self.performer.ask_to_stop,
            on_orders=lambda orders: self.dispatcher.follow(orders),
            take_outputs=self.performer.take_outputs,
            before_entering=lambda: self._publish_limits(list(registry)),
            on_registered=on_registered,
            on_ended=on_ended,
        )
        self.dispatcher = Dispatcher(
            engine=self.engine,
            worker_id=self.worker_id,
            task_types=task_types,
            kinds=list(job_classes),
            lanes=lanes,
            in_flight=self.in_flight,
            registered=self.heartbeat.registered,
            writing=self.settler.writing,
            on_schedules_changed=lambda: self.scheduler.loop.wake(),
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
            jobs=list(registry),
        )
        self.alerts = AlertDelivery(
            engine=self.engine,
            url=settings.alert_url,
            dashboard_url=settings.dashboard_url,
            wait_seconds=settings.alert_wait_seconds,
            turn=turn,
        )
        self.watchdog = Watchdog(
            loops=[self.heartbeat.loop, self.settler.loop, self.dispatcher.loop], performing=self._performing
        )

    def start(self) -> None:
        """The heartbeat first: nothing is claimed before other workers can see that this one is alive."""
        log.info(
            "Worker pool started: %s%s, task types %s, %d database connections at most",
            _threads_in_words(self._settings.worker_threads),
            f", {self.event_loop.size} async jobs at a time" if self.event_loop else "",
            ", ".join(self._task_types),
            self._settings.worker_connections,
            extra={"action": "start", "worker_id": self.worker_id},
        )
        self.heartbeat.loop.start()
        self.settler.loop.start()
        for pool in self.pools:
            pool.start()
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

    def _make_pool(self, threads: int) -> Pool:
        return Pool(
            threads=threads,
            perform=self.performer.perform,
            on_room=lambda: self.dispatcher.loop.wake(),
            at_work=self.performer.at_work,
        )

    def _pool_of(self, task_type: str) -> Pool:
        return self._thread_pools.get(task_type, self.pool)

    def stop_claiming(self) -> None:
        """Claim nothing more, and release what no thread has begun."""
        self.heartbeat.draining = True
        self.dispatcher.loop.stop(1.0)
        try:
            self.dispatcher.release_unstarted()
        except SQLAlchemyError as exc:
            log.warning("Failed to release jobs that had not started: %s", exc, extra={"action": "release"})

    def _performing(self) -> Performing:
        in_job = self.performer.in_job
        return Performing(
            moved_at=max(self._settled_at, *(pool.moved_at for pool in self.pools)),
            waiting=len(self.in_flight) - len(self.in_flight.again()) - in_job - self.settler.waiting,
            free=sum(pool.size for pool in self.pools) - in_job,
            blocked_seconds=self.event_loop.blocked_seconds if self.event_loop else 0.0,
        )

    def _settled(self, tokens: Sequence[Token]) -> None:
        self._settled_at = time.monotonic()
        self.settled += len(tokens)
        self.in_flight.drop(tokens)
        self.progress.set()
        self.dispatcher.loop.wake()

    def _publish_limits(self, job_classes: Sequence[type[Job]]) -> None:
        with transaction(self.engine) as connection:
            publish(connection, job_classes)
            repair(connection, task_types=self._task_types)

    def _give_up(self, attempt: Attempt, error: Interrupted) -> None:
        self.performer.give_up(attempt, error)
        pool: Pool | EventLoop
        if self.event_loop and isinstance(attempt, AsyncAttempt):
            pool, what = self.event_loop, "async jobs"
            pool.replace(attempt.claim.token)
            self._stuck = [one for one in (*self._stuck, attempt) if one.in_thread]
        else:
            pool, what = self._pool_of(attempt.claim.task_type), "threads"
            pool.replace(attempt.thread)
        half = pool.lost * 2 >= pool.size and pool.lost > 1
        too_few = half or len(self._stuck) >= self._session_connections
        if too_few:
            self._on_threads_lost()  # before logging, which may hang
        log.error(
            "Abandoning one of the %s: its job ignores the interruption",
            what,
            extra={"action": "interrupt", "task_id": attempt.task_id},
        )
        if too_few:
            lost = f"Half of the {what}" if half else "All sessions of async jobs"
            log.error("%s are lost; draining and exiting", lost, extra={"action": "stop"})


def _threads_in_words(threads: Mapping[str, int]) -> str:
    own = [f"{number} for {name}" for name, number in threads.items() if name != OTHERS]
    return f"{threads[OTHERS]} threads" + (f" and {', '.join(own)}" if own else "")


def _task_types(settings: Settings, registry: Registry) -> list[str]:
    return list(settings.worker_task_types or dict.fromkeys([*registry.task_types(), COMMON]))
