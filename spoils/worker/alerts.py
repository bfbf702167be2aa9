"""Telling operators: one worker of all looks, and one tells, once for each incident."""

import logging
import threading

from sqlalchemy import Engine

from spoils.notifications import NotificationRefused, deliver
from spoils.reports import alerts
from spoils.worker.housework import housework
from spoils.worker.loop import Loop

log = logging.getLogger("spoils.worker")

EVERY_SECONDS = 15.0
DEADLINE_SECONDS = 30.0
"""Well below the time for which an incident is claimed, so that no other worker tells of it meanwhile."""


class Alerts:
    """Looks for incidents, and delivers what is new to the URL that is set; without one it does nothing."""

    def __init__(self, *, engine: Engine, url: str | None, wait_seconds: float, turn: threading.Lock) -> None:
        """`turn` is shared by the rooms that keep house, of which one at a time takes a connection."""
        self._engine = engine
        self._url = url
        self._wait_seconds = wait_seconds
        self._turn = turn
        self.loop = Loop(name="alerts", tick=self.tick)

    def tick(self) -> float:
        """One round of it. No connection is held while a message is on its way."""
        if self._url is None:
            return 3600.0
        with housework(self._engine, self._turn) as connection:
            alerts.look(connection, wait_seconds=self._wait_seconds)
        with housework(self._engine, self._turn) as connection:
            untold = alerts.claim_unsent(connection)
        if untold:
            self._tell(self._url, dict(untold))
        return EVERY_SECONDS

    def _tell(self, url: str, untold: dict[str, str]) -> None:
        count = "1 incident" if len(untold) == 1 else f"{len(untold)} incidents"
        try:
            deliver(
                url,
                title=f"Spoils: {count}",
                body="\n".join(untold.values()),
                deadline_seconds=DEADLINE_SECONDS,
            )
        except NotificationRefused as exc:
            # They stay untold, and are tried again after a pause that doubles, by whichever worker comes first.
            log.warning("Told nobody of %s: %s", count, exc, extra={"action": "alert"})
            return
        with housework(self._engine, self._turn) as connection:
            alerts.mark_sent(connection, list(untold))
        log.info("Told of %s", count, extra={"action": "alert"})
