"""What a caller without a token may ask for: so many requests a second, and no more than a full queue."""

import math
import threading
import time
from collections import OrderedDict
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

PER_SECOND, BURST = 20.0, 200
FULL_SECONDS = 30
LOOK_AGAIN_SECONDS = 1.0
TOO_MANY = (
    f"Too many requests came from your address: {PER_SECOND:.0f} a second are taken. A token has no limit."
)
FULL = "The queue is full: {waiting:,} jobs wait, and without a token no more are taken."


class Buckets:
    """A bucket of tokens for each client: `burst` at first, then `per_second`. One process's own.

    It remembers the last `clients` that came; who is forgotten begins anew.
    """

    def __init__(
        self,
        per_second: float = PER_SECOND,
        burst: int = BURST,
        clients: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second, self._burst, self._clients, self._clock = per_second, burst, clients, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str) -> float:
        """0 where this client may go on, else in how many seconds it may."""
        with self._lock:
            now = self._clock()
            left, since = self._left.pop(client, (float(self._burst), now))
            left = min(float(self._burst), left + (now - since) * self._per_second)
            allowed = left >= 1
            self._left[client] = (left - 1 if allowed else left, now)
            while len(self._left) > self._clients:
                self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


class Depth:
    """How many jobs wait, looked up at most once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting, self._until = 0, float("-inf")

    def waiting(self, connection: Callable[[], Connection]) -> int:
        """The number, which may be a second old."""
        now = self._clock()
        if now >= self._until:
            counts = count_tasks(connection())
            self._waiting = sum(of[state] for of in counts.values() for state in WAITING)
            self._until = now + LOOK_AGAIN_SECONDS
        return self._waiting


def init_app(app: Flask) -> None:
    """Give `app` its buckets."""
    app.extensions["spoils_buckets"], app.extensions["spoils_depth"] = Buckets(), Depth()


def check_rate() -> None:
    """429 where a client without a token asks too often; whether the server runs is asked by many, and told to all."""
    if tokens.caller().known or request.endpoint == "api.health.health":
        return
    buckets: Buckets = current_app.extensions["spoils_buckets"]
    if seconds := buckets.take(client()):
        raise TooManyRequests(TOO_MANY, retry_after=math.ceil(seconds))


def check_depth() -> None:
    """429 where a client without a token would put one more into a full queue."""
    if tokens.caller().known or request.endpoint != "api.jobs.create":
        return
    depth: Depth = current_app.extensions["spoils_depth"]
    try:
        waiting = depth.waiting(db.session.connection)
    except DBAPIError:
        return  # the enqueueing asks again, where this cannot
    finally:
        db.session.remove()
    if waiting >= current_settings().open_queue_depth:
        raise TooManyRequests(FULL.format(waiting=waiting), retry_after=FULL_SECONDS)
