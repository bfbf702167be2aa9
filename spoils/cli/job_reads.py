"""`spoils jobs`, `show`, `why` and `export`: reading jobs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from spoils.cli import console
from spoils.cli.command import Command
from spoils.cli.console import Mistake
from spoils.models import WAITING, Task
from spoils.queue import tasks
from spoils.reports import why_waiting
from spoils.reports.job_list import page_of_tasks
from spoils.web.api import responses
from spoils.web.api.why import why_of
from spoils.web.dashboard.jobs.why_waiting import in_words
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.job_row import JobRow, job_rows
from spoils.web.tabular import compact, write_csv

LISTED = 50
EXPORTED = 100_000
_PAGE = 500
COLUMNS = tuple(responses.Task.model_fields)
FILTERS = (
    click.option("--state", help="Only jobs in this state; waiting means new and retried."),
    click.option("--type", "task_type", help="Only jobs of this task type."),
    click.option("--since", help="Only jobs that changed within this time, such as 30m, 1h or 2d."),
)


def with_filters(command: Any) -> Any:
    """Add the options that narrow a list of jobs."""
    for option in reversed(FILTERS):
        command = option(command)
    return command


@click.command("jobs", cls=Command)
@with_filters
@click.option("--limit", type=int, default=LISTED, show_default=True, help="The most jobs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API does.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def run_jobs(
    state: str | None, task_type: str | None, since: str | None, limit: int, *, as_json: bool, as_csv: bool
) -> None:
    """List jobs, the most recently changed first."""
    with console.queue() as (_, engine), Session(engine) as session:
        found = list(islice(_matching(session, state, task_type, since), _at_least_one(limit)))
        if as_json:
            console.as_json(responses.tasks(session, found, responses.Task))
        elif as_csv:
            write_csv(COLUMNS, _cells(session, iter(found)), sys.stdout)
        elif not found:
            click.echo("No jobs match." if (state or task_type or since) else "There are no jobs.")
        else:
            now = tasks.server_now(session.connection())
            console.table(
                ("ID", "STATE", "TYPE", "ATTEMPTS", "CHANGED", "WHAT"),
                [_row(each) for each in job_rows(session, found, now)],
            )


@click.command("show", cls=Command)
@click.argument("task_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API does.")
def run_show(task_id: str, *, as_json: bool) -> None:
    """Show one job with its attempts. Secrets are masked."""
    with console.queue() as (_, engine), Session(engine) as session:
        row = found_task(session, task_id)
        job = responses.whole_task(session, row)
        if as_json:
            console.as_json(job)
            return
        now = tasks.server_now(session.connection())
        console.facts(_facts(job, now))
        if job.attempt_log:
            click.echo("")
            console.table(
                ("ATTEMPT", "OUTCOME", "ENDED", "RAN", "ERROR"),
                [
                    (
                        str(one.attempt),
                        one.outcome,
                        _age(one.ended_at, now),
                        formats.run_time(one.ran_ms),
                        formats.one_line(f"{one.error_class or ''}: {one.message or ''}".strip(": ")),
                    )
                    for one in job.attempt_log
                ],
            )


@click.command("why", cls=Command)
@click.argument("task_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API does.")
def run_why(task_id: str, *, as_json: bool) -> None:
    """Explain why a job does not run."""
    with console.queue() as (_, engine), Session(engine) as session:
        row = found_task(session, task_id)
        reasons = why_waiting.find(session, row)
        if as_json:
            console.as_json(why_of(row, reasons))
            return
        if row.state not in WAITING:
            click.echo(f"The job does not wait: it is {row.state.value.replace('_', ' ')}.")
            return
        now = tasks.server_now(session.connection())
        for reason in (in_words(each, now) for each in reasons):
            moment = reason.moment.full if reason.moment else ""
            words = " ".join(part for part in (reason.strong, moment, reason.rest, reason.task) if part)
            click.echo(f"{'waits' if reason.holds else 'ok   '}  {words}")


@click.command("export", cls=Command)
@with_filters
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object on each line (the default).")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV.")
@click.option("--limit", type=int, default=EXPORTED, show_default=True, help="The most jobs to write.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; else standard output."
)
def run_export(
    state: str | None,
    task_type: str | None,
    since: str | None,
    limit: int,
    output: Path | None,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Write jobs to a file or to standard output, as they are read. Secrets are masked."""
    if as_json and as_csv:
        raise Mistake("Choose either --json or --csv.")
    limit = _at_least_one(limit)
    opened = output.open("w", encoding="utf-8", newline="") if output else nullcontext(sys.stdout)
    written = 0

    def counted(found: Iterator[Task]) -> Iterator[Task]:
        nonlocal written
        for task in islice(found, limit):
            written += 1
            yield task

    with console.queue() as (_, engine), Session(engine) as session, opened as out:
        found = _matching(session, state, task_type, since)
        if as_csv:
            write_csv(COLUMNS, _cells(session, counted(found)), out)
        else:
            for task in _models(session, counted(found)):
                out.write(f"{task.model_dump_json()}\n")
        more = next(found, None) is not None
    left = ", and left out older ones: raise --limit" if more else ""
    click.echo(f"Wrote {formats.plural(written, 'job')}{left}.", err=True)


