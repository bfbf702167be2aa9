"""`spoils retry`, `cancel`, `delete` and `run-now`: the actions of the dashboard, on jobs by ids or by filters."""

import sys
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import click
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from spoils.cli import console
from spoils.cli.command import Command
from spoils.cli.console import Mistake
from spoils.cli.job_reads import with_filters
from spoils.models import TaskState
from spoils.queue import audit, bulk, tasks
from spoils.queue.actions import RULES, act
from spoils.queue.selection import Selection, count, count_by_type
from spoils.reports import bulk_actions
from spoils.reports.brief_tasks import some_of_selection
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.bulk_actions import ACTIONS, BulkAction
from spoils.web.dashboard.shared.job_row import job_rows

EXAMPLES = 10
REFUSED = 1
"""The exit code where nothing was done because the state of the jobs did not allow it."""
WAITING_OR_RUNNING = {TaskState.NEW, TaskState.RETRIED, TaskState.IN_PROGRESS}
ALLOWED = {
    "retry": {TaskState.FAILED},
    "run_now": {TaskState.NEW, TaskState.RETRIED},
    "cancel": WAITING_OR_RUNNING,
    "delete": set(TaskState) - {TaskState.IN_PROGRESS},
}


def _command(action: BulkAction, about: str) -> click.Command:
    """The command of an action on jobs."""

    @click.command(action.name.replace("_", "-"), cls=Command, help=about)
    @click.argument("ids", nargs=-1, metavar="[ID]...")
    @click.option("--all", "everything", is_flag=True, help="All jobs that the filters find, in one state.")
    @with_filters
    @click.option("--dry-run", is_flag=True, help="Show what it would change, and change nothing.")
    @click.option("--yes", is_flag=True, help="Do not ask before an action on all.")
    def run(
        ids: tuple[str, ...],
        state: str | None,
        task_type: str | None,
        since: str | None,
        *,
        everything: bool,
        dry_run: bool,
        yes: bool,
    ) -> int:
        if everything == bool(ids):
            raise Mistake("Name jobs by their ids, or use --all with filters such as --state failed.")
        if ids and (state or task_type or since):
            raise Mistake("Filters go with --all, and not with ids.")
        with console.queue() as (_, engine):
            if ids:
                found = list(dict.fromkeys(console.as_id(text) for text in ids))
                return _preview_ids(engine, action, found) if dry_run else _act_on(engine, action, found)
            states = _states(action, state)
            span = console.as_span(since) if since else None
            with engine.connect() as connection:
                now = tasks.server_now(connection)
            selections = [
                Selection(state=one, task_type=task_type, until=now, since=now - span if span else None)
                for one in states
            ]
            return _act_on_all(engine, action, selections, now, dry_run=dry_run, yes=yes)

    return run


COMMANDS = (
    _command(ACTIONS["retry"], "Retry failed jobs: they become new and due now, with no retries used."),
    _command(ACTIONS["run_now"], "Make waiting jobs due now."),
    _command(ACTIONS["cancel"], "Cancel waiting jobs, and ask running ones to stop."),
    _command(ACTIONS["delete"], "Delete jobs that are not running. Undo it on the dashboard within a day."),
)


def _states(action: BulkAction, text: str | None) -> Sequence[TaskState]:
    if text is None:
        if action.name == "retry":
            return (TaskState.FAILED,)
        raise Mistake("--all needs --state: an action on all jobs is limited to one state.")
    states = console.as_states(text)
    if not set(states) <= ALLOWED[action.name]:
        raise Mistake(f"{RULES[action.name]}.")
    return states


def _act_on(engine: Engine, action: BulkAction, ids: Sequence[UUID]) -> int:
    done = 0
    for task_id in ids:
        with engine.begin() as connection:
            change = act(connection, action.name, task_id, who=console.who())
        done += change.done
        other = f" See {change.duplicate}." if change.duplicate else ""
        click.echo(f"{task_id}  {change.sentence}{other}", err=not change.done)
    return 0 if done == len(ids) else REFUSED


