"""Lists of tasks: pages both ways without gaps or repeats, by index, and as far as one page looks."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from spoils.models import WAITING, TaskState
from spoils.reports import job_list
from tests.queue.hands import explaining
from tests.rows import Rows


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


def ids(page: job_list.Page) -> list[UUID]:
    return [task.id for task in page.tasks]


@pytest.mark.parametrize(
    ("chosen", "where"),
    [
        ({}, "true"),
        ({"states": (TaskState.FINISHED,)}, "state = 'finished'"),
        ({"states": (TaskState.NEW, TaskState.RETRIED)}, "state IN ('new', 'retried')"),
        ({"task_type": "type1"}, "task_type = 'type1'"),
        ({"states": (TaskState.FAILED,), "task_type": "type0"}, "state = 'failed' AND task_type = 'type0'"),
    ],
)
def test_pages_down_and_up_again_show_each_row_once_in_order(
    session: Session, rows: Rows, chosen: dict[str, object], where: str
) -> None:
    seeded(rows)
    all_ids = expected(rows, where)
    page = job_list.page_of_tasks(session, limit=30, **chosen)  # type: ignore[arg-type]
    assert page.newer is None
    down = [page]
    while page.older:
        page = job_list.page_of_tasks(session, limit=30, older_than=page.older, **chosen)  # type: ignore[arg-type]
        assert page.newer is not None
        down.append(page)
    assert [task_id for one in down for task_id in ids(one)] == all_ids
    assert all(len(one.tasks) == 30 for one in down[:-1])
    up = [page]
    while page.newer:
        page = job_list.page_of_tasks(session, limit=30, newer_than=page.newer, **chosen)  # type: ignore[arg-type]
        assert page.tasks, "it led to an empty page"
        assert page.older is not None
        up.append(page)
    assert [task_id for one in reversed(up) for task_id in ids(one)] == all_ids


def test_a_table_that_fits_one_page_has_no_way_on(session: Session, rows: Rows) -> None:
    seeded(rows, 30)
    page = job_list.page_of_tasks(session, limit=30)
    assert (len(page.tasks), page.newer, page.older) == (30, None, None)
    assert job_list.page_of_tasks(session, limit=30, states=(TaskState.NEW,)).older is None


def test_an_empty_table_is_an_empty_page(session: Session) -> None:
    assert job_list.page_of_tasks(session) == job_list.Page([], None, None)


@pytest.mark.parametrize("state", [one for one in TaskState if one is not TaskState.IN_PROGRESS])
def test_a_page_of_a_state_is_read_from_its_index(
    engine: Engine, session: Session, rows: Rows, state: TaskState
) -> None:
    seeded(rows, 20_000)
    rows.connection.execute(text("ANALYZE fang_tasks"))
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(_c: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        cursor.execute(explaining(statement), parameters)  # type: ignore[attr-defined]
        plans.append("\n".join(row[0] for row in cursor.fetchall()))  # type: ignore[attr-defined]

    page = job_list.page_of_tasks(session, states=(state,))
    job_list.page_of_tasks(session, states=(state,), older_than=page.older)
    job_list.page_of_tasks(session, states=(state,), newer_than=page.older)
    assert len(plans) == 3
    for plan in plans:
        assert f"fang_tasks_{'waiting' if state in WAITING else state}_idx" in plan, plan
        assert "Seq Scan on fang_tasks" not in plan, plan


def test_a_rare_type_is_looked_for_a_stretch_at_a_time_and_found_at_last(
    session: Session, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "FAR", 10)
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
        page = job_list.page_of_tasks(session, task_type="rare", older_than=place)
        assert (page.newer is None) is (place is None)
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
        page = job_list.page_of_tasks(session, task_type="rare", newer_than=place)
        back = [task.id for task in page.tasks] + back
        place = page.newer
    assert len(back) >= 2
    assert back == rare[: len(back)]


def test_what_waits_of_a_rare_type_is_found_at_once_however_much_waits(
    session: Session, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "FAR", 10)
    seeded(rows, 200)
    rare = rows.task(task_type="rare")
    rows.connection.execute(
        text("UPDATE fang_tasks SET updated_at = '2020-01-01' WHERE id = :id"), {"id": rare}
    )
    page = job_list.page_of_tasks(session, states=(TaskState.NEW,), task_type="rare")
    assert (ids(page), page.cut_off) == ([rare], False)
    # Of the others more wait than are read at once, so that all are found a stretch at a time.
    found, place = [], None
    while True:
        page = job_list.page_of_tasks(session, states=(TaskState.NEW,), task_type="type1", older_than=place)
        found += ids(page)
        if page.older is None:
            break
        place = page.older
    assert found == expected(rows, "state = 'new' AND task_type = 'type1'")


@pytest.mark.parametrize("chosen", [{}, {"states": (TaskState.NEW,)}, {"task_type": "sample"}], ids=str)
def test_moments_beyond_python_s_years_end_no_paging(
    session: Session, rows: Rows, chosen: dict[str, Any]
) -> None:
    moments = (
        "infinity", "30000-01-01", "20000-01-01", "9999-12-31 23:59:59.999999+00", "2026-01-01",
        "0001-01-01 00:00+00", "0044-03-15 BC", "0753-04-21 BC", "-infinity",
    )  # fmt: skip
    all_ids = [rows.task(updated_at=moment) for moment in moments]
    page = job_list.page_of_tasks(session, limit=1, **chosen)
    down = ids(page)
    while page.older:
        page = job_list.page_of_tasks(session, limit=1, older_than=page.older, **chosen)
        down += ids(page)
    assert down == all_ids
    up = ids(page)
    while page.newer:
        page = job_list.page_of_tasks(session, limit=1, newer_than=page.newer, **chosen)
        up += ids(page)
    assert up == all_ids[::-1]


def waiting(rows: Rows, number: int = 600) -> None:
    """Put in new and retried rows of two types and two priorities, about ten of which are due at each moment."""
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, priority, state, scheduled_at) "
            "SELECT '{}', 'type' || n % 2, n / 2 % 2, (ARRAY['new', 'retried'])[n % 3 / 2 + 1]::fang_task_state, "
            "now() + make_interval(mins => n * 7919 % 60 - 30) FROM generate_series(1, :n) AS n"
        ),
        {"n": number},
    )


@pytest.mark.parametrize("far", [20, 1_000])
@pytest.mark.parametrize("types", [["type0", "type1"], ["type1"]])
def test_new_tasks_are_paged_by_when_they_are_due_and_each_page_reads_a_bounded_number(
    session: Session, rows: Rows, monkeypatch: pytest.MonkeyPatch, types: list[str], far: int
) -> None:
    monkeypatch.setattr(job_list, "FAR_OF_LEVEL", far)
    waiting(rows)
    found = rows.all(
        "SELECT id FROM fang_tasks WHERE state = 'new' AND task_type = ANY(:types) ORDER BY scheduled_at, id",
        types=types,
    )
    page = job_list.page_of_new(session, types, limit=30)
    assert page.newer is None
    assert page.cut_off is (far < 30)
    down = ids(page)
    while page.older:
        page = job_list.page_of_new(session, types, limit=30, older_than=page.older)
        down += ids(page)
    assert down == [task_id for (task_id,) in found]
    up = ids(page)
    while page.newer:
        page = job_list.page_of_new(session, types, limit=30, newer_than=page.newer)
        up = ids(page) + up
    # The way back from an empty page begins at the last row that was read, and leaves it out.
    assert up == down[: len(up)]
    assert len(up) >= len(down) - 1


def test_new_tasks_by_when_they_are_due_are_read_from_the_claim_index(
    engine: Engine, session: Session, rows: Rows
) -> None:
    waiting(rows, 20_000)
    rows.connection.execute(text("ANALYZE fang_tasks"))
    page = job_list.page_of_new(session, ["type0", "type1"])
    plans: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def explain(_c: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        cursor.execute(explaining(statement), parameters)  # type: ignore[attr-defined]
        plans.append("\n".join(row[0] for row in cursor.fetchall()))  # type: ignore[attr-defined]

    job_list.page_of_new(session, ["type0", "type1"], older_than=page.older)
    assert len(plans) == 2
    for plan in plans:
        assert "fang_tasks_claim_idx" in plan, plan
        assert "fang_tasks_waiting_idx" not in plan, plan
        assert "Seq Scan on fang_tasks" not in plan, plan


@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
def test_a_new_task_that_is_due_beyond_python_s_years_ends_no_paging(
    session: Session, rows: Rows, moment: str
) -> None:
    all_ids = {rows.task(), rows.task(due_in=60), rows.task()}
    (last,) = rows.all(
        "UPDATE fang_tasks SET scheduled_at = CAST(:moment AS timestamptz) WHERE id = :id RETURNING id",
        moment=moment,
        id=max(all_ids),
    )[0]
    page = job_list.page_of_new(session, ["sample"], limit=1)
    found = ids(page)
    while page.older:
        page = job_list.page_of_new(session, ["sample"], limit=1, older_than=page.older)
        found += ids(page)
    assert len(found) == 3
    assert set(found) == all_ids
    assert found[-1 if moment == "infinity" else 0] == last


def test_only_tasks_that_changed_since_a_moment(session: Session, rows: Rows) -> None:
    seeded(rows)
    since = rows.value("SELECT updated_at FROM fang_tasks ORDER BY updated_at DESC OFFSET 100 LIMIT 1")
    page = job_list.page_of_tasks(session, since=since, limit=30)
    found = ids(page)
    while page.older:
        page = job_list.page_of_tasks(session, since=since, limit=30, older_than=page.older)
        found += ids(page)
    assert found == expected(rows, f"updated_at >= '{since.isoformat()}'")
