"""Putting many in: as if one by one, in a few statements."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from spoils.errors import PayloadError
from spoils.job import Job, Queue
from spoils.models import TaskState
from spoils.queue.enqueue import enqueue
from spoils.queue.enqueue_many import AT_ONCE, Order, enqueue_many
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob


def test_what_goes_in_is_what_would_go_in_one_by_one(connection: Connection, rows: Rows) -> None:
    jobs = [SampleJob(number=1), UniqueSampleJob(number=2)]
    many = enqueue_many(connection, jobs, priority=1)
    single = [
        enqueue(connection, SampleJob(number=1), priority=1),
        enqueue(connection, UniqueSampleJob(number=3), priority=1),
    ]
    assert [one.duplicate for one in many] == [False, False]
    for one, other in zip(many, single, strict=True):
        ours, theirs = rows.one(one.id), rows.one(other.id)
        for name in ("state", "task_type", "priority", "retries", "attempts", "crashes", "error_message"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert ours.created_at == ours.updated_at == ours.scheduled_at
    assert rows.one(many[0].id).metadata == {"type": "SampleJob", "number": 1}


def test_they_are_answered_in_their_order_however_many_they_are(connection: Connection, rows: Rows) -> None:
    jobs = [SampleJob(number=number) for number in range(AT_ONCE + 3)]
    many = enqueue_many(connection, jobs)
    for number in (0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 2):
        assert rows.one(many[number].id).metadata["number"] == number
    assert rows.value("SELECT count(*) FROM fang_tasks") == AT_ONCE + 3


def test_a_duplicate_is_returned_whether_it_exists_or_comes_twice_in_the_list(
    connection: Connection, rows: Rows
) -> None:
    existing = enqueue(connection, UniqueSampleJob(number=1))
    first, new, again = enqueue_many(connection, [UniqueSampleJob(number=number) for number in (1, 2, 2)])
    assert (first.id, first.state, first.duplicate) == (existing.id, TaskState.NEW, True)
    assert (new.duplicate, again.duplicate) == (False, True)
    assert new.id == again.id
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


def test_each_may_have_its_own_moment_and_priority(connection: Connection, rows: Rows) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(hours=1)
    one, two = enqueue_many(connection, [Order(SampleJob(), later, 2), Order(SampleJob(), past, -2)])
    assert (rows.one(one.id).scheduled_at, rows.one(one.id).priority) == (later, 2)
    assert rows.one(two.id).scheduled_at == rows.one(two.id).created_at


@pytest.mark.parametrize("text", ['quote " and \\ backslash', "NULL", "{,}", "% %s %(x)s", "snowman ☃\n\t'"])
def test_any_text_survives(connection: Connection, rows: Rows, text: str) -> None:
    class NoteJob(Job):
        note: str

        def run(self, queue: Queue) -> None:
            return None

    (one,) = enqueue_many(connection, [NoteJob(note=text)])
    assert rows.one(one.id).metadata["note"] == text


def test_one_that_is_wrong_keeps_all_out(connection: Connection, rows: Rows) -> None:
    with pytest.raises(PayloadError, match="priority"):
        enqueue_many(connection, [SampleJob(), Order(SampleJob(), priority=9)])
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_none_is_no_trouble(connection: Connection) -> None:
    assert enqueue_many(connection, []) == []
