"""Groups of failed tasks: what is alike is one, and the newest of it stands for it."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from spoils.queue.failures import WORDLESS
from spoils.reports import failure_groups
from tests.rows import Rows


@pytest.fixture
def now(rows: Rows) -> datetime:
    return rows.value("SELECT now()")


def failed(rows: Rows, at: datetime, *, words: str | None = None, task_type: str = "sample") -> UUID:
    return rows.task(state="failed", attempts=1, updated_at=at, error_message=words, task_type=task_type)


def attempted(
    rows: Rows, task_id: UUID, at: datetime, fingerprint: str | None, *, release: str = "v1", attempt: int = 1
) -> int:
    return rows.value(
        "INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, release, ended_at, message, fingerprint) "
        "VALUES (:id, :attempt, 'sample', 'failed', :release, :at, 'boom 1', :print) RETURNING id",
        id=task_id, attempt=attempt, release=release, at=at, print=fingerprint,
    )  # fmt: skip


def test_like_failures_are_one_group_and_that_of_the_newest_comes_first(
    session: Session, rows: Rows, now: datetime
) -> None:
    hours = [now - timedelta(hours=number) for number in range(5)]
    old, other, new = (
        failed(rows, hours[3]),
        failed(rows, hours[2]),
        failed(rows, hours[1], task_type="other"),
    )
    attempted(rows, old, hours[3], "aa")
    attempted(rows, new, hours[2], "bb", attempt=0)  # of an earlier attempt: it did not fail the task
    attempted(rows, other, hours[2], "bb")
    newest = attempted(rows, new, hours[1], "aa")
    rows.task(state="finished")
    scan = failure_groups.scan(session, now=now, since=hours[4])
    first, second = scan.groups
    assert (scan.scanned, scan.whole, scan.since) == (3, True, hours[4])
    assert (first.key, first.example, first.attempt, first.count) == ("aa", new, newest, 2)
    assert (first.first_at, first.last_at, first.types) == (hours[3], hours[1], {"sample", "other"})
    assert [place for place, number in enumerate(first.bins) if number] == [12, 36]
    assert (second.key, second.example, second.count, sum(second.bins)) == ("bb", other, 1, 1)


def test_a_failure_of_this_very_moment_stands_in_the_last_bar(
    session: Session, rows: Rows, now: datetime
) -> None:
    failed(rows, now, words="boom")
    failed(rows, now - timedelta(hours=1), words="boom")
    (group,) = failure_groups.scan(session, now=now, since=None).groups
    assert (group.bins[0], group.bins[-1], sum(group.bins)) == (1, 1, 2)


def test_it_scans_no_farther_than_asked_and_says_so(session: Session, rows: Rows, now: datetime) -> None:
    ids = [failed(rows, now - timedelta(minutes=number), words="boom") for number in range(4)]
    scan = failure_groups.scan(session, now=now, since=None, far=2)
    (group,) = scan.groups
    assert (group.example, group.count, scan.scanned, scan.whole) == (ids[0], 2, 2, False)
    assert scan.since == now - timedelta(minutes=1)
    since = now - timedelta(minutes=2)
    assert failure_groups.scan(session, now=now, since=since).scanned == 3
    assert failure_groups.scan(session, now=now, since=None).whole
    other = failed(rows, now, words="boom", task_type="other")
    (group,) = failure_groups.scan(session, now=now, since=None, task_type="other").groups
    assert (group.example, group.count, group.types) == (other, 1, {"other"})


def test_what_left_no_attempt_is_told_apart_by_its_words_without_their_numbers(
    session: Session, rows: Rows, now: datetime
) -> None:
    one = failed(rows, now, words="boom 17\nand more")
    like = failed(rows, now - timedelta(minutes=1), words="boom 4\nelse")
    failed(rows, now - timedelta(minutes=2), words="bang 4")
    failed(rows, now - timedelta(minutes=3))
    groups = failure_groups.scan(session, now=now, since=None).groups
    assert [group.count for group in groups] == [2, 1, 1]
    key = groups[0].key
    assert key.startswith(WORDLESS)
    assert [task.id for task in failure_groups.members(session, key, 10)] == [one, like]
    assert [task.id for task in failure_groups.members(session, key, 1)] == [one]
    assert failure_groups.seen(session, [key]) == {}


def test_a_group_was_seen_first_and_last_on_its_releases(session: Session, rows: Rows, now: datetime) -> None:
    day, hour = now - timedelta(days=1), now - timedelta(hours=1)
    task_id = failed(rows, hour)
    attempted(rows, task_id, hour, "aa", release="v2")
    attempted(rows, failed(rows, day), day, "aa", release="v1")
    attempted(rows, failed(rows, now), now, "bb", release="v3")
    found = failure_groups.seen(session, ["aa", "none"])
    assert found == {"aa": failure_groups.Seen(day, "v1", hour, "v2")}
    assert [task.id for task in failure_groups.members(session, "aa", 1)] == [task_id]
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'new' WHERE id = :id"), {"id": task_id})
    assert task_id not in [task.id for task in failure_groups.members(session, "aa", 10)]


def test_the_members_of_a_group_by_words_are_its_own_whatever_else_has_failed(
    session: Session, rows: Rows, now: datetime
) -> None:
    like = [UUID(int=number) for number in (1, 2, 3)]
    for number, task_id in enumerate(like):
        at = now - timedelta(minutes=number + 1)
        rows.task(id=task_id, state="failed", attempts=1, updated_at=at, error_message=f"boom {number}")
    other = failed(rows, now, words="boom 3")
    attempted(rows, other, now, "aa")
    failed(rows, now, words="another")
    (key,) = {
        each.key
        for each in failure_groups.scan(session, now=now, since=None).groups
        if each.example == like[0]
    }
    assert key.startswith(WORDLESS)
    assert [task.id for task in failure_groups.members(session, key, 20)] == like
    assert [task.id for task in failure_groups.members(session, "aa", 20)] == [other]


def test_a_group_is_told_apart_by_what_its_attempt_said_before_what_its_task_says(
    session: Session, rows: Rows, now: datetime
) -> None:
    for words in ("one", "another"):
        task_id = failed(rows, now, words=words)
        attempted(rows, task_id, now, None)
    (group,) = failure_groups.scan(session, now=now, since=None).groups
    assert group.count == 2
    first, second = (attempted(rows, failed(rows, now), now, "aa") for _ in range(2))
    assert set(failure_groups.attempts_by_id(session, [first])) == {first}
    assert set(failure_groups.attempts_by_id(session, [first, second])) == {first, second}