def _preview_ids(engine: Engine, action: BulkAction, ids: Sequence[UUID]) -> int:
    with Session(engine) as session:
        _show(session, Selection(ids=tuple(ids)), tasks.server_now(session.connection()))
    click.echo(f"Would {action.word.lower()} {formats.plural(len(ids), 'job')}. Nothing was changed.")
    return 0


def _act_on_all(
    engine: Engine,
    action: BulkAction,
    selections: Sequence[Selection],
    now: datetime,
    *,
    dry_run: bool,
    yes: bool,
) -> int:
    with engine.connect() as connection:
        numbers = [count(connection, selection) for selection in selections]
    words = " and ".join(one.words(number) for one, number in zip(selections, numbers, strict=True))
    word = action.word.lower()
    if not sum(numbers):
        click.echo(f"Nothing to {word}: no jobs match.")
        return 0
    if dry_run:
        with Session(engine) as session:
            for selection in selections:
                _show(session, selection, now)
        click.echo(f"Would {word} {words}. Nothing was changed.")
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise Mistake(f"This would {word} {words}. Look at it with --dry-run, then add --yes.")
        if not click.confirm(f"{action.word} {words}?"):
            click.echo("Nothing was changed.")
            return 0
    done = [
        _carry_out(engine, action, selection, number)
        for selection, number in zip(selections, numbers, strict=True)
        if number
    ]
    return 0 if any(done) else REFUSED


def _carry_out(engine: Engine, action: BulkAction, selection: Selection, number: int) -> bool:
    """Do it in parts, each in its own transaction; whether a job was changed."""
    with engine.begin() as connection:
        who = console.who()
        bulk_id = bulk.begin(connection, action.name, selection, who=who, expected=number)
        audit.enter_many(connection, action.name, bulk_id, who=who, about=selection.words(number))
    try:
        _advance(engine, bulk_id, action, number)
    except KeyboardInterrupt:
        with engine.begin() as connection:
            bulk.stop(connection, bulk_id)
        click.echo("Stopped. What was done stays done; the rest is left as it was.", err=True)
    with Session(engine) as session:
        row = bulk_actions.find(session, bulk_id)
        done, refused = (row.done, row.refused) if row else (0, 0)
    click.echo(f"{action.done} {formats.plural(done, 'job')}.")
    if refused:
        click.echo(
            f"{formats.plural(refused, 'job')} refused; the reasons are at /bulks/{bulk_id} of the dashboard."
        )
    if done and action.name == "delete":
        click.echo(f"Undo it within a day at /bulks/{bulk_id} of the dashboard.")
    return bool(done)


def _advance(engine: Engine, bulk_id: UUID, action: BulkAction, number: int) -> None:
    label, hidden = action.doing.rstrip(":"), not sys.stderr.isatty()
    with click.progressbar(length=number, label=label, hidden=hidden, file=sys.stderr) as bar:
        more, processed = True, 0
        while more:
            with engine.begin() as connection:
                more = bulk.advance(connection, bulk_id)
            with Session(engine) as session:
                row = bulk_actions.find(session, bulk_id)
                place = row.place if row else number
            bar.update(place - processed)
            processed = place


def _show(session: Session, selection: Selection, now: datetime) -> None:
    """Some of a selection, and how many there are of each type."""
    rows = some_of_selection(session, selection, EXAMPLES)
    console.table(
        ("ID", "STATE", "TYPE", "CHANGED"),
        [(row.id, row.state.word, row.task_type, row.moment.age) for row in job_rows(session, rows, now)],
    )
    if not selection.ids:
        by_type = count_by_type(session.connection(), selection)
        for name, number in sorted(by_type.items(), key=lambda item: -item[1]):
            if number:
                click.echo(f"{number:>10,}  {name}")
