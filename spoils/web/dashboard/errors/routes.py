"""The pages of failures in groups, and trying one of a group."""

from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import TaskState, db
from spoils.queue import actions
from spoils.reports import failure_groups
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.bulk.progress import offer
from spoils.web.dashboard.errors import view as error_view
from spoils.web.dashboard.shared import status_bar as strip
from spoils.web.dashboard.shared.filters import Filters, check_group, read_text
from spoils.web.dashboard.shared.flashes import say

GONE = "No failed job of this group is left."


@bp.get("/errors")
def errors() -> ResponseReturnValue:
    """Failures in groups."""
    window = _window()
    since = read_text(request.args, "since")
    group, tried = read_text(request.args, "group"), _id("tried")
    seen = strip.look(db.session())
    page = error_view.list_errors(
        db.session(),
        seen,
        window=window,
        since=since,
        tried=(check_group(group), tried) if group and tried else None,
    )
    return render_template("errors/index.html", strip=seen, errors=page, windows=error_view.WINDOW_WORDS)


@bp.get("/errors/<key>")
def error_group(key: str) -> ResponseReturnValue:
    """One group."""
    seen = strip.look(db.session())
    page = error_view.show_group(db.session(), check_group(key), seen, window=_window(), tried=_id("tried"))
    if page is None:
        abort(404, GONE)
    verbs = offer(Filters(state=TaskState.FAILED), 0).selected
    return render_template(
        "errors/show.html", strip=seen, page=page, verbs=verbs, windows=error_view.WINDOW_WORDS
    )


@bp.post("/errors/<key>/trials")
def try_one(key: str) -> ResponseReturnValue:
    """Retry the one of a group that failed last, to look what becomes of it before the others follow."""
    found = failure_groups.members(db.session(), check_group(key), 1)
    if not found:
        say("refused", GONE)
        return redirect(url_for("dashboard.errors"), 303)
    task_id = found[0].id
    change = actions.act(db.session.connection(), "retry", task_id, who=access.who())
    db.session.commit()
    say(
        "done" if change.done else "refused",
        change.sentence,
        change.duplicate or task_id,
        twin=change.duplicate is not None,
    )
    if not change.done:
        return redirect(url_for("dashboard.errors"), 303)
    return redirect(url_for("dashboard.errors", group=key, tried=task_id, _anchor=key), 303)


def _window() -> str:
    window = read_text(request.args, "window") or "all"
    if window not in error_view.WINDOWS:
        abort(400, "There is no such window. The windows are 24h, 7d and all.")
    return window


def _id(name: str) -> UUID | None:
    try:
        return UUID(read_text(request.args, name) or "")
    except ValueError:
        return None
