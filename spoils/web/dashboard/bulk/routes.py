"""Actions on many jobs: the preview, the action, its progress, and undoing a delete."""

from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from flask import abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from spoils.builtin.bulk import BulkJob
from spoils.models import TaskState, db
from spoils.queue import audit, bulk, tasks
from spoils.queue.actions import RULES
from spoils.queue.edits import Mend, edit
from spoils.queue.enqueue import enqueue
from spoils.queue.selection import Selection, count
from spoils.reports import bulk_actions
from spoils.reports.brief_tasks import task_by_id
from spoils.web import datetimes
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.bulk.mend import preview_mend
from spoils.web.dashboard.bulk.preview import preview, selection_fields
from spoils.web.dashboard.bulk.progress import result, show_progress
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.bulk_actions import ACTIONS, BulkAction
from spoils.web.dashboard.shared.filters import read_batch, read_group, read_state, read_text
from spoils.web.dashboard.shared.flashes import add_flash, flash_change
from spoils.web.dashboard.shared.job_row import job_rows
from spoils.web.dashboard.shared.local_path import local_path
from spoils.web.dashboard.shared.status_bar import read_status_bar

REFRESH_SECONDS = 2
PRIORITY = 2


@bp.get("/bulks/new")
def new_bulk() -> ResponseReturnValue:
    """What an action on many jobs would do."""
    action = _action(request.args)
    bar = read_status_bar(db.session())
    selection = _selection(request.args, until=bar.now)
    back = local_path(request.args.get("back"), url_for("dashboard.jobs"))
    if selection is None:
        add_flash("refused", "No jobs are selected, so nothing was done. Select some first.")
        return redirect(back, 303)
    page = preview(db.session(), action, selection, bar)
    return render_template("bulk/new.html", bar=bar, preview=page, back=back)


@bp.post("/bulks")
def begin_bulk() -> ResponseReturnValue:
    """Carry it out: a small one now, a large one by a job."""
    action = _action(request.form)
    selection = _selection(request.form, until=None)
    if selection is None:
        abort(400, "No jobs are selected, so nothing was done.")
    return _begin(action.name, selection)


@bp.get("/bulks/mend")
def new_mend() -> ResponseReturnValue:
    """Change one field of many failed jobs: the form, and what it would do."""
    bar = read_status_bar(db.session())
    selection = _to_mend(request.args, until=bar.now)
    back = local_path(request.args.get("back"), url_for("dashboard.jobs"))
    if selection is None:
        add_flash("refused", "No jobs are selected, so nothing was done. Select some first.")
        return redirect(back, 303)
    tried = task_by_id(db.session(), UUID(request.args["tried"])) if "tried" in request.args else None
    return render_template(
        "bulk/mend.html",
        bar=bar,
        page=preview_mend(db.session(), selection, request.args),
        fields=selection_fields(selection, bar.now),
        given=request.args,
        tried=job_rows(db.session(), [tried], bar.now)[0] if tried else None,
        number=formats.number,
        back=back,
    )


@bp.post("/bulks/mend")
def begin_mend() -> ResponseReturnValue:
    """Change one job, to see its result before the others, or all of them."""
    selection = _to_mend(request.form, until=None)
    if selection is None:
        abort(400, "No jobs are selected, so nothing was done.")
    mend = preview_mend(db.session(), selection, request.form).mend
    if mend is None:
        abort(400, "Name a field of the jobs and its new value.")
    if one := request.form.get("one"):
        (change,) = edit(db.session.connection(), mend, [UUID(one)], who=access.who(), action="mend")
        db.session.commit()
        flash_change(change, UUID(one))
        kept = {
            name: request.form.getlist(name) for name in request.form if name not in ("one", "csrf_token")
        }
        return redirect(
            f"{url_for('dashboard.new_mend')}?{urlencode({**kept, 'tried': [one]}, doseq=True)}", 303
        )
    return _begin("mend", selection, mend)


