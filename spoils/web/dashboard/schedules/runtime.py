"""Making, changing and deleting schedules at runtime; running one now, pausing and resuming it."""

from collections.abc import Mapping

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.cron import Cron, CronError
from spoils.job.registry import registry
from spoils.models import Schedule, db
from spoils.queue import schedules
from spoils.queue.enqueue import DuplicateVanished
from spoils.queue.schedules import ScheduleRefused
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.schedules.form import read_schedule, show_form
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.job_classes import list_job_classes
from spoils.web.dashboard.shared.status_bar import read_status_bar

GONE = "There is no schedule with this id. It may have been deleted."
OTHER_RELEASE = "This release does not have the job class {}, so its schedule cannot be changed here."


@bp.get("/schedules/new")
def new_schedule() -> ResponseReturnValue:
    """The job classes, of which one is chosen for a new schedule."""
    bar = read_status_bar(db.session())
    return render_template("schedules/new.html", bar=bar, classes=list_job_classes())


@bp.get("/schedules/new/<name>")
def schedule_form(name: str) -> ResponseReturnValue:
    """The form of a new schedule for one class."""
    return _form(_class(name))


@bp.post("/schedules/new/<name>")
def create_schedule(name: str) -> ResponseReturnValue:
    """Make it, or show the form again with an error beside each wrong field, or with the next ticks."""
    job_class = _class(name)
    given = request.form.to_dict()
    wanted = read_schedule(job_class, given)
    if "preview" in given:
        return _preview(job_class, given, wanted.cron, wanted.wrong)
    wrong = dict(wanted.wrong)
    try:
        schedules.check_name(wanted.name)
        if not wrong and wanted.cron and wanted.job:
            schedules.create(
                db.session.connection(),
                name=wanted.name,
                job=wanted.job,
                payload=wanted.payload,
                cron=wanted.cron,
                who=access.who(),
                ping_url=wanted.ping_url,
            )
    except ScheduleRefused as exc:
        wrong[exc.field or ""] = str(exc)
    if wrong:
        return _form(job_class, given=given, cron=wanted.cron, wrong=wrong), 422
    return _done(f"Added the schedule {wanted.name}.")


@bp.get("/schedules/<int:schedule_id>")
def edit_schedule(schedule_id: int) -> ResponseReturnValue:
    """The form of a schedule."""
    stored, job_class = _stored(schedule_id)
    return _form(job_class, stored=stored, cron=_cron_of(stored))


@bp.post("/schedules/<int:schedule_id>")
def change_schedule(schedule_id: int) -> ResponseReturnValue:
    """Change it, or show the form again with an error beside each wrong field, or with the next ticks."""
    stored, job_class = _stored(schedule_id)
    given = request.form.to_dict()
    wanted = read_schedule(job_class, given, stored)
    if "preview" in given:
        return _preview(job_class, given, wanted.cron, wanted.wrong, stored)
    wrong = dict(wanted.wrong)
    if not wrong:
        try:
            changed = schedules.change(
                db.session.connection(),
                schedule_id,
                who=access.who(),
                job=wanted.job,
                payload=wanted.payload,
                cron=wanted.cron,
                ping_url=wanted.ping_url,
                version=_version(given),
            )
            if changed is None:
                abort(404, GONE)
        except ScheduleRefused as exc:
            wrong[exc.field or ""] = str(exc)
    if wrong:
        return _form(job_class, stored=stored, given=given, cron=wanted.cron, wrong=wrong), 422
    return _done(f"Saved the schedule {stored.label}.")


@bp.post("/schedules/<int:schedule_id>/deletions")
def delete_schedule(schedule_id: int) -> ResponseReturnValue:
    """Delete it; its jobs stay."""
    deleted = schedules.remove(db.session.connection(), schedule_id, who=access.who())
    if deleted is None:
        abort(404, GONE)
    return _done(f"Deleted the schedule {deleted.label}. Its jobs stay.")


@bp.post("/schedules/<int:schedule_id>/pauses")
def pause_runtime_schedule(schedule_id: int) -> ResponseReturnValue:
    """Pause it: its ticks are skipped."""
    name = _named(schedule_id).label
    if schedules.pause(db.session.connection(), schedule_id, who=access.who()):
        return _done(f"Paused {name}. Its ticks are skipped until it is resumed.")
    return _done(f"Refused: {name} is already paused.", refused=True)


@bp.post("/schedules/<int:schedule_id>/resumptions")
def resume_runtime_schedule(schedule_id: int) -> ResponseReturnValue:
    """Resume it with its next tick."""
    name = _named(schedule_id).label
    if schedules.resume(db.session.connection(), schedule_id, who=access.who()):
        return _done(f"Resumed {name}.")
    return _done(f"Refused: {name} is not paused.", refused=True)


@bp.post("/schedules/<int:schedule_id>/runs")
def run_runtime_schedule(schedule_id: int) -> ResponseReturnValue:
    """Enqueue its job now; its ticks do not change."""
    schedule = _named(schedule_id)
    try:
        enqueued = schedules.run_now(db.session.connection(), schedule, who=access.who())
    except (PayloadError, DuplicateVanished) as exc:
        db.session.rollback()
        return _done(f"Nothing was enqueued. {exc}", refused=True)
    db.session.commit()
    if enqueued.duplicate:
        words = "Nothing was enqueued: the same unique job already exists."
        add_flash("refused", words, enqueued.id, duplicate=True)
    else:
        add_flash("done", f"Enqueued {schedule.task_type}. The next tick is unchanged.", enqueued.id)
    return redirect(url_for("dashboard.schedules"), 303)


def _done(words: str, *, refused: bool = False) -> ResponseReturnValue:
    db.session.commit()
    add_flash("refused" if refused else "done", words)
    return redirect(url_for("dashboard.schedules"), 303)


def _class(endpoint: str) -> type[Job]:
    job_class = registry.at_endpoint(endpoint)
    if job_class is None:
        abort(404, "There is no job class with this name.")
    return job_class


def _named(schedule_id: int) -> Schedule:
    found = schedules.get(db.session.connection(), schedule_id)
    if found is None:
        abort(404, GONE)
    return found


def _stored(schedule_id: int) -> tuple[Schedule, type[Job]]:
    found = _named(schedule_id)
    job_class = registry.get(found.job_name)
    if job_class is None:
        abort(404, OTHER_RELEASE.format(found.job_name))
    return found, job_class


def _cron_of(stored: Schedule) -> Cron | None:
    try:
        return Cron(stored.cron, stored.zone)
    except CronError:
        return None  # of a release that knew this zone


def _version(given: Mapping[str, str]) -> int | None:
    text = given.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _preview(
    job_class: type[Job],
    given: Mapping[str, str],
    cron: Cron | None,
    wrong: Mapping[str, str],
    stored: Schedule | None = None,
) -> ResponseReturnValue:
    """The form as it is, with the next ticks. Only the cron is judged."""
    own = {name: message for name, message in wrong.items() if name in ("cron", "timezone")}
    return _form(job_class, stored=stored, given=given, cron=cron, wrong=own), 422 if own else 200


def _form(
    job_class: type[Job],
    *,
    stored: Schedule | None = None,
    given: Mapping[str, str] | None = None,
    cron: Cron | None = None,
    wrong: Mapping[str, str] | None = None,
) -> str:
    bar = read_status_bar(db.session())
    page = show_form(job_class, bar.now, stored=stored, given=given, cron=cron, wrong=wrong)
    return render_template("schedules/form.html", bar=bar, page=page)
