"""Steps: written only by the attempt that holds the task, and read by the next one."""

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from spoils.job.outcome import FINISHED
from spoils.queue import prune
from spoils.queue.actions import act
from spoils.queue.finish import ClaimLost
from spoils.queue.rescue import rescue
from spoils.queue.steps import StepLog, write_step
from tests.locks import meanwhile
from tests.queue.hands import end, take
from tests.rows import Rows


def test_a_step_is_read_by_later_attempts(engine: Engine, connection: Connection, rows: Rows) -> None:
    task_id, worker_id = rows.task(), rows.worker()
    (claim,) = take(connection, worker_id)
    log = StepLog(engine, worker_id)
    log.write(claim, "download", '{"rows":[1,2.5,null]}', 7)
    assert log.read(claim) == {"download": '{"rows": [1, 2.5, null]}'}
    assert rows.all("SELECT task_id, name, attempt, ran_ms FROM spoils_steps") == [
        (task_id, "download", 1, 7)
    ]


@pytest.mark.parametrize("lost", ["rescued", "settled", "deleted", "of another worker"])
def test_an_attempt_that_has_lost_its_task_writes_none(
    engine: Engine, connection: Connection, rows: Rows, lost: str
) -> None:
    task_id, worker_id = rows.task(), rows.worker(silent_for=60)
    (claim,) = take(connection, worker_id)
    match lost:
        case "rescued":
            beat = rows.value("SELECT beat_at::text FROM spoils_workers")
            assert rescue(connection, worker_id=worker_id, beat=beat).tasks == 1
            take(connection, rows.worker())
        case "settled":
            end(connection, worker_id, claim, verdict=FINISHED)
        case "deleted":
            connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": task_id})
        case _:
            worker_id = rows.worker()
    with pytest.raises(ClaimLost):
        StepLog(engine, worker_id).write(claim, "download", "1", 1)
    assert rows.all("SELECT name FROM spoils_steps") == []


def test_a_rescue_waits_for_a_step_that_is_being_written(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    """So the next attempt finds it."""
    task_id, worker_id = rows.task(), rows.worker()
    (claim,) = take(connection, worker_id)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as writing:
        write_step(writing, claim, "download", "1", 1, worker_id=worker_id)
        with meanwhile(
            engine,
            lambda other: other.execute(
                text("UPDATE fang_tasks SET state = 'new', claimed_by = NULL WHERE id = :id"), {"id": task_id}
            ),
        ):
            writing.commit()
    assert rows.all("SELECT name FROM spoils_steps") == [("download",)]


def test_steps_go_with_their_task_unless_its_delete_can_be_undone(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    worker_id = rows.worker()
    for _ in range(3):
        rows.task()
    kept, trashed, gone = take(connection, worker_id, 3)
    for claim in (kept, trashed, gone):
        StepLog(engine, worker_id).write(claim, "download", "1", 1)
        end(connection, worker_id, claim)
    with transaction(engine) as deleting:
        act(deleting, "delete", trashed.id, who="admin")
    connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": gone.id})
    assert prune.prune_steps(connection) == 1
    left = {task_id for (task_id,) in rows.all("SELECT task_id FROM spoils_steps")}
    assert left == {kept.id, trashed.id}
    connection.execute(text("DELETE FROM spoils_trash"))
    assert prune.prune_steps(connection) == 1
