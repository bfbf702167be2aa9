"""Long polling for the end of a job: it holds no database connection, and few clients may wait at a time."""

import threading
import time
from uuid import UUID

from spoils.models import ACTIVE, Task, db
from spoils.queue import tasks
from spoils.web.api.bounds import WAITERS

FIRST_PAUSE, LAST_PAUSE = 0.1, 0.5

_places = threading.BoundedSemaphore(WAITERS)
_pause = threading.Event()


def until_ended(task_id: UUID, seconds: float) -> tuple[Task | None, bool]:
    """The task once it has ended, or as it is after `seconds`; and whether too many clients were waiting already."""
    row = tasks.find_task(db.session, task_id)
    if not seconds or row is None or row.state not in ACTIVE:
        return row, False
    if not _places.acquire(blocking=False):
        return row, True
    try:
        return _poll(task_id, time.monotonic() + seconds), False
    finally:
        _places.release()


def _poll(task_id: UUID, deadline: float) -> Task | None:
    pause = FIRST_PAUSE
    while True:
        # Returns the connection to the pool: waiting clients must not keep others from the database.
        db.session.remove()
        _pause.wait(max(0.0, min(pause, deadline - time.monotonic())))
        row = tasks.find_task(db.session, task_id)
        if row is None or row.state not in ACTIVE or time.monotonic() >= deadline:
            return row
        pause = min(pause * 1.5, LAST_PAUSE)
