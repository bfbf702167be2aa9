"""What an operator does by hand: each action is entered in the audit log, committed, and reported on the next page."""

from datetime import datetime
from uuid import UUID

from spoils.job import Job
from spoils.models import PauseKind, db
from spoils.queue import audit, pauses
from spoils.queue.enqueue import Enqueued, enqueue
from spoils.web.dashboard import access
from spoils.web.dashboard.shared.flashes import add_flash


def report(action: str, about: str, *, done: bool, words: str) -> None:
    """Enter an action on a type, a schedule or a worker, commit, and show `words`."""
    audit.enter_about(db.session.connection(), action, about, who=access.who(), done=done)
    db.session.commit()
    add_flash("done" if done else "refused", words)


def pause(kind: PauseKind, name: str, *, effect: str) -> None:
    """Pause a type or a schedule; `effect` is the sentence that says what follows."""
    done = pauses.pause(db.session.connection(), kind, name, by=access.who())
    words = f"Paused {name}. {effect}" if done else f"Refused: {name} is already paused."
    report("pause", name, done=done, words=words)


def resume(kind: PauseKind, name: str) -> None:
    """Resume a paused type or schedule."""
    done = pauses.resume(db.session.connection(), kind, name)
    report("resume", name, done=done, words=f"Resumed {name}." if done else f"Refused: {name} is not paused.")


def enqueue_job(
    job: Job, *, at: datetime | None = None, priority: int = 0, again: UUID | None = None
) -> Enqueued:
    """Enqueue a job; `again` is the job that it repeats. Raises PayloadError and DuplicateVanished."""
    connection = db.session.connection()
    enqueued = enqueue(connection, job, at=at, priority=priority)
    if not enqueued.duplicate:
        audit.enter_enqueued(connection, enqueued.id, who=access.who(), again=again)
    db.session.commit()
    return enqueued
