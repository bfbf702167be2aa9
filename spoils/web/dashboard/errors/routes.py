"""The pages of failure groups, and retrying one job of a group."""

from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import TaskState, db
from spoils.queue import actions
from spoils.reports import failure_groups
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.errors.view import WINDOW_WORDS, WINDOWS, list_groups, show_group
from spoils.web.dashboard.shared.bulk_actions import actions_on_selected
from spoils.web.dashboard.shared.filters import Filters, check_group, read_text
from spoils.web.dashboard.shared.flashes import add_flash, flash_change
from spoils.web.dashboard.shared.status_bar import read_status_bar

NONE_LEFT = "No failed jobs of this group are left."


@bp.get("/errors")
def errors() -> ResponseReturnValue:
    """The failed jobs in groups."""
    group, tried = read_text(request.args, "group"), _task_id("tried")
    bar = read_status_bar(db.session())
    page = list_groups(
        db.session(),
        bar,
        window=_window(),
        since=read_text(request.args, "since"),
        tried=(check_group(group), tried) if group and tried else None,
    )
    return render_template("errors/index.html", bar=bar, errors=page, windows=WINDOW_WORDS)


@bp.get("/errors/<key>")
def error_group(key: str) -> ResponseReturnValue:
    """One group."""
    bar = read_status_bar(db.session())
    page = show_group(db.session(), check_group(key), bar, window=_window(), tried=_task_id("tried"))
    if page is None:
        abort(404, NONE_LEFT)
    # Of a group with jobs that will be retried, all states may be selected.
    state = TaskState.FAILED if page.group.retrying == "0" else None
    return render_template(
        "errors/group.html",
        bar=bar,
        page=page,
        actions=actions_on_selected(Filters(state=state)),
        windows=WINDOW_WORDS,
    )


@bp.post("/errors/<key>/trials")
def try_one(key: str) -> ResponseReturnValue:
    """Retry the job of a group that failed last, to see its result before the others are retried."""
    found = failure_groups.members(db.session(), check_group(key), 1)
    if not found:
        add_flash("refused", NONE_LEFT)
        return redirect(url_for("dashboard.errors"), 303)
    task_id = found[0].id
    change = actions.act(db.session.connection(), "retry", task_id, who=access.who())
    db.session.commit()
    flash_change(change, task_id)
    if not change.done:
        return redirect(url_for("dashboard.errors"), 303)
    return redirect(url_for("dashboard.errors", group=key, tried=task_id, _anchor=key), 303)


def _window() -> str:
    window = read_text(request.args, "window") or "all"
    if window not in WINDOWS:
        abort(400, "Unknown window. The windows are 24h, 7d and all.")
    return window


def _task_id(name: str) -> UUID | None:
    try:
        return UUID(read_text(request.args, name) or "")
    except ValueError:
        return None
