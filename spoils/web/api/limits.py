"""Limits for clients without a token: a request rate, and the depth of the queue."""

import time
from collections.abc import Callable

from flask import Flask, current_app, request
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import TooManyRequests

from spoils.config import current_settings
from spoils.models import WAITING, db
from spoils.queue.counts import count_tasks
from spoils.web.api import tokens
from spoils.web.client import client
from spoils.web.hit_counter import RateLimit

REQUESTS, SECONDS = 200, 10
FULL_SECONDS = 30
DEPTH_SECONDS = 1.0
TOO_MANY = (
    f"Too many requests from your address: at most {REQUESTS} in {SECONDS} s without a token. "
    "Requests with a token have no limit."
)
FULL = "The queue is full: {waiting:,} jobs are waiting, and requests without a token may not add more."


class Depth:
    """How many jobs wait, read at most once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting, self._until = 0, float("-inf")

    def waiting(self, connection: Callable[[], Connection]) -> int:
        """The number, up to a second old."""
        now = self._clock()
        if now >= self._until:
            counts = count_tasks(connection())
            self._waiting = sum(of[state] for of in counts.values() for state in WAITING)
            self._until = now + DEPTH_SECONDS
        return self._waiting


def init_app(app: Flask) -> None:
    """Give `app` its own counts."""
    app.extensions["spoils_rate_limit"] = RateLimit(REQUESTS, SECONDS)
    app.extensions["spoils_depth"] = Depth()


def check_rate() -> None:
    """429 for a client without a token that exceeds the rate limit. The health check has no limit."""
    if tokens.caller().known or tokens.is_public():
        return
    rate_limit: RateLimit = current_app.extensions["spoils_rate_limit"]
    if not rate_limit.hit(address := client()):
        raise TooManyRequests(TOO_MANY, retry_after=rate_limit.retry_after(address))


def check_depth() -> None:
    """429 for a client without a token that would add a job to a full queue."""
    if tokens.caller().known or request.endpoint != "api.jobs.create":
        return
    depth: Depth = current_app.extensions["spoils_depth"]
    try:
        waiting = depth.waiting(db.session.connection)
    except DBAPIError:
        return  # enqueueing will meet the same error, and answers it
    finally:
        db.session.remove()
    if waiting >= current_settings().open_queue_depth:
        raise TooManyRequests(FULL.format(waiting=waiting), retry_after=FULL_SECONDS)