def found_task(session: Session, text: str) -> Task:
    """The job of this id. Raises Mistake."""
    row = tasks.find_task(session, console.as_id(text))
    if row is None:
        raise Mistake(f"There is no job {text}. It was never enqueued, or it was deleted.")
    return row


def _at_least_one(limit: int) -> int:
    if limit < 1:
        raise Mistake("--limit is at least 1.")
    return limit


def _matching(
    session: Session, state: str | None, task_type: str | None, since: str | None
) -> Iterator[Task]:
    """The jobs that the filters find, the last changed first, a page at a time."""
    states = console.as_states(state)
    after: datetime | None = None
    if since is not None:
        after = tasks.server_now(session.connection()) - console.as_span(since)
    older = None
    while True:
        page = page_of_tasks(session, states=states, task_type=task_type, older_than=older, limit=_PAGE)
        for task in page.tasks:
            if after is not None and task.updated_at < after:
                return
            yield task
        older = page.older
        if older is None or (after is not None and older[0] < after):
            return


def _models(session: Session, found: Iterator[Task]) -> Iterator[responses.Task]:
    while batch := list(islice(found, _PAGE)):
        yield from responses.tasks(session, batch, responses.Task)


def _cells(session: Session, found: Iterator[Task]) -> Iterator[Sequence[Any]]:
    for task in _models(session, found):
        values = task.model_dump(mode="json")
        yield [values[name] if name != "metadata" else compact(values[name]) for name in COLUMNS]


def _row(row: JobRow) -> tuple[str, ...]:
    payload = " ".join(f"{pair.field} {pair.value}".strip() for pair in row.summary)
    error = f"{row.error.name}: {row.error.message}".strip(": ") if row.error else ""
    what = " · ".join(part for part in (payload, error or row.note) if part)
    return (row.id, row.state.word, row.task_type, row.attempts, row.moment.age, what)


def _facts(job: responses.TaskWithAttempts, now: datetime) -> list[tuple[str, str]]:
    return [
        ("id", str(job.id)),
        ("state", job.state.value),
        ("type", job.task_type),
        ("payload", compact(job.metadata)),
        ("priority", str(job.priority)),
        ("due", _age(job.scheduled_at, now)),
        ("created", _age(job.created_at, now)),
        ("changed", _age(job.updated_at, now)),
        ("attempts", f"{job.attempts}, {formats.plural(job.retries, 'retry', 'retries')} used"),
        ("ran", formats.run_time(job.ran_ms)),
        ("error", formats.one_line(job.error or "")),
        ("result", "" if job.result is None else compact(job.result)),
    ]


def _age(point: datetime, now: datetime) -> str:
    moment = formats.moment(point, now)
    return f"{moment.full} ({moment.age})"
