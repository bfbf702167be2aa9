"""docs/scaling.md: its table is what is reckoned, and its statements keep the history of jobs that ended."""

from sqlalchemy import Connection, text

from tests.bench import scale
from tests.documents import ROOT, blocks
from tests.rows import Rows

DOCUMENT = "docs/scaling.md"


def test_the_document_s_table_of_steps_is_the_reckoned_one() -> None:
    assert scale.table() in (ROOT / DOCUMENT).read_text()


def test_its_statements_copy_what_ended_yesterday_by_month(connection: Connection, rows: Rows) -> None:
    made, daily = (block.text for block in blocks(DOCUMENT) if block.language == "sql")
    for statement in filter(str.strip, made.split(";")):
        connection.execute(text(statement))
    ended = [rows.task(state=state) for state in ("finished", "failed")]
    rows.task()
    connection.execute(
        text("UPDATE fang_tasks SET updated_at = date_trunc('day', now()) - interval '1 minute'")
    )
    rows.task(state="finished")
    connection.execute(text(daily))
    connection.execute(text("DELETE FROM fang_tasks"))
    assert set(rows.all("SELECT id FROM job_history")) == {(task_id,) for task_id in ended}
    january = rows.task(state="finished", updated_at="2027-01-31T23:59:59Z")
    connection.execute(text("INSERT INTO job_history SELECT * FROM fang_tasks"))
    assert rows.all("SELECT id FROM job_history_2027_01") == [(january,)]
