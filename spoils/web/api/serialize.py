"""How rows look in the API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from spoils.job.outcome import Ending
from spoils.models import Attempt, DbSession, Schedule, Task, Worker
from spoils.reports.recent_stats import RecentStats
from spoils.reports.run_times import last_ran_ms
from spoils.web.masking import masked, masked_text


def moment(value: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value else None


def tasks(session: DbSession, rows: Sequence[Task]) -> list[dict[str, Any]]:
    """Tasks; secrets in their payloads and errors are masked."""
    ran = last_ran_ms(session, rows)
    return [_task(row, ran.get(row.id)) for row in rows]


def _task(row: Task, ran_ms: float | None) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "state": row.state.value,
        "task_type": row.task_type,
        "metadata": masked(row.payload),
        "error": _masked(row.error_message),
        "retries": row.retries,
        "attempts": row.attempts,
        "crashes": row.crashes,
        "priority": row.priority,
        "scheduled_at": moment(row.scheduled_at),
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
        "claimed_at": moment(row.claimed_at),
        "claimed_by": str(row.claimed_by) if row.claimed_by else None,
        "cancel_requested_at": moment(row.cancel_requested_at),
        "ran_ms": None if ran_ms is None else round(ran_ms),
    }


def attempt(row: Attempt) -> dict[str, Any]:
    """An attempt that did not finish."""
    return {
        "attempt": row.attempt,
        "outcome": row.outcome,
        "error_class": row.error_class,
        "message": _masked(row.message),
        "claimed_at": moment(row.claimed_at),
        "ended_at": moment(row.ended_at),
        "ran_ms": row.ran_ms,
        "delay_ms": row.delay_ms,
        "worker": str(row.worker_id) if row.worker_id else None,
        "release": row.release,
    }


def worker(row: Worker) -> dict[str, Any]:
    """A worker process."""
    return {
        "id": str(row.id),
        "host": row.host,
        "pid": row.pid,
        "release": row.release,
        "task_types": row.task_types,
        "threads": row.threads,
        "running": row.running,
        "started_at": moment(row.started_at),
        "beat_at": moment(row.beat_at),
    }


def schedule(row: Schedule | None, *, job: str, cron: str, zone: str, next_tick: datetime) -> dict[str, Any]:
    """A cron of a job class, and its next tick."""
    return {
        "job": job,
        "cron": cron,
        "timezone": zone,
        "next": moment(next_tick),
        "known_to_workers": row is not None,
    }


def tally(of_type: RecentStats) -> dict[str, Any]:
    """How the attempts of a type ended lately, and their run times in milliseconds."""
    return {
        "outcomes": {ending.value: of_type.outcomes[ending.value] for ending in Ending},
        "average_ms": _rounded(of_type.average_ms),
        "p50_ms": _rounded(of_type.percentile_ms(0.5)),
        "p95_ms": _rounded(of_type.percentile_ms(0.95)),
        "p99_ms": _rounded(of_type.percentile_ms(0.99)),
    }


def _masked(text: str | None) -> str | None:
    return masked_text(text) if text else text


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
