"""The id of a job in a path."""

import re
from typing import NoReturn
from uuid import UUID

from flask import abort
from werkzeug.exceptions import MethodNotAllowed

from spoils.job.policies import RESERVED_ENDPOINTS
from spoils.job.registry import registry

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def task_id_of(text: str) -> UUID:
    """The UUID in a path. Aborts with 404, or with 405 where the path names something other than a job."""
    # Not `<uuid:…>` in the routes: the route that enqueues by name comes before them, and would match every id.
    if not _UUID.fullmatch(text):
        if is_name(text):
            reads = text in ("status", "stats")
            raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"] if reads else ["POST", "OPTIONS"])
        abort(404, f'"{text[:100]}" is not the id of a job: a UUID is required.')
    return UUID(text)


def is_name(text: str) -> bool:
    """Whether this names a job class or another endpoint, and so never a job."""
    return text in RESERVED_ENDPOINTS or bool(registry.named(text))


def no_such_job(task_id: object) -> NoReturn:
    """Abort with 404."""
    abort(404, f"There is no job {task_id}. It was never enqueued, or it was deleted.")
