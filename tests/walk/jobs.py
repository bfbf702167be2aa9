"""Job classes for the drill of an operator. What goes wrong in them, a file of the folder `DRILL` says."""

import os
import time
from pathlib import Path
from typing import Literal

from spoils.job import Job, Queue


def wrong(name: str) -> bool:
    """Whether this fault is switched on."""
    return (Path(os.environ["DRILL"]) / name).exists()


class ChargeCardJob(Job):
    """Charges the card of an order."""

    order: int
    currency: str = "EUR"
    max_retries = 20

    def backoff(self, attempt: int) -> float:
        return 600

    def run(self, queue: Queue) -> None:
        if wrong("release") and self.order % 2:
            raise LookupError(f"order {self.order} has no field total_cents")


class CallUpstreamJob(Job):
    """Asks a service of somebody else, which may hang."""

    number: int
    timeout = 600

    def run(self, queue: Queue) -> None:
        while wrong("upstream"):
            time.sleep(0.05)


class ResizeImageJob(Job):
    """Takes a third of a second."""

    number: int

    def run(self, queue: Queue) -> None:
        time.sleep(0.3)


class NightlyReportJob(Job):
    """Made by a schedule."""

    cron = "0 2 * * *"

    def run(self, queue: Queue) -> None:
        return None


class SendInvoiceJob(Job):
    """Knows three currencies, and is sent another one."""

    order: int
    currency: str = "EUR"
    max_retries = 0

    def run(self, queue: Queue) -> None:
        if self.currency not in Currency.__args__:
            raise ValueError(f"unknown currency {self.currency}")


Currency = Literal["EUR", "USD", "CHF"]
