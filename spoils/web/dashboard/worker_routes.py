"""The page of workers, asking one to stop claiming, and pausing a type."""

from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import PauseKind, db
from spoils.queue import audit, pauses, worker_rows
from spoils.web.dashboard import access, strip
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.filters import read_text
from spoils.web.dashboard.flashes import say
from spoils.web.dashboard.worker_view import find_worker, show_crew

GONE = "Refused: this worker has ended."


@bp.get("/workers")
def workers() -> ResponseReturnValue:
    """Who works, on what, and who is gone."""
    seen = strip.look(db.session())
    return render_template("workers/index.html", strip=seen, crew=show_crew(db.session(), seen))


@bp.post("/workers/<uuid:worker_id>/drains")
def drain_worker(worker_id: UUID) -> ResponseReturnValue:
    """Ask it to claim nothing more."""
    return _ask(worker_id, stop=True)


@bp.post("/workers/<uuid:worker_id>/claims")
def undrain_worker(worker_id: UUID) -> ResponseReturnValue:
    """Take that back."""
    return _ask(worker_id, stop=False)


@bp.post("/pauses")
def pause_type() -> ResponseReturnValue:
    """Let nothing of a type be claimed."""
    name = _type()
    done = pauses.pause(db.session.connection(), PauseKind.TASK_TYPE, name, by=access.who())
    audit.enter_about(db.session.connection(), "pause", name, who=access.who(), done=done)
    db.session.commit()
    words = f"Paused {name}. What runs of it goes on; nothing more is claimed from a second or two on."
    say("done" if done else "refused", words if done else f"Refused: {name} is paused already.")
    return redirect(url_for("dashboard.workers"), 303)


@bp.post("/resumptions")
def resume_type() -> ResponseReturnValue:
    """End the pause of a type."""
    name = _type()
    done = pauses.resume(db.session.connection(), PauseKind.TASK_TYPE, name)
    audit.enter_about(db.session.connection(), "resume", name, who=access.who(), done=done)
    db.session.commit()
    say("done" if done else "refused", f"Resumed {name}." if done else f"Refused: {name} is not paused.")
    return redirect(url_for("dashboard.workers"), 303)


def _ask(worker_id: UUID, *, stop: bool) -> ResponseReturnValue:
    worker = find_worker(db.session(), worker_id)
    if worker is None:
        abort(404, "There is no worker of this id.")
    verb = worker_rows.stop_claiming if stop else worker_rows.claim_again
    done = verb(db.session.connection(), worker_id)
    name = f"{worker.host} (pid {worker.pid})"
    word = "stop claiming" if stop else "claim again"
    audit.enter_about(db.session.connection(), word, name, who=access.who(), done=done)
    db.session.commit()
    words = (
        f"Asked {name} to stop claiming. It ends what it holds, and stays."
        if stop
        else f"{name} claims again."
    )
    say("done" if done else "refused", words if done else GONE)
    return redirect(url_for("dashboard.workers"), 303)


def _type() -> str:
    name = read_text(request.form, "type")
    if not name:
        abort(400, "A type is needed.")
    return name
