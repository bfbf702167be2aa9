"""Calling the URL of a schedule after a job of it has finished."""

import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from sqlalchemy import select

from spoils.errors import SpoilsError
from spoils.job import Job, Queue
from spoils.models import Schedule, db

SECONDS = 10.0


class PingFailed(SpoilsError):
    """The URL of a schedule did not answer with success. The URL itself is a secret, so only its host is named."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_given: Any) -> None:
        """Answer None, so that a redirect is an error: it could lead anywhere."""


_opener = urllib.request.build_opener(_NoRedirects)


class PingJob(Job):
    """Tells the monitor of a schedule that a job of it has finished."""

    schedule_id: int

    task_type = "ping"
    uniq = True
    hidden = True
    max_retries = 10
    timeout = 60

    def run(self, queue: Queue) -> None:
        """Without a transaction during the call. A schedule that has no URL any more is left alone."""
        with db.engine.begin() as connection:
            url = connection.scalar(select(Schedule.ping_url).where(Schedule.id == self.schedule_id))
        if url is not None:
            call(url)
            queue.log.info("Pinged %s", urlsplit(url).hostname)


def call(url: str) -> None:
    """Call a URL. Raises PingFailed."""
    host = urlsplit(url).hostname
    try:
        with _opener.open(url, timeout=SECONDS):
            pass
    except HTTPError as exc:
        raise PingFailed(f"{host} answered {exc.code}.") from None
    except (URLError, OSError, ValueError) as exc:
        reason = exc.reason if isinstance(exc, URLError) else type(exc).__name__
        raise PingFailed(f"{host} did not answer: {reason}.") from None
