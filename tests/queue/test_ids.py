"""Ids are ordered by time, whoever makes them."""

import time
from uuid import UUID

import pytest
from sqlalchemy import Connection

from spoils.job import Job
from spoils.queue.enqueue import enqueue
from spoils.queue.enqueue_many import enqueue_many
from spoils.queue.ids import new_key, new_keys
from tests.queue.hands import take
from tests.rows import Rows
from tests.sample_jobs import SampleJob

RFC_4122 = "specified in RFC 4122"


def made_at_ms(task_id: UUID) -> int:
    return task_id.int >> 80


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_new_ids_are_of_version_7_and_ascend(number: int) -> None:
    before = time.time_ns() // 1_000_000
    keys = new_keys(number)
    after = time.time_ns() // 1_000_000
    assert len(set(keys)) == number
    assert keys == sorted(keys)
    for key in keys:
        made = UUID(key)
        assert (made.version, made.variant, str(made)) == (7, RFC_4122, key)
        assert before <= made_at_ms(made) <= after


def test_none_is_no_trouble() -> None:
    assert new_keys(0) == []


def test_an_id_of_a_later_millisecond_is_greater() -> None:
    first = new_key()
    while (second := new_key())[:13] == first[:13]:
        pass
    assert second > first


def test_a_row_put_in_by_hand_gets_one_too(connection: Connection, rows: Rows) -> None:
    put = "INSERT INTO fang_tasks (metadata) SELECT '{}' FROM generate_series(1, 100) RETURNING id"
    before = time.time_ns() // 1_000_000
    made = list(connection.exec_driver_sql(put).scalars())
    # A millisecond more: the server may round what it asks its clock.
    assert all(before - 1 <= made_at_ms(one) <= time.time_ns() // 1_000_000 + 1 for one in made)
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    assert len(set(made)) == 100


def test_an_enqueued_one_has_one_too(connection: Connection) -> None:
    assert enqueue(connection, SampleJob()).id.version == 7


def test_of_many_that_are_due_at_once_the_first_one_given_is_claimed_first(
    connection: Connection, rows: Rows
) -> None:
    jobs: list[Job] = [SampleJob(number=number) for number in range(50)]
    given = [one.id for one in enqueue_many(connection, jobs)]
    assert [one.id for one in take(connection, rows.worker(), 50)] == given
