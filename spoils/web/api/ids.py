"""The id of a job in an address."""

import re
from uuid import UUID

from flask import abort
from werkzeug.exceptions import MethodNotAllowed

from spoils.job.policies import RESERVED_ENDPOINTS
from spoils.job.registry import registry

_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def task_id_of(text: str) -> UUID:
    """The UUID that an address names. Aborts with 404, or with 405 where it is the name of something else."""
    # No `<uuid:…>` in the routes: the rule of enqueueing stands before them, and would take every id for a text.
    if not _UUID.fullmatch(text):
        if is_name(text):
            reads = text in ("status", "stats")
            raise MethodNotAllowed(["GET", "HEAD", "OPTIONS"] if reads else ["POST", "OPTIONS"])
        abort(404, f'"{text[:100]}" is no id of a job: a UUID is needed.')
    return UUID(text)


def is_name(text: str) -> bool:
    """Whether this stands for an address of another kind, and never for a job."""
    return text in RESERVED_ENDPOINTS or bool(registry.named(text))
