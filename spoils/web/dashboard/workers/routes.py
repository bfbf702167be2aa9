"""The page of workers, asking a worker to stop claiming, and pausing a type."""

from uuid import UUID

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from spoils.models import PauseKind, db
from spoils.queue import worker_rows
from spoils.reports.workers import find_worker
from spoils.web.dashboard.blueprint import bp
from spoils.web.dashboard.shared.by_hand import pause, report, resume
from spoils.web.dashboard.shared.filters import read_text
from spoils.web.dashboard.shared.status_bar import read_status_bar
from spoils.web.dashboard.workers.view import show_workers


@bp.get("/workers")
def workers() -> ResponseReturnValue:
    """The running workers, the types, and the workers that stopped recently."""
    bar = read_status_bar(db.session())
    return render_template("workers/index.html", bar=bar, page=show_workers(db.session(), bar))


@bp.post("/workers/<uuid:worker_id>/drains")
def drain_worker(worker_id: UUID) -> ResponseReturnValue:
    """Ask it to claim nothing more."""
    return _ask(worker_id, stop=True)


@bp.post("/workers/<uuid:worker_id>/claims")
def undrain_worker(worker_id: UUID) -> ResponseReturnValue:
    """Let it claim again."""
    return _ask(worker_id, stop=False)


@bp.post("/pauses")
def pause_type() -> ResponseReturnValue:
    """Pause a type: its jobs are not claimed any more."""
    effect = "Running jobs continue; within a second or two no more are claimed."
    pause(PauseKind.TASK_TYPE, _type(), effect=effect)
    return redirect(url_for("dashboard.workers"), 303)


@bp.post("/resumptions")
def resume_type() -> ResponseReturnValue:
    """Resume a paused type."""
    resume(PauseKind.TASK_TYPE, _type())
    return redirect(url_for("dashboard.workers"), 303)


def _ask(worker_id: UUID, *, stop: bool) -> ResponseReturnValue:
    worker = find_worker(db.session(), worker_id)
    if worker is None:
        abort(404, "There is no worker with this id.")
    ask = worker_rows.stop_claiming if stop else worker_rows.claim_again
    done = ask(db.session.connection(), worker_id)
    name = f"{worker.host} (pid {worker.pid})"
    words = f"{name} claims again."
    if stop:
        words = f"Asked {name} to stop claiming. It finishes its jobs and stays."
    if not done:
        words = "Refused: this worker has stopped."
    report("stop claiming" if stop else "claim again", name, done=done, words=words)
    return redirect(url_for("dashboard.workers"), 303)


def _type() -> str:
    name = read_text(request.form, "type")
    if not name:
        abort(400, "A type is required.")
    return name
