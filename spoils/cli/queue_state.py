"""`spoils stats`, `workers`, `health`, `schedules`, `pause` and `resume`: the queue as a whole."""

import click
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from spoils.cli import console
from spoils.cli.command import Command
from spoils.cli.console import Mistake
from spoils.job.outcome import Ending
from spoils.job.registry import registry
from spoils.models import PauseKind
from spoils.queue import audit, pauses, schedules, tasks
from spoils.queue.counts import count_tasks
from spoils.reports.schedules import known_schedules
from spoils.reports.workers import current_workers, live_workers
from spoils.web.api import responses
from spoils.web.api.schedules import described
from spoils.web.api.status import stats_of
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.cron_words import describe
from spoils.web.dashboard.shared.status_bar import read_status_bar

UNWELL = 1
"""The exit code of `spoils health` where the queue needs somebody."""
REFUSED = 1
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API does.")


@click.command("stats", cls=Command)
@click.option("--minutes", type=int, default=60, show_default=True, help="How far back to look, up to 1440.")
@json_option
def run_stats(minutes: int, *, as_json: bool) -> None:
    """Show how many jobs wait and run, and how the recent attempts ended, by task type."""
    if not 1 <= minutes <= 1440:
        raise Mistake("--minutes is 1 to 1440.")
    with console.queue() as (_, engine), Session(engine) as session:
        stats = stats_of(session, minutes=minutes)
        if as_json:
            console.as_json(stats)
            return
        if not stats.types:
            click.echo("There are no jobs, and none ran lately.")
            return
        rows = []
        for name, of in stats.types.items():
            oldest = formats.moment(of.oldest_due_at, stats.at)
            failed = of.outcomes[Ending.FAILED.value]
            rows.append(
                (
                    name,
                    formats.number(of.waiting),
                    formats.number(of.running),
                    oldest.span if oldest and not oldest.future else "",
                    formats.number(of.outcomes[Ending.FINISHED.value]),
                    formats.number(of.outcomes[Ending.RETRIED.value]),
                    formats.number(failed),
                    formats.run_time(of.p50_ms),
                    formats.run_time(of.p95_ms),
                    formats.run_time(of.waited_p95_ms),
                )
            )
        head = ("TYPE", "WAITING", "RUNNING", "OLDEST DUE", "FINISHED", "RETRIED", "FAILED")
        console.table((*head, "RAN P50", "RAN P95", "WAITED P95"), rows)
        click.echo(f"Outcomes and run times are of the last {formats.plural(minutes, 'minute')}.")


@click.command("workers", cls=Command)
@json_option
def run_workers(*, as_json: bool) -> None:
    """List the workers."""
    with console.queue() as (_, engine), Session(engine) as session:
        if as_json:
            console.as_json([responses.Worker.model_validate(row) for row in live_workers(session)])
            return
        now = tasks.server_now(session.connection())
        found = current_workers(session)
        if not found:
            click.echo("No workers running.")
            return
        live = {row.id for row in live_workers(session)}
        console.table(
            ("ID", "HOST", "PID", "RELEASE", "STARTED", "HEARTBEAT", "RUNNING", "STATE", "TYPES"),
            [
                (
                    str(row.id),
                    row.host,
                    str(row.pid),
                    row.release,
                    formats.moment(row.started_at, now).age,
                    formats.moment(row.beat_at, now).age,
                    f"{row.running} of {row.threads}",
                    ("draining" if row.draining else "running") if row.id in live else "unresponsive",
                    ", ".join(row.task_types),
                )
                for row in found
            ],
        )


@click.command("health", cls=Command)
def run_health() -> int:
    """Say whether the queue is healthy; the exit code is 1 if it needs somebody."""
    with console.queue() as (_, engine), Session(engine) as session:
        health = read_status_bar(session).health
    click.echo(f"{health.strong} {health.rest}".strip())
    return UNWELL if health.needs_you else 0


@click.command("schedules", cls=Command)
@json_option
def run_schedules(*, as_json: bool) -> None:
    """List the schedules of job classes and those made at runtime."""
    with console.queue() as (settings, engine), Session(engine) as session:
        connection = session.connection()
        now = tasks.server_now(connection)
        known = list(known_schedules(session, now, default_zone=settings.cron_timezone))
        found = described(connection, known)
        if as_json:
            console.as_json(found)
            return
        if not found:
            click.echo("There are no schedules.")
            return
        console.table(
            ("NAME", "JOB", "WHEN", "CRON", "NEXT", "NOTE"),
            [
                (
                    one.name,
                    one.job,
                    describe(one.cron),
                    f"{one.cron} {one.timezone}",
                    formats.moment(one.next[0], now).age if one.next else "",
                    one.problem or (f"paused by {one.paused_by}" if one.paused_at else one.source),
                )
                for one in found
            ],
        )


@click.command("pause", cls=Command)
@click.argument("name")
@click.option("--schedule", is_flag=True, help="NAME is a schedule: its ticks are skipped.")
def run_pause(name: str, *, schedule: bool) -> int:
    """Pause a task type, of which workers then claim nothing, or a schedule."""
    return _switch(name, schedule=schedule, pause=True)


@click.command("resume", cls=Command)
@click.argument("name")
@click.option("--schedule", is_flag=True, help="NAME is a schedule.")
def run_resume(name: str, *, schedule: bool) -> int:
    """Resume a paused task type or schedule."""
    return _switch(name, schedule=schedule, pause=False)


def _switch(name: str, *, schedule: bool, pause: bool) -> int:
    with console.queue() as (_, engine), engine.begin() as connection:
        done = (
            _of_schedule(connection, name, pause=pause)
            if schedule
            else _of_type(connection, name, pause=pause)
        )
    if done:
        click.echo(f"{'Paused' if pause else 'Resumed'} {name}.")
        return 0
    click.echo(f"Refused: {name} is {'already' if pause else 'not'} paused.", err=True)
    return REFUSED


def _of_schedule(connection: Connection, name: str, *, pause: bool) -> bool:
    found = schedules.find(connection, name=name)
    if found is not None:
        act = schedules.pause if pause else schedules.resume
        return act(connection, found.id, who=console.who())
    job_class = registry.get(name)
    if job_class is None or job_class.cron is None:
        raise Mistake(f'There is no schedule "{name[:100]}". `spoils schedules` lists them.')
    act_on_class = schedules.pause_of_class if pause else schedules.resume_of_class
    return act_on_class(connection, name, who=console.who())


def _of_type(connection: Connection, name: str, *, pause: bool) -> bool:
    kind = PauseKind.TASK_TYPE
    known = {*registry.task_types(), *count_tasks(connection), *pauses.paused(connection, kind)}
    if name not in known:
        raise Mistake(f'There is no task type "{name[:100]}". There are: {", ".join(sorted(known))}.')
    who = console.who()
    done = pauses.pause(connection, kind, name, by=who) if pause else pauses.resume(connection, kind, name)
    audit.enter_about(connection, "pause" if pause else "resume", name, who=who, done=done)
    return done
