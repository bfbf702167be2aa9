"""The audit log: pages of all entries, and the entries of one task."""

from uuid import uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from spoils.db.engine import transaction
from spoils.queue import actions, audit
from spoils.reports import audit_log
from spoils.reports.audit_log import page_of_entries
from tests.rows import Rows


def test_pages_go_in_both_directions_without_gaps_or_repeats(engine: Engine) -> None:
    with transaction(engine) as connection:
        for number in range(1, 8):
            audit.enter_about(connection, "pause", str(number), who="admin", done=True)
    with Session(engine) as session:
        latest = page_of_entries(session, limit=3)
        assert latest.newer is None
        assert latest.older
        middle = page_of_entries(session, older_than=latest.older[0], limit=3)
        assert middle.newer
        assert middle.older
        oldest = page_of_entries(session, older_than=middle.older[0], limit=3)
        assert oldest.older is None
        pages = [latest, middle, oldest, page_of_entries(session, newer_than=middle.newer[0], limit=3)]
        assert ["".join(entry.about or "" for entry in page.rows) for page in pages] == [
            "765",
            "432",
            "1",
            "765",
        ]
        assert pages[-1].newer is None


def test_an_action_on_many_tasks_is_one_entry(engine: Engine, rows: Rows) -> None:
    bulk_id = uuid4()
    with transaction(engine) as connection:
        audit.enter_many(connection, "delete", bulk_id, who="admin", about="2 failed jobs")
        audit.enter(connection, "delete", rows.task(), who="admin", bulk_id=bulk_id)
        audit.enter(connection, "retry", rows.task(), who="admin")
    with Session(engine) as session:
        assert [entry.verb for entry in page_of_entries(session).rows] == ["retry", "delete"]


def test_the_entries_of_a_task_are_its_own_the_latest_first(engine: Engine, rows: Rows) -> None:
    task_id, other = rows.task(), rows.task()
    with transaction(engine) as connection:
        for action, of in (("run_now", task_id), ("cancel", other), ("cancel", task_id)):
            actions.act(connection, action, of, who="admin")
    with Session(engine) as session:
        assert [entry.verb for entry in audit_log.entries_of(session, task_id)] == ["cancel", "run_now"]
        assert [entry.verb for entry in audit_log.entries_of(session, task_id, 1)] == ["cancel"]
