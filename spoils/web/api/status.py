"""The state of the queue as a whole: the status that the guide shows, and figures by task type."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from flask import Response
from pydantic import Field
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from spoils.config import current_settings
from spoils.job.cron import Cron
from spoils.job.outcome import Ending
from spoils.job.registry import registry
from spoils.models import WAITING, TaskState, db
from spoils.queue import tasks
from spoils.queue.counts import count_tasks
from spoils.reports.attempt_stats import AttemptStats, recent_stats
from spoils.reports.backlog import oldest_waiting
from spoils.reports.forecast import forecast, waiting_before
from spoils.reports.schedules import all_schedules
from spoils.reports.wait_times import Waited, waited_by_type
from spoils.reports.workers import live_workers
from spoils.web.api import responses
from spoils.web.api.arguments import Arguments, Digits
from spoils.web.api.blueprint import routes
from spoils.web.openapi import operation


class StatsArguments(Arguments):
    """What `GET /api/jobs/stats` takes."""

    minutes: Annotated[int, Field(ge=1, le=1440), Digits] = 60
    """How many minutes to look back."""


@routes.get("/status")
@operation(responses.Status, "The status of the queue.", tag="Queue", open=True)
def status() -> Response:
    """Get the status of the queue.

    Counts by state and type, the running workers, and the next tick of each schedule.
    """
    counts = count_tasks(db.session.connection())
    return responses.respond(
        responses.Status(
            message="Job queue is operational",
            status="running",
            counts={state.value: sum(of[state] for of in counts.values()) for state in TaskState},
            counts_by_type={
                task_type: {state.value: number for state, number in of.items()}
                for task_type, of in sorted(counts.items())
            },
            workers=[responses.Worker.model_validate(row) for row in live_workers(db.session)],
            schedules=list(_schedules(db.session.connection())),
        )
    )


@routes.get("/stats")
@operation(responses.Stats, "The figures.", tag="Queue", arguments=StatsArguments)
def stats() -> Response:
    """Get figures by task type.

    How many jobs wait and run, the outcomes and run times of the attempts of the last minutes, and how long the last
    jobs that finished then had waited.
    """
    return responses.respond(stats_of(db.session(), minutes=StatsArguments.of_request().minutes))


def stats_of(session: Session, *, minutes: int) -> responses.Stats:
    """The figures of the last `minutes`."""
    connection = session.connection()
    now = tasks.server_now(connection)
    counts = count_tasks(connection)
    recent = recent_stats(connection, minutes=minutes)
    waiting = {name: sum(of[state] for state in WAITING) for name, of in counts.items()}
    oldest = oldest_waiting(session, [name for name, number in waiting.items() if number])
    oldest_due_at = {one.task_type: one.oldest_due_at for one in oldest}
    before = waiting_before(session)
    waited = waited_by_type(session, since=now - timedelta(minutes=minutes))
    types = {}
    for name in sorted({*counts, *recent}):
        tally = recent.get(name, AttemptStats())
        outlook = forecast(waiting.get(name, 0), before[name]) if name in before else None
        types[name] = responses.TypeStats(
            waiting=waiting.get(name, 0),
            running=counts[name][TaskState.IN_PROGRESS] if name in counts else 0,
            oldest_due_at=oldest_due_at.get(name),
            growth_per_second=outlook and outlook.growth_per_second,
            clears_in_seconds=outlook and outlook.clears_in_seconds,
            outcomes={ending.value: tally.outcomes[ending.value] for ending in Ending},
            average_ms=tally.average_ms,
            p50_ms=tally.percentile_ms(0.5),
            p95_ms=tally.percentile_ms(0.95),
            p99_ms=tally.percentile_ms(0.99),
            waited_p50_ms=waited.get(name, Waited()).p50_ms,
            waited_p95_ms=waited.get(name, Waited()).p95_ms,
        )
    return responses.Stats(minutes=minutes, at=now, types=types)


def _schedules(connection: Connection) -> Iterator[responses.Schedule]:
    now = tasks.server_now(connection)
    known = {(row.job, row.cron, row.zone) for row in all_schedules(db.session)}
    for job_class in registry:
        if job_class.cron is not None:
            cron = Cron(job_class.cron, job_class.cron_timezone or current_settings().cron_timezone)
            yield responses.Schedule(
                job=job_class.__name__,
                cron=cron.expression,
                timezone=cron.zone,
                next=cron.next_after(now),
                known_to_workers=(job_class.__name__, cron.expression, cron.zone) in known,
            )
