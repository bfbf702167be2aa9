"""How the queue as a whole does: its status as the guide has it, and its figures."""

from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from spoils.config import current_settings
from spoils.job.cron import Cron
from spoils.job.registry import registry
from spoils.models import WAITING, TaskState, db
from spoils.queue import tasks
from spoils.queue.counts import count_tasks
from spoils.reports.backlog import oldest_waiting
from spoils.reports.recent_stats import RecentStats, recent_stats
from spoils.reports.schedules import all_schedules
from spoils.reports.workers import live_workers
from spoils.web.api import arguments, serialize
from spoils.web.api.blueprint import routes


@routes.get("/status")
def status() -> ResponseReturnValue:
    """Whether the queue works, how much there is of what, who works, and what comes next by the clock."""
    counts = count_tasks(db.session.connection())
    totals = {state.value: sum(of_type[state] for of_type in counts.values()) for state in TaskState}
    return jsonify(
        {
            "message": "Job queue is operational",
            "status": "running",
            "counts": totals,
            "counts_by_type": {
                task_type: {state.value: number for state, number in of_type.items()}
                for task_type, of_type in sorted(counts.items())
            },
            "workers": [serialize.worker(row) for row in live_workers(db.session)],
            "schedules": _schedules(db.session.connection()),
        }
    )


@routes.get("/stats")
def stats() -> ResponseReturnValue:
    """By type: how many wait and run, since when the oldest is due, and how attempts of the last minutes ended."""
    arguments.only(request.args, {"minutes"})
    minutes = arguments.whole_number(request.args, "minutes", least=1, most=1440, otherwise=60)
    connection = db.session.connection()
    now = tasks.server_now(connection)
    counts = count_tasks(connection)
    lately = recent_stats(connection, minutes=minutes)
    waiting = [name for name, of in counts.items() if any(of[state] > 0 for state in WAITING)]
    oldest = {one.task_type: one.oldest_due_at for one in oldest_waiting(db.session, waiting)}
    return jsonify(
        {
            "minutes": minutes,
            "at": serialize.moment(now),
            "types": {
                name: {
                    "waiting": sum(counts[name][state] for state in WAITING) if name in counts else 0,
                    "running": counts[name][TaskState.IN_PROGRESS] if name in counts else 0,
                    "oldest_due_at": serialize.moment(oldest.get(name)),
                    **serialize.tally(lately.get(name, RecentStats())),
                }
                for name in sorted({*counts, *lately})
            },
        }
    )


def _schedules(connection: Connection) -> list[dict[str, Any]]:
    now = tasks.server_now(connection)
    known = {(row.job, row.cron, row.zone): row for row in all_schedules(db.session)}
    found = []
    for job_class in registry:
        if job_class.cron is None:
            continue
        cron = Cron(job_class.cron, job_class.cron_timezone or current_settings().cron_timezone)
        row = known.get((job_class.__name__, cron.expression, cron.zone))
        found.append(
            serialize.schedule(
                row,
                job=job_class.__name__,
                cron=cron.expression,
                zone=cron.zone,
                next_tick=cron.next_after(now),
            )
        )
    return found
