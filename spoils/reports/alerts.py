"""Incidents that operators are notified of: found, kept in a row each, and claimed by the process that notifies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from spoils.job.outcome import Ending
from spoils.masking import masked_text
from spoils.models import WAITING, Alert, Attempt, PauseKind
from spoils.queue import tasks
from spoils.queue.counts import count_tasks
from spoils.queue.pauses import paused
from spoils.queue.rollup import ALERTS_LOCK
from spoils.reports import schedule_incidents
from spoils.reports.backlog import oldest_waiting
from spoils.reports.forecast import forecast, waiting_before
from spoils.reports.workers import live_workers, takers_of, unknown_to

UNTAKEN, UNKNOWN, BEHIND, GROUP = "untaken:", "unknown:", "behind:", "group:"
UNTAKEN_SECONDS = 60.0
"""A type without a worker for this time is an incident: a restart takes less."""
UNKNOWN_SECONDS = 600.0
"""A job class that no worker knows for this time is an incident: a rolling release takes less."""
CALM_SECONDS = 600.0
"""An incident that was not seen for this time is over; when it comes again it is another one."""
LATELY_SECONDS = 600.0
LATELY = 2_000
"""Attempts that are scanned for new groups."""
MOST = 20
"""Incidents of groups that one scan finds, and those that one message names."""
LONGEST_MESSAGE = 200
LEASE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Incident:
    """What operators are notified of, as one sentence; equal keys are one incident."""

    key: str
    sentence: str


def scan(connection: Connection, *, wait_seconds: float) -> list[Incident]:
    """Enter what is wrong now and forget what is over, in the caller's transaction. No-op if another worker does it."""
    if not connection.scalar(select(func.pg_try_advisory_xact_lock(ALERTS_LOCK))):
        return []
    of_schedules = [Incident(*each) for each in schedule_incidents.find(connection)]
    found = [*_waiting(connection, wait_seconds), *_new_groups(connection), *of_schedules]
    for each in found:
        connection.execute(
            insert(Alert)
            .values(key=each.key, sentence=each.sentence)
            .on_conflict_do_update(index_elements=["key"], set_={"seen_at": func.now()})
        )
    over = Alert.seen_at < func.now() - _seconds(CALM_SECONDS)
    passing = or_(
        *(Alert.key.startswith(kind) for kind in (UNTAKEN, UNKNOWN, BEHIND, *schedule_incidents.KINDS))
    )
    connection.execute(delete(Alert).where(over, passing))
    return found


def claim_unsent(connection: Connection) -> Mapping[str, str]:
    """The sentences of incidents to send now, by key. No other process gets them while this one tries."""
    mine = (
        select(Alert.key)
        .where(Alert.sent_at.is_(None), Alert.next_try_at <= func.now())
        .order_by(Alert.opened_at, Alert.key)
        .limit(MOST)
        .with_for_update(skip_locked=True)
        .cte("mine")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    pause = func.least(LONGEST_PAUSE_SECONDS, LEASE_SECONDS * func.power(2, func.least(Alert.tries, 10)))
    statement = (
        update(Alert)
        .where(Alert.key == mine.c.key)
        .values(tries=Alert.tries + 1, next_try_at=func.now() + pause * _seconds(1))
        .returning(Alert.key, Alert.sentence)
    )
    return {row.key: row.sentence for row in connection.execute(statement)}


def mark_sent(connection: Connection, keys: Sequence[str]) -> None:
    """Record that operators were notified of these."""
    connection.execute(update(Alert).where(Alert.key.in_(keys)).values(sent_at=func.now()))


def _waiting(connection: Connection, wait_seconds: float) -> list[Incident]:
    session = Session(connection)
    counts = count_tasks(connection)
    waiting = {name: sum(of[state] for state in WAITING) for name, of in counts.items()}
    workers = live_workers(session)
    now = tasks.server_now(connection)
    before = waiting_before(session)
    found = []
    held = paused(connection, PauseKind.TASK_TYPE)  # by an operator, who knows that they wait
    names = [name for name, number in waiting.items() if number > 0 and name not in held]
    for one in oldest_waiting(session, names):
        seconds = (now - one.oldest_due_at).total_seconds()
        name, number = one.task_type, waiting[one.task_type]
        jobs = "1 job" if number == 1 else f"{number:,} jobs"
        takers = takers_of(workers, name)
        if not takers and seconds >= UNTAKEN_SECONDS:
            wait = "waits" if number == 1 else "wait"
            sentence = f"{jobs} of type {name} {wait} and no running worker performs this type."
            found.append(Incident(UNTAKEN + name, sentence))
        if seconds >= UNKNOWN_SECONDS and unknown_to(takers, one.job):
            job = " ".join((one.job or "").split())[:LONGEST_MESSAGE]
            sentence = (
                f"A job has been due for {_span(seconds)} and no running worker knows its class, {job}."
            )
            found.append(Incident(UNKNOWN + job, sentence))
        if takers and seconds > wait_seconds and not one.limited:
            outlook = f": {forecast(number, before[name]).sentence}" if name in before else ""
            sentence = f"The oldest of {jobs} of type {name} has been due for {_span(seconds)}{outlook}."
            found.append(Incident(BEHIND + name, sentence))
    return found


def _new_groups(connection: Connection) -> list[Incident]:
    newest = (
        select(Attempt.fingerprint, Attempt.task_type, Attempt.error_class, Attempt.message)
        .where(
            Attempt.ended_at > func.now() - _seconds(LATELY_SECONDS),
            Attempt.fingerprint.is_not(None),
            Attempt.outcome != Ending.RELEASED.value,
        )
        .order_by(Attempt.ended_at.desc())
        .limit(LATELY)
    )
    by_print: dict[str, Any] = {}
    for row in connection.execute(newest):
        by_print.setdefault(row.fingerprint, row)
    found: list[Incident] = []
    for fingerprint, row in by_print.items():
        before = select(Attempt.id).where(
            Attempt.fingerprint == fingerprint,
            Attempt.ended_at <= func.now() - _seconds(LATELY_SECONDS),
        )
        if len(found) < MOST and connection.scalar(before.limit(1)) is None:
            message = " ".join(masked_text(row.message or "").split())[:LONGEST_MESSAGE]
            error = f"{row.error_class or 'Error'}: {message}".removesuffix(": ")
            found.append(Incident(GROUP + fingerprint, f"New failure in {row.task_type}: {error}"))
    return found


def _seconds(number: float) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, number)


def _span(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
