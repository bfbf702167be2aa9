"""Verbs on many jobs: the preview, the deed, its progress, and undoing it."""

from datetime import datetime
from uuid import UUID

from flask import abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from spoils.builtin.bulk import BulkJob
from spoils.models import TaskState, db
from spoils.queue import audit, bulk, tasks
from spoils.queue.enqueue import enqueue
from spoils.queue.selection import Selection, count
from spoils.reports import bulk_actions
from spoils.web import datetimes
from spoils.web.dashboard import access, bulk_preview, bulk_view, strip
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.filters import read_group, read_state, read_text
from spoils.web.dashboard.flashes import say
from spoils.web.dashboard.local import local_path

REFRESH_SECONDS = 2
PRIORITY = 2


@bp.get("/bulks/new")
def new_bulk() -> ResponseReturnValue:
    """What a verb on many would do, before it does it."""
    verb = _verb(request.args)
    seen = strip.look(db.session())
    selection = _selection(request.args, until=seen.now)
    back = local_path(request.args.get("back"), url_for("dashboard.jobs"))
    if selection is None:
        say("refused", "Nothing is selected, so nothing was done. Check some jobs first.")
        return redirect(back, 303)
    page = bulk_preview.preview(db.session(), verb, selection, seen)
    return render_template("bulks/new.html", strip=seen, preview=page, back=back)


@bp.post("/bulks")
def begin_bulk() -> ResponseReturnValue:
    """Do it: at once where it is little, else by a job of ours."""
    verb = _verb(request.form)
    selection = _selection(request.form, until=None)
    if selection is None:
        abort(400, "Nothing is selected, so nothing was done.")
    return _begin(verb.name, selection)


@bp.get("/bulks/<uuid:bulk_id>")
def bulk_progress(bulk_id: UUID) -> ResponseReturnValue:
    """How far it has come; a page that is not at its end comes again by itself, with scripts or without."""
    row = bulk_actions.find(db.session(), bulk_id)
    if row is None:
        abort(404, "There is no such change of many jobs. It is older than the retention keeps.")
    seen = strip.look(db.session())
    task = tasks.find_task(db.session(), row.task_id) if row.task_id else None
    after = request.args.get("after", 0, type=int)
    page = bulk_view.progress(db.session(), row, task, seen, min(max(after, 0), 2**62))
    response = make_response(render_template("bulks/show.html", strip=seen, bulk=page))
    if not page.ended:
        response.headers["Refresh"] = str(REFRESH_SECONDS)
    return response


@bp.post("/bulks/<uuid:bulk_id>/restorations")
def restore_bulk(bulk_id: UUID) -> ResponseReturnValue:
    """Undo a delete of many."""
    return _begin("restore", Selection(trash_of=bulk_id))


def _begin(verb: str, selection: Selection) -> ResponseReturnValue:
    connection = db.session.connection()
    number = count(connection, selection)
    bulk_id = bulk.begin(connection, verb, selection, who=access.who(), expected=number)
    audit.enter_many(connection, verb, bulk_id, who=access.who(), about=selection.words(number))
    more = True
    if number <= bulk.AT_ONCE:
        more = bulk.advance(connection, bulk_id) and bulk.advance(connection, bulk_id, chunk=bulk.AT_ONCE)
    if more:
        task = enqueue(connection, BulkJob(bulk_id=bulk_id), priority=PRIORITY)
        bulk.hand_over(connection, bulk_id, task.id)
        db.session.commit()
        return redirect(url_for("dashboard.bulk_progress", bulk_id=bulk_id), 303)
    row = bulk_actions.find(db.session(), bulk_id)
    assert row is not None  # noqa: S101 - it was made in this transaction
    done, sentence = bool(row.done), bulk_view.result(row)
    db.session.commit()
    undo = url_for("dashboard.restore_bulk", bulk_id=bulk_id) if done and verb == "delete" else None
    more_page = url_for("dashboard.bulk_progress", bulk_id=bulk_id)
    say("done" if done else "refused", sentence, undo=undo, more=more_page)
    return redirect(local_path(request.form.get("back"), url_for("dashboard.jobs")), 303)


def _verb(given: MultiDict[str, str]) -> bulk_view.BulkVerb:
    verb = bulk_view.VERBS.get(given.get("verb", ""))
    if verb is None or verb.name == "restore":
        abort(400, "There is no such verb. The verbs are retry, run_now, cancel and delete.")
    return verb


def _selection(given: MultiDict[str, str], *, until: datetime | None) -> Selection | None:
    """What a form or a link means. `until` is its moment where the form itself names none."""
    if given.get("all") != "1":
        return _selected(given)
    state, group = read_state(given), read_group(given)
    if state is None and group is None:
        abort(400, "A state is needed: nothing is done to jobs of all states at once.")
    state = TaskState.FAILED if group else state
    return Selection(
        state=state, task_type=read_text(given, "type"), group=group, until=until or _until(given)
    )


def _selected(given: MultiDict[str, str]) -> Selection | None:
    try:
        ids = tuple(dict.fromkeys(UUID(text) for text in given.getlist("id")))
    except ValueError:
        abort(400, "A selection holds ids of jobs only.")
    if len(ids) > bulk.AT_ONCE:
        abort(400, f"At most {bulk.AT_ONCE} jobs can be selected one by one.")
    return Selection(ids=ids) if ids else None


def _until(given: MultiDict[str, str]) -> datetime:
    try:
        return datetimes.utc(given.get("until", ""))
    except ValueError:
        abort(400, "The list's moment is missing. Go back and open the preview again.")
