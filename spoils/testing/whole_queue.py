"""Performs what is due in a database, and shows what waits there."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Connection, any_, case, func, select

from spoils.client import Client
from spoils.client.client import default_client
from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.errors import SettingError, SpoilsError
from spoils.job import Job
from spoils.job.registry import registry
from spoils.models import LIMITED, WAITING, Parked, Task
from spoils.queue import worker_rows
from spoils.queue.actions import act
from spoils.queue.claim import Claim, claim
from spoils.queue.claim_limited import claim_limited
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.claim_scope import COMMON, LEVELS, SUSPECT_CRASHES, known_here, types, waits
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement
from spoils.testing.recorder import NEEDS_DATABASE, Performed, Recorder, recording
from spoils.worker.worker_application import application_name

AnyJob = TypeVar("AnyJob", bound=Job)


def drain(client: Client | None = None, *, scheduled: bool = False, limit: int = 1000) -> list[Performed]:
    """Perform every job that is due, also those that they enqueue and retries that fall due; in the order of a worker.

    With `scheduled` also those that are scheduled for later, each as soon as nothing else is due. Returns what each
    attempt did. Raises SpoilsError after `limit` attempts: a job may enqueue itself without end.
    """
    settings = Settings.from_env()
    client = client or _client_of(settings)
    worker_id = uuid4()
    engine = make_engine(
        client._url, connections=1, application_name=application_name(worker_id), autocommit=True
    )
    done: list[Performed] = []
    try:
        with (
            engine.connect() as connection,
            _registered(connection, worker_id),
            recording(Recorder, settings, client._url, worker_id) as performer,
        ):
            while claimed := _claim(connection, worker_id, client, scheduled=scheduled):
                done.append(performer.performed(claimed))
                _settle(connection, worker_id, performer.take_settlements(), settings.release)
                if len(done) == limit:
                    raise SpoilsError(
                        f"drain performed {limit} attempts: does a job enqueue itself? Else pass limit=…"
                    )
    finally:
        engine.dispose()
    return done


def enqueued(job_class: type[AnyJob], *, client: Client | None = None) -> list[AnyJob]:
    """The jobs of a class that wait, those that are due first at the beginning."""
    client = client or _client_of(Settings.from_env())
    statement = (
        select(Task.payload)
        .where(Task.payload["type"].astext == job_class.__name__, Task.state.in_(WAITING))
        .order_by(Task.scheduled_at, Task.id)
    )
    with client._engine.begin() as connection:
        # The class itself says what it reads from a row, so that is what comes back.
        return [_read(job_class, payload) for payload in connection.scalars(statement)]


def _read(job_class: type[AnyJob], payload: dict[str, Any]) -> AnyJob:
    job = job_class.from_wire(json.dumps(payload))
    assert isinstance(job, job_class)  # noqa: S101 - for the type checker
    return job


def _client_of(settings: Settings) -> Client:
    # Never the development database, whose jobs would be performed.
    if settings.database_url is None:
        raise SettingError(f"There is no database: {NEEDS_DATABASE}.")
    return default_client()


@contextmanager
def _registered(connection: Connection, worker_id: UUID) -> Iterator[None]:
    """Only a worker that has a row may claim."""
    values = {
        "id": worker_id,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "release": "testing",
        "task_types": _task_types(),
        "threads": 1,
    }
    worker_rows.enter(connection, values)
    try:
        yield
    finally:
        worker_rows.leave(connection, worker_id)


def _claim(connection: Connection, worker_id: UUID, client: Client, *, scheduled: bool) -> Claim | None:
    """The next job. One at a time: what a job enqueues may come before what waits already."""
    found = _next(connection) or (_bring_forward(connection, client) if scheduled else None)
    if found is None:
        return None
    task_type, key = found
    if key is not None:
        return _claim_limited(connection, worker_id, task_type, key)
    claims, _ = claim(
        connection,
        worker_id=worker_id,
        scan=ClaimScan([task_type]),  # a new one each time looks at all that waits
        kinds=_kinds(),
        limit=1,
    )
    return next(iter(claims), None)


def _claim_limited(connection: Connection, worker_id: UUID, task_type: str, key: str) -> Claim | None:
    """Only one runs at a time here, so that no limit but that of a rate could keep it: none does."""
    while True:
        claims, _, _, busy = claim_limited(
            connection,
            worker_id=worker_id,
            task_types=[task_type],
            kinds=_kinds(),
            limit=1,
            named=[key],
            sweep=0,
            bound=False,
        )
        if not busy:
            return next(iter(claims), None)


_own_priority = case(
    (Task.priority < min(LEVELS), Task.priority + LIMITED),
    else_=Task.priority,
)
_WAITING = (
    select(Task.task_type, Parked.key)
    .outerjoin(Parked, Parked.task_id == Task.id)
    .where(waits, known_here, Task.task_type == any_(types), Task.crashes < SUSPECT_CRASHES)
    .limit(1)
)


def _next(connection: Connection) -> tuple[str, str | None] | None:
    """The type of the job that is due, has the highest priority, and was due first; and the key of its limit."""
    due = _WAITING.where(Task.scheduled_at <= func.now())
    statement = due.order_by(_own_priority.desc(), Task.scheduled_at, Task.id)
    found = connection.execute(statement, _known()).first()
    return None if found is None else (found.task_type, found.key)


def _bring_forward(connection: Connection, client: Client) -> tuple[str, str | None] | None:
    """Make the soonest of the scheduled jobs due; its type and key."""
    soonest = _WAITING.add_columns(Task.id).order_by(Task.scheduled_at, Task.id)
    found = connection.execute(soonest, _known()).first()
    if found is None:
        return None
    with client._engine.begin() as own:
        act(own, "run_now", found.id, who="drain")
    return found.task_type, found.key


def _known() -> dict[str, Any]:
    return {"types": _task_types(), "kinds": _kinds()}


def _task_types() -> list[str]:
    return list(dict.fromkeys([*registry.task_types(), COMMON]))


def _kinds() -> list[str]:
    return [job_class.__name__ for job_class in registry]


def _settle(connection: Connection, worker_id: UUID, settlements: Sequence[Settlement], release: str) -> None:
    written = settle(connection, settlements, worker_id=worker_id, release=release)
    for one in settlements:
        if one.key not in written:
            raise SpoilsError(
                f"The outcome of job {one.key} could not be written: it was deleted, or another transaction has "
                "locked it. Does the test hold a transaction open?"
            )
