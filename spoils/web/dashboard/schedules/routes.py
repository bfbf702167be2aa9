"""The page of schedules: running a class's own schedule now, pausing and resuming it. See `runtime.py` for others."""

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.job import Job
from spoils.job.registry import registry
from spoils.models import PauseKind, db
from spoils.queue.enqueue import DuplicateVanished
from spoils.queue.schedules import run_class_now
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.schedules import runtime  # noqa: F401 - its routes register themselves
from spoils.web.dashboard.schedules.view import show_schedules
from spoils.web.dashboard.shared.by_hand import pause, resume
from spoils.web.dashboard.shared.filters import read_text
from spoils.web.dashboard.shared.flashes import add_flash
from spoils.web.dashboard.shared.status_bar import read_status_bar


@bp.get("/schedules")
def schedules() -> ResponseReturnValue:
    """Each schedule with its next and last ticks."""
    bar = read_status_bar(db.session())
    page = show_schedules(db.session(), bar, read_text(request.args, "after"))
    return render_template("schedules/index.html", bar=bar, schedules=page)


@bp.post("/schedules/<job>/runs")
def run_schedule(job: str) -> ResponseReturnValue:
    """Enqueue its job now; its ticks do not change."""
    job_class = _scheduled(job)
    try:
        enqueued = run_class_now(db.session.connection(), job_class, who=access.who())
        db.session.commit()
    except DuplicateVanished as exc:
        add_flash("refused", f"Nothing was enqueued. {exc}")
    else:
        if enqueued.duplicate:
            words = "Nothing was enqueued: the same unique job already exists."
            add_flash("refused", words, enqueued.id, duplicate=True)
        else:
            words = f"Enqueued {job_class.task_type}. The next tick is unchanged."
            add_flash("done", words, enqueued.id)
    return redirect(url_for("dashboard.schedules"), 303)


@bp.post("/schedules/<job>/pauses")
def pause_schedule(job: str) -> ResponseReturnValue:
    """Pause it: its ticks are skipped."""
    _scheduled(job)
    pause(PauseKind.SCHEDULE, job, effect="Its ticks are skipped until it is resumed.")
    return redirect(url_for("dashboard.schedules"), 303)


@bp.post("/schedules/<job>/resumptions")
def resume_schedule(job: str) -> ResponseReturnValue:
    """Resume it with its next tick."""
    resume(PauseKind.SCHEDULE, job)
    return redirect(url_for("dashboard.schedules"), 303)


def _scheduled(name: str) -> type[Job]:
    job_class = registry.get(name)
    if job_class is None or job_class.cron is None:
        abort(404, "This release has no schedule with that name.")
    return job_class
