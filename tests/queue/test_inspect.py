"""Reading the queue: pages both ways without gaps or repeats, twins, and who lives."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from spoils.models import TaskState
from spoils.queue import inspect
from tests.rows import Rows
from tests.sample_jobs import UniqueSampleJob


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def seeded(rows: Rows, number: int = 1100) -> None:
    """Put in rows of every state and two types, about forty of which share each moment."""
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, state, updated_at) "
            "SELECT '{}', 'type' || n % 2, (enum_range(NULL::fang_task_state))[n % 5 + 1], "
            "timestamptz '2024-05-01 12:00+00' + make_interval(secs => n / 40) FROM generate_series(1, :n) AS n"
        ),
        {"n": number},
    )


def expected(rows: Rows, where: str = "true") -> list[UUID]:
    found = rows.all(f"SELECT id FROM fang_tasks WHERE {where} ORDER BY updated_at DESC, id DESC")
    return [task_id for (task_id,) in found]


def ids(page: inspect.Page) -> list[UUID]:
    return [task.id for task in page.tasks]


@pytest.mark.parametrize(
    ("chosen", "where"),
    [
        ({}, "true"),
        ({"state": TaskState.FINISHED}, "state = 'finished'"),
        ({"task_type": "type1"}, "task_type = 'type1'"),
        ({"state": TaskState.FAILED, "task_type": "type0"}, "state = 'failed' AND task_type = 'type0'"),
    ],
)
def test_pages_down_and_up_again_show_each_row_once_in_order(
    session: Session, rows: Rows, chosen: dict[str, object], where: str
) -> None:
    seeded(rows)
    all_ids = expected(rows, where)
    page = inspect.page_of_tasks(session, limit=30, **chosen)  # type: ignore[arg-type]
    assert page.newer is None
    down = [page]
    while page.older:
        page = inspect.page_of_tasks(session, limit=30, older_than=page.older, **chosen)  # type: ignore[arg-type]
        assert page.newer is not None
        down.append(page)
    assert [task_id for one in down for task_id in ids(one)] == all_ids
    assert all(len(one.tasks) == 30 for one in down[:-1])
    up = [page]
    while page.newer:
        page = inspect.page_of_tasks(session, limit=30, newer_than=page.newer, **chosen)  # type: ignore[arg-type]
        assert page.tasks, "it led to an empty page"
        assert page.older is not None
        up.append(page)
    assert [task_id for one in reversed(up) for task_id in ids(one)] == all_ids


def test_a_table_that_fits_one_page_has_no_way_on(session: Session, rows: Rows) -> None:
    seeded(rows, 30)
    page = inspect.page_of_tasks(session, limit=30)
    assert (len(page.tasks), page.newer, page.older) == (30, None, None)
    assert inspect.page_of_tasks(session, limit=30, state=TaskState.NEW).older is None


def test_an_empty_table_is_an_empty_page(session: Session) -> None:
    assert inspect.page_of_tasks(session) == inspect.Page([], None, None)


@pytest.mark.parametrize("state", [TaskState.FINISHED, TaskState.FAILED])
def test_a_page_of_history_is_read_from_its_index(
    engine: Engine, session: Session, rows: Rows, state: TaskState
) -> None:
    seeded(rows, 20_000)
    rows.connection.execute(text("ANALYZE fang_tasks"))
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(_c: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        cursor.execute(f"EXPLAIN {statement}", parameters)  # type: ignore[attr-defined]
        plans.append("\n".join(row[0] for row in cursor.fetchall()))  # type: ignore[attr-defined]

    page = inspect.page_of_tasks(session, state=state)
    inspect.page_of_tasks(session, state=state, older_than=page.older)
    inspect.page_of_tasks(session, state=state, newer_than=page.older)
    assert len(plans) == 3
    for plan in plans:
        assert f"fang_tasks_{state}_idx" in plan, plan
        assert "Seq Scan on fang_tasks" not in plan, plan


def test_a_task_is_found_with_its_attempts_the_last_one_first(session: Session, rows: Rows) -> None:
    task_id = rows.task()
    rows.connection.execute(
        text(
            "INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, ended_at) "
            "SELECT id, n, 'sample', 'failed', now() "
            "FROM unnest(CAST(:ids AS uuid[])) AS id, generate_series(1, 5) AS n"
        ),
        {"ids": [task_id, uuid4()]},
    )
    found = inspect.find_task(session, task_id)
    assert found is not None
    assert found.state is TaskState.NEW
    assert [one.attempt for one in inspect.attempts_of(session, task_id)] == [5, 4, 3, 2, 1]
    assert [one.attempt for one in inspect.attempts_of(session, task_id, limit=2)] == [5, 4]
    assert inspect.find_task(session, uuid4()) is None


def test_a_task_is_found_as_it_is_now(session: Session, rows: Rows) -> None:
    task_id = rows.task()
    inspect.find_task(session, task_id)
    rows.connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))
    found = inspect.find_task(session, task_id)
    assert found is not None
    assert found.state is TaskState.FAILED


def test_live_is_who_has_not_ended_and_beat_lately(session: Session, rows: Rows) -> None:
    alive = rows.worker(silent_for=25)
    rows.worker(silent_for=31)
    rows.worker(ended=True)
    assert [worker.id for worker in inspect.live_workers(session)] == [alive]


def test_the_oldest_that_waits_is_told_by_type(session: Session, rows: Rows) -> None:
    rows.task(due_in=-5)
    oldest = rows.task(due_in=-50, priority=-2)
    rows.task(due_in=-500, state="in_progress")
    rows.task(due_in=60, task_type="unique_sample")
    (waiting,) = inspect.oldest_waiting(session, ["sample", "unique_sample", "nothing"])
    assert (waiting.task_type, waiting.oldest_due_at) == ("sample", rows.one(oldest).scheduled_at)


def test_twins_are_the_others_of_one_hash_and_one_of_them_may_be_active(session: Session, rows: Rows) -> None:
    digest = UniqueSampleJob().uniq_hash()
    ended, waits, plain = (
        rows.task(state="failed", uniq_hash=digest),
        rows.task(uniq_hash=digest),
        rows.task(),
    )
    one, other, alone = (inspect.find_task(session, task_id) for task_id in (ended, waits, plain))
    assert one is not None
    assert other is not None
    assert alone is not None
    assert [twin.id for twin in inspect.twins_of(session, one)] == [waits]
    assert inspect.active_twin(session, one) == inspect.Twin(waits, TaskState.NEW)
    assert inspect.active_twin(session, other) is None
    assert list(inspect.twins_of(session, alone)) == []
    assert inspect.active_twin(session, alone) is None


def test_a_rare_type_is_looked_for_a_stretch_at_a_time_and_found_at_last(
    session: Session, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "FAR", 10)
    rare = []
    for number in range(60):
        task_id = rows.task(
            state="finished" if number % 3 else "failed",
            task_type="rare" if number in (3, 40, 58) else "sample",
        )
        rows.connection.execute(
            text("UPDATE fang_tasks SET updated_at = now() - make_interval(mins => :n) WHERE id = :id"),
            {"n": number, "id": task_id},
        )
        rare += [task_id] if number in (3, 40, 58) else []
    found, place, pages = [], None, 0
    while True:
        page = inspect.page_of_tasks(session, task_type="rare", older_than=place)
        found += [task.id for task in page.tasks]
        pages += 1
        if page.older is None:
            break
        assert page.cut_off
        place = page.older
    assert found == rare
    assert 4 <= pages <= 8
    back = []
    while place is not None:
        page = inspect.page_of_tasks(session, task_type="rare", newer_than=place)
        back = [task.id for task in page.tasks] + back
        place = page.newer
    assert len(back) >= 2
    assert back == rare[: len(back)]


def test_tasks_are_read_by_their_ids_where_they_still_exist(session: Session, rows: Rows) -> None:
    one, other = rows.task(), rows.task()
    rows.task()
    found = inspect.standing_tasks(session, [one, other, uuid4()])
    assert {key: task.id for key, task in found.items()} == {one: one, other: other}


def test_schedules_come_by_class_and_their_slots_newest_first(session: Session, rows: Rows) -> None:
    for number, job in ((1, "B"), (2, "A"), (3, "A")):
        rows.connection.execute(
            text(
                "INSERT INTO spoils_schedules (id, job, cron, zone, task_type) VALUES (:id, :job, :id, 'UTC', 't')"
            ),
            {"id": number, "job": job},
        )
    ticked(rows, 1, [("10 min", "entered", 0), ("30 min", "missed", 0), ("20 min", "entered", 0)])
    ticked(rows, 2, [("5 min", "entered", 0)])
    assert [(one.job, one.id) for one in inspect.schedules(session)] == [("A", 2), ("A", 3), ("B", 1)]
    assert [one.outcome for one in inspect.last_ticks(session, 1)] == ["entered", "entered", "missed"]
    assert len(inspect.last_ticks(session, 1, 2)) == 2
    assert inspect.last_ticks(session, 3) == []


def test_slots_with_a_trouble_are_those_that_were_not_entered_or_late(session: Session, rows: Rows) -> None:
    rows.connection.execute(
        text("INSERT INTO spoils_schedules (id, job, cron, zone, task_type) VALUES (1, 'A', '*', 'UTC', 't')")
    )
    ticked(
        rows,
        1,
        [
            ("1 min", "entered", 5.5),
            ("2 min", "entered", 4.5),
            ("3 min", "skipped", 0),
            ("4 min", "missed", 0),
        ],
    )

    def troubled(**bounds: int) -> list[str]:
        return [one.outcome for one in inspect.troubled_ticks(session, late_seconds=5, **bounds)]

    assert troubled() == ["entered", "skipped", "missed"]
    assert troubled(within=3) == ["entered", "skipped"]
    assert troubled(limit=1) == ["entered"]


def ticked(rows: Rows, schedule_id: int, slots: list[tuple[str, str, float]]) -> None:
    for ago, outcome, late in slots:
        rows.connection.execute(
            text(
                "INSERT INTO spoils_ticks (schedule_id, slot, outcome, told_at) SELECT :id, slot, :outcome, "
                "slot + make_interval(secs => :late) FROM (SELECT now() - CAST(:ago AS interval) AS slot) AS s"
            ),
            {"id": schedule_id, "ago": ago, "outcome": outcome, "late": late},
        )
