"""Job classes under limits. They write when they began and ended into the table of `make_spans`."""

import time

from sqlalchemy import Connection, text

from spoils.job import Concurrency, Job, Queue, Rate, RetryLater
from spoils.models import db

TABLE = """
CREATE TABLE spans (
    id bigint GENERATED ALWAYS AS IDENTITY, task_id uuid, name text, began timestamptz, ended timestamptz
)
"""
BEGIN = "INSERT INTO spans (task_id, name, began) VALUES (:id, :name, clock_timestamp()) RETURNING id"
END = "UPDATE spans SET ended = clock_timestamp() WHERE id = :span"


def make_spans(connection: Connection) -> None:
    """Make the table in which the jobs write."""
    connection.execute(text(TABLE))


class Measured(Job):
    """Sleeps, and writes when it began and ended. A death leaves no end."""

    number: int = 0
    user: str = "ann"
    milliseconds: int = 5

    def measure(self, queue: Queue) -> None:
        with db.engine.begin() as connection:
            span = connection.scalar(text(BEGIN), {"id": queue.task_id, "name": self.user})
        time.sleep(self.milliseconds / 1000)
        with db.engine.begin() as connection:
            connection.execute(text(END), {"span": span})


class ThreeAtOnceJob(Measured):
    """Three run at a time."""

    limits = (Concurrency(3),)
    task_type = "three_at_once"

    def run(self, queue: Queue) -> None:
        self.measure(queue)


class FiftyASecondJob(Measured):
    """Fifty start in a second."""

    limits = (Rate(50, per=1),)
    task_type = "fifty_a_second"

    def run(self, queue: Queue) -> None:
        self.measure(queue)


class OneOfEachUserJob(Measured):
    """One of each user runs at a time."""

    limits = (Concurrency(1, by="user"),)
    task_type = "one_of_each_user"

    def run(self, queue: Queue) -> None:
        self.measure(queue)


class BusyUpstreamJob(Measured):
    """Its first attempt is asked to come back later, and holds the others of its type."""

    task_type = "busy_upstream"

    def run(self, queue: Queue) -> None:
        self.measure(queue)
        if self.number == 0 and queue.attempt == 0:
            raise RetryLater(6, hold=True)
