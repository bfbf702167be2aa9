"""What the commands for operators share: the database, who acts, the arguments, and how results are printed."""

import getpass
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import click
from pydantic import BaseModel
from sqlalchemy import Engine

from spoils.cli.start import starting_engine
from spoils.config import Settings, environment_with, misspelt
from spoils.db.migrate import check_schema
from spoils.db.url import database_url
from spoils.errors import SpoilsError
from spoils.job.discovery import load
from spoils.models import WAITING, TaskState

log = logging.getLogger("spoils")

COLOURS = {"failed": "red", "retried": "yellow", "in progress": "cyan", "finished": "green"}
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,6})\s*(s|min|m|h|d|w)")


class Mistake(SpoilsError):
    """The command was called with a wrong argument."""


@contextmanager
def queue() -> Iterator[tuple[Settings, Engine]]:
    """The settings and the database, with the job classes loaded. Log lines go to standard error: output is data."""
    settings = Settings.from_env()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    for name, meant in misspelt().items():
        log.warning("%s is not a setting. Did you mean %s?", name, meant)
    load(settings.jobs)
    engine = starting_engine(database_url(settings))
    try:
        check_schema(engine)
        yield settings, engine
    finally:
        engine.dispose()


def who() -> str:
    """The shell's user, as the audit log names it."""
    try:
        return f"shell: {getpass.getuser()}"
    except (KeyError, OSError):
        return f"shell: user {os.getuid()}"


def as_id(text: str) -> UUID:
    """The id of a job. Raises Mistake."""
    try:
        return UUID(text)
    except ValueError:
        raise Mistake(f'"{text[:100]}" is not the id of a job: a UUID is required.') from None


def as_states(text: str | None) -> tuple[TaskState, ...]:
    """The states that `--state` means. Raises Mistake."""
    if text is None:
        return tuple(TaskState)
    if text == "waiting":
        return WAITING
    try:
        return (TaskState(text.replace("-", "_").replace(" ", "_")),)
    except ValueError:
        known = ", ".join(state.value for state in TaskState)
        raise Mistake(
            f'There is no state "{text[:100]}". The states are {known}; "waiting" means new and retried.'
        ) from None


def as_span(text: str) -> timedelta:
    """A duration such as 90s, 30m, 1h, 2d or 1w. Raises Mistake."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise Mistake(f'"{text[:100]}" is not a duration. Write one such as 30m, 1h or 2d.')
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns. On a terminal the last column is cut to its width, and states have colours."""
    cells = [[text or "–" for text in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(head) - 1)
    for number, row in enumerate(cells):
        last = row[-1]
        if sys.stdout.isatty() and len(last) > room:
            last = f"{last[: max(room - 1, 8)]}…"
        padded = [text.ljust(width) for text, width in zip(row[:-1], widths, strict=False)]
        shown = [_styled(text, heading=number == 0) for text in (*padded, last)]
        click.echo("  ".join(shown).rstrip())


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names with their values, one on each line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{click.style(name.ljust(width), dim=True)}  {_styled(value) if value else '–'}")


def as_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """Print a model, or a list of them, as JSON."""
    models = [value] if isinstance(value, BaseModel) else list(value)
    found = [one.model_dump(mode="json") for one in models]
    click.echo(json.dumps(found[0] if isinstance(value, BaseModel) else found, indent=2, ensure_ascii=False))


def _styled(text: str, *, heading: bool = False) -> str:
    if heading:
        return click.style(text, bold=True)
    colour = COLOURS.get(text.strip().replace("_", " "))
    # click takes colours away where standard output is no terminal.
    return click.style(text, fg=colour) if colour and not environment_with().get("NO_COLOR") else text
