"""Incidents that operators are notified of: found, kept in a row each, and claimed by the process that notifies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import Connection, Row, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from spoils.job.outcome import Ending, RetryLater
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

UNTAKEN, UNKNOWN, BEHIND, GROUP, OVER = "untaken:", "unknown:", "behind:", "group:", "over:"
UNTAKEN_SECONDS = 60.0
"""A type without a worker for this time is an incident: a restart takes less."""
UNKNOWN_SECONDS = 600.0
"""A job class that no worker knows for this time is an incident: a rolling release takes less."""
CALM_SECONDS = 600.0
"""An incident that was not seen for this time is over; when it comes again it is another one."""
LATELY_SECONDS = 600.0
LATELY = 2_000
"""Attempts that are scanned for groups."""
MOST = 20
"""New groups that are incidents within `LATELY_SECONDS`, and incidents that one message names."""
LONGEST_MESSAGE = 200
LEASE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Incident:
    """What operators are notified of, as one sentence; equal keys are one incident."""

    key: str
    sentence: str


def scan(connection: Connection, *, wait_seconds: float) -> list[Incident]:
    """Enter what is wrong now and what is over, in the caller's transaction. No-op if another worker does it."""
    if not connection.scalar(select(func.pg_try_advisory_xact_lock(ALERTS_LOCK))):
        return []
    of_schedules = [Incident(*each) for each in schedule_incidents.find(connection)]
    found = [*_waiting(connection, wait_seconds), *_failing_groups(connection), *of_schedules]
    for each in found:
        connection.execute(
            insert(Alert)
            .values(key=each.key, sentence=each.sentence)
            .on_conflict_do_update(index_elements=["key"], set_={"seen_at": func.now()})
        )
    _end_what_is_over(connection)
    return found


def _end_what_is_over(connection: Connection) -> None:
    """Delete incidents that were not seen for a while. Operators who were notified of one are notified of its end."""
    passing = or_(
        *(Alert.key.startswith(kind) for kind in (UNTAKEN, UNKNOWN, BEHIND, *schedule_incidents.KINDS))
    )
    ended = connection.execute(
        delete(Alert).where(Alert.seen_at < func.now() - _seconds(CALM_SECONDS), passing).returning(Alert)
    )
    for each in ended.all():
        # A missed tick is no state that ends.
        if each.sent_at is None or each.key.startswith(schedule_incidents.MISSED):
            continue
        lasted = _span((each.seen_at - each.opened_at).total_seconds())
        values = {"key": OVER + each.key, "sentence": f"Over after {lasted}: {each.sentence}"}
        again = {**values, "sent_at": None, "tries": 0, "next_try_at": func.now(), "seen_at": func.now()}
        connection.execute(
            insert(Alert).values(**values).on_conflict_do_update(index_elements=["key"], set_=again)
        )


def path_of(key: str) -> str:
    """The page of the dashboard that shows an incident."""
    kind, _, name = key.removeprefix(OVER).partition(":")
    if kind + ":" in (UNTAKEN, BEHIND):
        return f"/jobs?{urlencode({'state': 'waiting', 'type': name})}"
    if kind + ":" == GROUP:
        return f"/errors/{quote(name, safe='')}"
    return "/jobs?state=waiting" if kind + ":" == UNKNOWN else "/schedules"


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
    """Record that operators were notified of these; of an end nothing is kept."""
    connection.execute(update(Alert).where(Alert.key.in_(keys)).values(sent_at=func.now()))
    connection.execute(delete(Alert).where(Alert.key.in_(keys), Alert.key.startswith(OVER)))


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


_recent = (
    select(Attempt)
    .where(
        Attempt.ended_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LATELY_SECONDS),
        Attempt.fingerprint.is_not(None),
        Attempt.outcome != Ending.RELEASED.value,
    )
    .order_by(Attempt.ended_at.desc())
    .limit(LATELY)
    .subquery("recent")
).c
_earlier = aliased(Attempt)
_failed_before = exists(
    select(_earlier.id).where(
        _earlier.task_id == _recent.task_id,
        _earlier.attempt < _recent.attempt,
        _earlier.fingerprint == _recent.fingerprint,
    )
)
_asked_for = func.coalesce(_recent.traceback, "").contains(f".{RetryLater.__name__}: ")
# A job's first failure may end with its retry, and a job that says "later" expects it.
_alarming = or_(
    _recent.outcome.in_((Ending.FAILED.value, Ending.CRASHED.value)), and_(_failed_before, ~_asked_for)
)
_RECENT = select(
    _recent.fingerprint,
    _recent.task_type,
    _recent.error_class,
    _recent.message,
    _alarming.label("alarming"),
).order_by(_recent.ended_at.desc())


def _failing_groups(connection: Connection) -> list[Incident]:
    """Groups in which a job failed for good, or failed again at its retry. At most `MOST` are new within a while."""
    by_key: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(_RECENT):
        by_key.setdefault(GROUP + row.fingerprint, []).append(row)
    alarming = [key for key, rows in by_key.items() if any(row.alarming for row in rows)]
    old = Alert.opened_at <= func.now() - _seconds(LATELY_SECONDS)
    known = set(connection.scalars(select(Alert.key).where(Alert.key.in_(alarming), old)))
    new = [key for key in alarming if key not in known][:MOST]
    return [Incident(key, _failure(by_key[key])) for key in (*known, *new)]


def _failure(rows: Sequence[Row[Any]]) -> str:
    newest = rows[0]
    message = " ".join(masked_text(newest.message or "").split())[:LONGEST_MESSAGE]
    error = f"{newest.error_class or 'Error'}: {message}".removesuffix(": ")
    number = "1 attempt" if len(rows) == 1 else f"{len(rows):,} attempts"
    return f"New failure in {newest.task_type}: {error} ({number} in {_span(LATELY_SECONDS)})"


def _seconds(number: float) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, number)


def _span(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
