"""`/exports/<list>.csv` and `.json`: the lists of the dashboard as files, masked as their pages are.

A file is streamed one page of the list at a time. No database connection is held between two pages, so a slow client
blocks no other request.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, abort, current_app, request, stream_with_context
from sqlalchemy.orm import Session

from spoils.job.registry import registry
from spoils.masking import masked_text
from spoils.models import db
from spoils.queue.tasks import server_now
from spoils.reports import audit_log, batches
from spoils.reports.job_list import page_of_tasks
from spoils.web.api import responses
from spoils.web.dashboard.errors.view import WINDOWS, list_groups
from spoils.web.dashboard.schedules.view import show_schedules
from spoils.web.dashboard.shared.filters import CHANGED, read_filters, read_text
from spoils.web.dashboard.shared.status_bar import StatusBar, read_status_bar
from spoils.web.dashboard.workers.view import show_workers
from spoils.web.tabular import compact, write_csv

routes = Blueprint("exports", __name__)

MOST = 100_000
"""Rows of one file."""
PAGE = 500
CUT = f"Cut off after {MOST:,} rows. Narrow the filters, or use `spoils export --limit`."
Rows = list[dict[str, Any]]
TYPES = {"csv": "text/csv", "json": "application/json"}


@routes.get("/exports/<name>.<kind>")
def export(name: str, kind: str) -> Response:
    """The list as a file, with the filters of its page."""
    source = SOURCES.get(name)
    if source is None or kind not in TYPES:
        abort(404)
    pages = source()
    # Read before the response begins, so that an error gets a status of its own.
    first = next(pages, [])
    write = _csv if kind == "csv" else _json
    body = stream_with_context(write(_bounded(first, pages)))
    response = current_app.response_class(body, content_type=f"{TYPES[kind]}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="spoils-{name}.{kind}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _bounded(first: Rows, pages: Iterator[Rows]) -> Iterator[tuple[Rows, bool]]:
    """Pages of at most `MOST` rows in all, and with each whether it is the last one although there are more rows."""
    page, left = first, MOST
    while True:
        # A page may be empty although others follow: a list of one type is searched a part at a time.
        following = next(pages, None) if len(page) <= left else None
        cut = len(page) > left or (len(page) == left and following is not None)
        # Release the database connection while the client reads.
        db.session.remove()
        yield page[:left], cut
        if cut or following is None:
            return
        left -= len(page)
        page = following


def _csv(pages: Iterator[tuple[Rows, bool]]) -> Iterator[str]:
    headed = False
    for page, cut in pages:
        out = io.StringIO()
        cells = [
            [compact(value) if isinstance(value, (dict, list)) else value for value in row.values()]
            for row in page
        ]
        write_csv([] if headed or not page else list(page[0]), cells, out)
        headed = headed or bool(page)
        yield out.getvalue() + (f"{CUT}\n" if cut else "")


def _json(pages: Iterator[tuple[Rows, bool]]) -> Iterator[str]:
    yield '{"rows": ['
    between, end = "", None
    for page, cut in pages:
        for row in page:
            yield between + json.dumps(row, ensure_ascii=False)
            between = ",\n"
        end = CUT if cut else None
    yield f'], "cut_off": {json.dumps(end)}}}\n'


def _jobs() -> Iterator[Rows]:
    filters = read_filters(request.args)
    now = server_now(db.session.connection())
    own = () if filters.task_type else tuple(registry.own_types())
    older = None
    while True:
        page = page_of_tasks(
            db.session,
            states=filters.states,
            task_type=filters.task_type,
            batch=filters.batch,
            words=filters.words,
            without=own,
            since=now - CHANGED[filters.changed] if filters.changed else None,
            older_than=older,
            limit=PAGE,
        )
        yield [one.model_dump(mode="json") for one in responses.tasks(db.session, page.tasks, responses.Task)]
        older = page.older
        if older is None:
            return


def _audit() -> Iterator[Rows]:
    older = None
    while True:
        page = audit_log.page_of_entries(db.session, older_than=older, limit=PAGE)
        yield [
            {
                "at": entry.at.isoformat(),
                "who": entry.who,
                "action": entry.verb,
                "job": _text(entry.task_id),
                "about": entry.about,
                "bulk": _text(entry.bulk_id),
                "done": entry.done,
                "note": masked_text(entry.note) if entry.note else None,
                "other_job": _text(entry.twin),
                "before": (entry.before or {}).get("state"),
                "after": (entry.after or {}).get("state"),
            }
            for entry in page.rows
        ]
        if page.older is None:
            return
        (older,) = page.older


def _batches() -> Iterator[Rows]:
    older = None
    while True:
        page = batches.page_of_batches(db.session, older_than=older, limit=PAGE)
        yield [
            {
                "id": str(batch.id),
                "kind": "batch" if batch.links is None else "chain",
                "name": masked_text(batch.name) if batch.name else None,
                "condition": batch.condition,
                **responses.Counts.model_validate(batch).model_dump(mode="json"),
                "created_at": batch.created_at.isoformat(),
                "ended_at": batch.ended_at.isoformat() if batch.ended_at else None,
            }
            for batch in page.rows
        ]
        older = page.older
        if older is None:
            return


def _schedules() -> Iterator[Rows]:
    after = None
    while True:
        session, bar = _page()
        page = show_schedules(session, bar, after)
        yield [
            {
                "name": row.name,
                "job": row.job,
                "task_type": row.task_type,
                "cron": row.cron,
                "timezone": row.zone,
                "next": row.next[0].iso if row.next else None,
                "last": row.last.iso if row.last else None,
                "last_state": row.last_state.word if row.last_state else None,
                "paused_at": row.paused.iso if row.paused else None,
                "paused_by": row.paused_by or None,
                "problem": row.problem or None,
            }
            for row in page.rows
        ]
        after = page.after
        if after is None:
            return


def _workers() -> Iterator[Rows]:
    session, bar = _page()
    page = show_workers(session, bar)
    running = [
        {
            "name": row.name,
            "pid": row.pid,
            "release": row.release,
            "state": "unresponsive" if row.unresponsive else "draining" if row.draining else "running",
            "takes": row.takes,
            "busy": row.busy,
            "capacity": row.threads,
            "memory": row.memory,
            "started_at": row.up.iso,
            "stopped_at": None,
            "exit_reason": None,
        }
        for row in page.workers
    ]
    stopped: Rows = [
        {
            **dict.fromkeys(
                ("name", "pid", "release", "state", "takes", "busy", "capacity", "memory", "started_at")
            ),
            "name": row.name,
            "pid": row.pid,
            "release": row.release,
            "state": "killed" if row.killed else "stopped",
            "stopped_at": row.stopped.iso,
            "exit_reason": row.reason,
        }
        for row in page.stopped
    ]
    yield [*running, *stopped]


def _errors() -> Iterator[Rows]:
    window = read_text(request.args, "window") or "all"
    if window not in WINDOWS:
        abort(400, "Unknown window.")
    session, bar = _page()
    page = list_groups(session, bar, window=window, since=read_text(request.args, "since"), tried=None)
    yield [
        {
            "group": row.key,
            "error": row.name,
            "message": row.message,
            "place": row.place,
            "task_types": row.types,
            "failed": row.count,
            "retrying": row.retrying,
            "first_at": row.first.iso,
            "last_at": row.last.iso,
            "example_job": row.example,
        }
        for row in page.groups
    ]


def _page() -> tuple[Session, StatusBar]:
    session = db.session()
    return session, read_status_bar(session)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


SOURCES: Mapping[str, Callable[[], Iterator[Rows]]] = {
    "jobs": _jobs,
    "audit": _audit,
    "batches": _batches,
    "schedules": _schedules,
    "workers": _workers,
    "errors": _errors,
}
