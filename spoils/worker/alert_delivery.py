"""Delivers alerts: one worker detects each incident, and one delivers it, once."""

import logging
import threading
from collections.abc import Collection
from urllib.parse import urlsplit

from sqlalchemy import Engine

from spoils.notifications import NotificationRefused, deliver
from spoils.reports import alerts
from spoils.worker.background_transaction import background_transaction
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

EVERY_SECONDS = 15.0
DEADLINE_SECONDS = 30.0
"""Well below the time for which an incident is claimed, so that no other worker delivers it meanwhile."""


class AlertDelivery:
    """Detects incidents and delivers new ones to the configured URL; without one it does nothing."""

    def __init__(
        self,
        *,
        engine: Engine,
        url: str | None,
        dashboard_url: str | None,
        wait_seconds: float,
        turn: threading.Lock,
    ) -> None:
        """`turn` is shared by the parts that keep house, of which one at a time takes a connection."""
        self._engine = engine
        self._url = url
        self._dashboard_url = dashboard_url
        self._wait_seconds = wait_seconds
        self._turn = turn
        self.loop = Loop(name="alerts", tick=self.tick)

    def tick(self) -> float:
        """Detect and deliver once. No connection is held during delivery."""
        if self._url is None:
            return 3600.0
        with background_transaction(self._engine, self._turn) as connection:
            alerts.scan(connection, wait_seconds=self._wait_seconds)
        with background_transaction(self._engine, self._turn) as connection:
            unsent = alerts.claim_unsent(connection)
        if unsent:
            self._deliver(self._url, dict(unsent))
        return EVERY_SECONDS

    def _deliver(self, url: str, unsent: dict[str, str]) -> None:
        count = _count(unsent)
        lines = [f"{sentence}{self._link(key)}" for key, sentence in unsent.items()]
        try:
            deliver(
                url,
                title=f"Spoils, {self._application}: {count}",
                body="\n".join(lines),
                deadline_seconds=DEADLINE_SECONDS,
            )
        except NotificationRefused as exc:
            # They are tried again by any worker, after a pause that doubles.
            log.warning("Failed to deliver alert (%s): %s", count, exc, extra={"action": "alert"})
            return
        with background_transaction(self._engine, self._turn) as connection:
            alerts.mark_sent(connection, list(unsent))
        log.info("Delivered alert (%s)", count, extra={"action": "alert"})

    @property
    def _application(self) -> str:
        """Which queue it is: its dashboard's host, or else its database."""
        if self._dashboard_url:
            return urlsplit(self._dashboard_url).hostname or self._dashboard_url
        return f"database {self._engine.url.database}"

    def _link(self, key: str) -> str:
        return f" {self._dashboard_url}{alerts.path_of(key)}" if self._dashboard_url else ""


def _count(keys: Collection[str]) -> str:
    """ "2 incidents, 1 over"."""
    over = sum(key.startswith(alerts.OVER) for key in keys)
    new = len(keys) - over
    parts = [f"{new} incident{'' if new == 1 else 's'}"] if new else []
    return ", ".join([*parts, f"{over} over"] if over else parts)