@bp.get("/bulks/<uuid:bulk_id>")
def bulk_progress(bulk_id: UUID) -> ResponseReturnValue:
    """Its progress; the page reloads itself until the action has ended."""
    row = bulk_actions.find(db.session(), bulk_id)
    if row is None:
        abort(404, "There is no bulk action with this id. It may be past its retention.")
    bar = read_status_bar(db.session())
    task = tasks.find_task(db.session(), row.task_id) if row.task_id else None
    after = request.args.get("after", 0, type=int)
    page = show_progress(db.session(), row, task, bar, min(max(after, 0), 2**62))
    response = make_response(render_template("bulk/show.html", bar=bar, bulk=page))
    if not page.ended:
        response.headers["Refresh"] = str(REFRESH_SECONDS)
    return response


@bp.post("/bulks/<uuid:bulk_id>/restorations")
def restore_bulk(bulk_id: UUID) -> ResponseReturnValue:
    """Undo a delete or a change of many jobs."""
    row = bulk_actions.find(db.session(), bulk_id)
    action = "revert" if row is not None and row.verb == "mend" else "restore"
    return _begin(action, Selection(trash_of=bulk_id))


def _begin(action: str, selection: Selection, mend: Mend | None = None) -> ResponseReturnValue:
    connection = db.session.connection()
    number = count(connection, selection)
    bulk_id = bulk.begin(connection, action, selection, who=access.who(), expected=number, mend=mend)
    audit.enter_many(connection, action, bulk_id, who=access.who(), about=selection.words(number))
    more = True
    if number <= bulk.AT_ONCE:
        more = bulk.advance(connection, bulk_id) and bulk.advance(connection, bulk_id, chunk=bulk.AT_ONCE)
    progress_page = url_for("dashboard.bulk_progress", bulk_id=bulk_id)
    if more:
        task = enqueue(connection, BulkJob(bulk_id=bulk_id), priority=PRIORITY)
        bulk.hand_over(connection, bulk_id, task.id)
        db.session.commit()
        return redirect(progress_page, 303)
    row = bulk_actions.find(db.session(), bulk_id)
    assert row is not None  # noqa: S101 - it was made in this transaction
    done, sentence = bool(row.done), result(row)
    db.session.commit()
    undo = (
        url_for("dashboard.restore_bulk", bulk_id=bulk_id) if done and action in ("delete", "mend") else None
    )
    add_flash("done" if done else "refused", sentence, undo=undo, more=progress_page)
    return redirect(local_path(request.form.get("back"), url_for("dashboard.jobs")), 303)


def _action(given: MultiDict[str, str]) -> BulkAction:
    action = ACTIONS.get(given.get("verb", ""))
    if action is None or action.name not in RULES:
        abort(400, "Unknown action. Use retry, run_now, cancel or delete.")
    return action


def _selection(given: MultiDict[str, str], *, until: datetime | None) -> Selection | None:
    """The jobs that a form or a link names. A form names the time of its list itself; a link is of `until`."""
    if given.get("all") != "1":
        return _selected(given)
    active = given.get("active") == "1"
    state, group, batch = read_state(given), read_group(given), read_batch(given)
    if state is None and group is None and not (active and batch):
        abort(400, "A state is required: an action on all jobs is limited to one state.")
    state = TaskState.FAILED if group else state
    return Selection(
        state=state,
        task_type=read_text(given, "type"),
        group=group,
        batch=batch,
        active=active,
        until=until or _until(given),
    )


def _to_mend(given: MultiDict[str, str], *, until: datetime | None) -> Selection | None:
    selection = _selection(given, until=until)
    if selection and not selection.ids and selection.state is not TaskState.FAILED:
        abort(400, "Only a field of failed jobs can be changed for all.")
    for name in ("one", "tried"):
        try:
            UUID(given.get(name) or str(UUID(int=0)))
        except ValueError:
            abort(400, "Not a job id.")
    return selection


def _selected(given: MultiDict[str, str]) -> Selection | None:
    try:
        ids = tuple(dict.fromkeys(UUID(text) for text in given.getlist("id")))
    except ValueError:
        abort(400, "Not a job id.")
    if len(ids) > bulk.AT_ONCE:
        abort(400, f"At most {bulk.AT_ONCE} jobs can be selected one by one.")
    return Selection(ids=ids) if ids else None


def _until(given: MultiDict[str, str]) -> datetime:
    try:
        return datetimes.utc(given.get("until", ""))
    except ValueError:
        abort(400, "The time of the list is missing. Go back and open the preview again.")
