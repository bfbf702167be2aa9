"""The page of schedules: running one now, pausing and resuming it."""

from flask import abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from spoils.models import PauseKind, db
from spoils.queue import audit, pauses
from spoils.queue.enqueue import DuplicateVanished, enqueue
from spoils.web.dashboard import access
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.schedules.view import job_of, show_schedules
from spoils.web.dashboard.shared import status_bar as strip
from spoils.web.dashboard.shared.flashes import say

NONE = "This release has no schedule of that name."


@bp.get("/schedules")
def schedules() -> ResponseReturnValue:
    """What comes by the clock."""
    seen = strip.look(db.session())
    return render_template("schedules/index.html", strip=seen, schedules=show_schedules(db.session(), seen))


@bp.post("/schedules/<job>/runs")
def run_schedule(job: str) -> ResponseReturnValue:
    """Enqueue its job now; its ticks stay what they are."""
    job_class = job_of(job) or abort(404, NONE)
    try:
        enqueued = enqueue(db.session.connection(), job_class())
    except DuplicateVanished as exc:
        say("refused", f"Nothing was enqueued. {exc}")
    else:
        if not enqueued.duplicate:
            audit.enter_enqueued(db.session.connection(), enqueued.id, who=access.who())
        db.session.commit()
        if enqueued.duplicate:
            say(
                "refused",
                "Nothing was enqueued: the same unique job is already there.",
                enqueued.id,
                twin=True,
            )
        else:
            say("done", f"Enqueued {job_class.task_type} by hand. Its next tick stays.", enqueued.id)
    return redirect(url_for("dashboard.schedules"), 303)


@bp.post("/schedules/<job>/pauses")
def pause_schedule(job: str) -> ResponseReturnValue:
    """Let its slots be skipped."""
    job_of(job) or abort(404, NONE)
    done = pauses.pause(db.session.connection(), PauseKind.SCHEDULE, job, by=access.who())
    audit.enter_about(db.session.connection(), "pause", job, who=access.who(), done=done)
    db.session.commit()
    words = f"Paused {job}. Its ticks are skipped until it is resumed."
    say("done" if done else "refused", words if done else f"Refused: {job} is paused already.")
    return redirect(url_for("dashboard.schedules"), 303)


@bp.post("/schedules/<job>/resumptions")
def resume_schedule(job: str) -> ResponseReturnValue:
    """Let it go on with its next slot."""
    done = pauses.resume(db.session.connection(), PauseKind.SCHEDULE, job)
    audit.enter_about(db.session.connection(), "resume", job, who=access.who(), done=done)
    db.session.commit()
    say("done" if done else "refused", f"Resumed {job}." if done else f"Refused: {job} is not paused.")
    return redirect(url_for("dashboard.schedules"), 303)
