"""The rooms of a worker process: how they are put together, and the order in which they start."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.job.outcome import Interrupted
from spoils.job.registry import Registry
from spoils.models import db
from spoils.queue.claim_scope import COMMON
from spoils.queue.settlement import Token
from spoils.worker.alerts import Alerts
from spoils.worker.application import OWN_CONNECTIONS, application_name, create_worker_app
from spoils.worker.attempt import Attempt
from spoils.worker.dispatcher import Dispatcher
from spoils.worker.forks import Forks
from spoils.worker.in_flight import InFlight
from spoils.worker.maintenance import Maintenance
from spoils.worker.performer import Performer
from spoils.worker.pool import Pool
from spoils.worker.presence import Presence
from spoils.worker.rescuer import Rescuer
from spoils.worker.scheduler import Scheduler
from spoils.worker.settler import Settler
from spoils.worker.timekeeper import Timekeeper
from spoils.worker.watchdog import Performing, Watchdog

log = logging.getLogger("spoils.worker")

LOCK_TIMEOUT_MS = 5_000
"""How long a statement of the worker's own waits for somebody's lock before it fails and is tried again.

Well below what the watchdog bears: an operator's open transaction must not end one worker after the other.
"""


class Rooms:
    """Everything that a worker process is made of. The rooms know each other only by what is handed to them here."""

    def __init__(
        self,
        *,
        settings: Settings,
        registry: Registry,
        database_url: str,
        on_attending: Callable[[], None],
        on_ended: Callable[[], None],
        on_crippled: Callable[[], None],
    ) -> None:
        """`on_attending`: others can see that it lives, and it may claim. `on_ended`: a rescue has ended this worker's
        row. `on_crippled`: half of its threads are lost.
        """
        self.worker_id: UUID = uuid4()
        self.in_flight = InFlight()
        self.stopping = threading.Event()
        self.progress = threading.Event()
        self._settings = settings
        self._on_crippled = on_crippled
        self._settled_at = 0.0
        self._task_types = task_types = _task_types(settings, registry)
        kinds = [job_class.__name__ for job_class in registry if job_class.task_type in task_types]
        app = create_worker_app(settings, database_url=database_url, worker_id=self.worker_id)
        with app.app_context():
            self.sessions = db.engine
        self.engine = make_engine(
            database_url,
            connections=OWN_CONNECTIONS,
            application_name=application_name(self.worker_id),
            autocommit=True,
            by_index=True,
            # Every loop tries again: to ask before each claim would cost a quarter of it.
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
            on_deadline=lambda: self.timekeeper.loop.wake(),
        )
        self.timekeeper = Timekeeper(running=self.performer.running, give_up=self._give_up)
        self.pool = Pool(
            threads=settings.worker_threads,
            perform=self.performer.perform,
            on_room=lambda: self.dispatcher.loop.wake(),
            at_work=self.performer.at_work,
        )
        self.presence = Presence(
            engine=self.engine,
            worker_id=self.worker_id,
            release=settings.release,
            threads=settings.worker_threads,
            task_types=task_types,
            kinds=kinds,
            only_known=settings.shared_with_fang,
            running=lambda: self.pool.busy,
            performing=lambda: [attempt.task_id for attempt in self.performer.running()],
            on_due=lambda seconds: self.dispatcher.due_in(seconds),
            on_dead=lambda dead: self.rescuer.found_dead(dead),
            on_cancelled=self.performer.ask_to_stop,
            on_orders=lambda orders: self.dispatcher.follow(orders),
            on_attending=on_attending,
            on_ended=on_ended,
        )
        self.dispatcher = Dispatcher(
            engine=self.engine,
            worker_id=self.worker_id,
            task_types=task_types,
            kinds=kinds,
            only_known=settings.shared_with_fang,
            pool=self.pool,
            in_flight=self.in_flight,
            attending=self.presence.attending,
            writing=self.settler.writing,
        )
        # Presence and the claim hold a connection each. The third serves settling and housework. Its rooms take turns,
        # so that one of them at a time is in the way of settling, and none waits there for a lock for long.
        turn = threading.Lock()
        self.rescuer = Rescuer(engine=self.engine, turn=turn)
        self.scheduler = Scheduler(
            engine=self.engine, jobs=list(registry), default_zone=settings.cron_timezone, turn=turn
        )
        self.maintenance = Maintenance(
            engine=self.engine, foreign_claim_timeout=settings.foreign_claim_timeout, turn=turn
        )
        self.alerts = Alerts(
            engine=self.engine,
            url=settings.alert_url,
            wait_seconds=settings.alert_wait_seconds,
            turn=turn,
        )
        self.watchdog = Watchdog(
            loops=[self.presence.loop, self.settler.loop, self.dispatcher.loop], performing=self._performing
        )

    def start(self) -> None:
        """Presence first: nothing is claimed before the worker can be seen to live."""
        log.info(
            "Worker pool started: %d threads, task types %s, %d database connections at most",
            self._settings.worker_threads,
            ", ".join(self._task_types),
            self._settings.worker_connections,
            extra={"action": "start", "worker_id": self.worker_id},
        )
        self.presence.loop.start()
        self.settler.loop.start()
        self.pool.start()
        for room in (
            self.dispatcher,
            self.scheduler,
            self.maintenance,
            self.rescuer,
            self.timekeeper,
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
        crippled = self.pool.lost * 2 >= self._settings.worker_threads and self.pool.lost > 1
        if crippled:
            self._on_crippled()  # before anything is logged: even the log may hang
        log.error(
            "Giving up a thread: its job does not end though interrupted",
            extra={"action": "interrupt", "task_id": attempt.task_id},
        )
        if crippled:
            log.error("Half of the threads are lost: this process drains and ends", extra={"action": "stop"})


def _task_types(settings: Settings, registry: Registry) -> list[str]:
    return list(settings.worker_task_types or dict.fromkeys([*registry.task_types(), COMMON]))
