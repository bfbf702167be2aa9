"""Who works, on what, and who is gone."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from spoils.reports import workers
from tests.rows import Rows


def ended(rows: Rows, minutes_ago: int) -> UUID:
    worker_id = rows.worker()
    rows.connection.execute(
        text("UPDATE spoils_workers SET ended_at = now() - make_interval(mins => :ago) WHERE id = :id"),
        {"ago": minutes_ago, "id": worker_id},
    )
    return worker_id


def crashed(rows: Rows, worker_id: UUID, minutes_ago: float, outcome: str = "crashed") -> None:
    rows.attempt(uuid4(), outcome=outcome, ago=minutes_ago * 60, worker_id=worker_id)


def test_workers_stand_until_their_row_is_ended_and_the_oldest_comes_first(
    connection: Connection, rows: Rows
) -> None:
    young, old = rows.worker(), rows.worker(silent_for=1000)
    connection.execute(
        text("UPDATE spoils_workers SET started_at = now() - interval '1 day' WHERE id = :id"), {"id": old}
    )
    rows.worker(ended=True)
    assert [one.id for one in workers.current_workers(Session(connection))] == [old, young]


def test_each_worker_s_tasks_are_its_own_that_it_has_not_settled_the_longest_held_first(
    connection: Connection, rows: Rows
) -> None:
    first, second, idle = rows.worker(), rows.worker(), rows.worker()
    now = rows.value("SELECT now()")
    late = rows.task(state="in_progress", claimed_by=first, claimed_at=now)
    early = rows.task(state="in_progress", claimed_by=first, claimed_at=now - timedelta(minutes=1))
    other = rows.task(state="in_progress", claimed_by=second, claimed_at=now)
    rows.task(state="finished", claimed_by=first, claimed_at=now)
    rows.task(state="in_progress")
    session = Session(connection)
    current = [one for one in workers.current_workers(session) if one.id in (first, idle)]
    assert {key: [task.id for task in held] for key, held in workers.held_by(session, current).items()} == {
        first: [early, late]
    }
    held = workers.held_by(session, workers.current_workers(session))
    assert [task.id for task in held[second]] == [other]


def test_what_was_rescued_is_counted_around_the_worker_s_end(connection: Connection, rows: Rows) -> None:
    dead, clean = ended(rows, 10), ended(rows, 5)
    for minutes_ago in (9.5, 10, 10.5, 11.5, 8.5):
        crashed(rows, dead, minutes_ago)
    crashed(rows, dead, 10, outcome="released")
    crashed(rows, rows.worker(), 10)
    session = Session(connection)
    assert workers.rescued_from(session, workers.stopped_workers(session)) == {dead: 3, clean: 0}
    assert workers.rescued_from(session, workers.current_workers(session)) == {}
