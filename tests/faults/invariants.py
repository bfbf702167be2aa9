"""What must hold after every fault, read from an audit of every change of state."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from spoils.queue.counts import count_tasks
from tests.rows import Rows
from tests.sample_jobs import EFFECTS

AUDIT = """
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id UUID NOT NULL,
    was TEXT,
    becomes TEXT,
    owner UUID,
    attempts INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    program TEXT NOT NULL DEFAULT current_setting('application_name'),
    at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX audit_task_idx ON audit (task_id, id);

CREATE FUNCTION audit_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.audit (task_id, becomes, owner, attempts, crashes)
        VALUES (NEW.id, NEW.state, NEW.claimed_by, NEW.attempts, NEW.crashes);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO public.audit (task_id, was, owner, attempts, crashes)
        VALUES (OLD.id, OLD.state, OLD.claimed_by, OLD.attempts, OLD.crashes);
    ELSIF NEW.state IS DISTINCT FROM OLD.state THEN
        INSERT INTO public.audit (task_id, was, becomes, owner, attempts, crashes)
        VALUES (NEW.id, OLD.state, NEW.state, coalesce(NEW.claimed_by, OLD.claimed_by), NEW.attempts, NEW.crashes);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER audit_tasks AFTER INSERT OR UPDATE OR DELETE ON fang_tasks
    FOR EACH ROW EXECUTE FUNCTION audit_tasks();
"""


def install(connection: Connection) -> None:
    """Begin the audit, and make the table of side effects."""
    connection.execute(text(EFFECTS))
    connection.execute(text(AUDIT))


def check(rows: Rows, accepted: Collection[UUID] = (), *, deleted: Collection[UUID] = ()) -> None:
    """Raise AssertionError with the rows that break a promise."""
    for name, broken in broken_promises(rows, accepted, deleted=deleted).items():
        assert not broken, f"{name}: {broken[:5]} ({len(broken)} in all)"


def broken_promises(
    rows: Rows, accepted: Collection[UUID] = (), *, deleted: Collection[UUID] = ()
) -> dict[str, list[object]]:
    """By the name of each promise, what breaks it."""
    return {
        "an accepted task is gone": _gone(rows, accepted, deleted),
        "a task is neither ended nor due nor anybody's": rows.all(
            """
            SELECT task.id, task.state, task.claimed_by
            FROM fang_tasks AS task
            LEFT JOIN spoils_workers AS worker ON worker.id = task.claimed_by AND worker.ended_at IS NULL
            WHERE task.state = 'in_progress' AND worker.id IS NULL
            """
        ),
        "an attempt has two outcomes": rows.all(
            """
            SELECT task_id, attempts, array_agg(becomes ORDER BY id) FROM audit
            WHERE was = 'in_progress' GROUP BY task_id, attempts HAVING count(*) > 1
            """
        ),
        "an attempt is recorded twice": rows.all(
            "SELECT task_id, attempt FROM spoils_attempts GROUP BY 1, 2 HAVING count(*) > 1"
        ),
        "an ended task went on": rows.all(
            "SELECT task_id, was, becomes FROM audit WHERE was = 'finished' AND becomes IS NOT NULL"
            " OR was = 'failed' AND becomes NOT IN ('new')"
        ),
        "two attempts of a task ran at once in the table": rows.all(
            """
            SELECT task_id, was, becomes FROM (
                SELECT task_id, was, becomes, lag(becomes) OVER (PARTITION BY task_id ORDER BY id) AS before
                FROM audit
            ) AS changes
            WHERE before IS DISTINCT FROM was AND was IS NOT NULL AND before IS NOT NULL
            """
        ),
        "a transactional effect is there other than exactly once": rows.all(
            """
            SELECT task.id, task.state, count(effect.name)
            FROM fang_tasks AS task
            LEFT JOIN effects AS effect ON effect.task_id = task.id AND effect.name = 'work'
            WHERE task.metadata->>'type' IN ('ChainJob', 'SqlStateJob', 'DeadlockJob')
               OR task.metadata->>'type' = 'WorkJob' AND (task.metadata->>'transactional')::boolean
            GROUP BY task.id, task.state
            HAVING count(effect.name) <> (task.state = 'finished')::int
            """
        ),
        "a chained job is there other than exactly once": rows.all(
            """
            SELECT chain.id, count(link.id)
            FROM fang_tasks AS chain
            LEFT JOIN fang_tasks AS link
                ON link.metadata->>'type' = 'LinkJob' AND link.metadata->>'number' = chain.metadata->>'number'
            WHERE chain.metadata->>'type' = 'ChainJob'
            GROUP BY chain.id, chain.state
            HAVING count(link.id) <> (chain.state = 'finished')::int
            """
        ),
        "the counts are not those of count(*)": _miscounted(rows),
        "the per-minute stats differ from what finished": rows.all(
            """
            SELECT task_type, sum(recorded), sum(happened) FROM (
                SELECT task_type, count AS recorded, 0 AS happened FROM spoils_minutes WHERE outcome = 'finished'
                UNION ALL
                SELECT task_type, 0, 1 FROM fang_tasks WHERE state = 'finished' AND claimed_by IS NOT NULL
            ) AS both_sides
            GROUP BY task_type HAVING sum(recorded) <> sum(happened)
            """
        ),
        "a tick has other than one task": rows.all(
            """
            SELECT task_id, count(*) FROM spoils_ticks WHERE outcome = 'entered' GROUP BY task_id
            HAVING count(*) > 1 OR task_id IS NULL
            """
        ),
    }


def declared_dead(rows: Rows) -> list[tuple[object, ...]]:
    """The workers that others declared dead: their processes, and when."""
    return rows.all("SELECT pid, beat_at, ended_at FROM spoils_workers WHERE ended_how = 'killed'")


def all_ended(rows: Rows, task_ids: Collection[UUID], state: str = "finished") -> None:
    """Every one of these tasks has come to that state."""
    others = rows.all(
        "SELECT id, state, attempts, crashes, error_message FROM fang_tasks "
        "WHERE id = ANY(:ids) AND state <> CAST(:state AS fang_task_state)",
        ids=list(task_ids),
        state=state,
    )
    assert not others, f"{len(others)} are not {state}: {others[:3]}"


def _gone(rows: Rows, accepted: Collection[UUID], deleted: Collection[UUID]) -> list[object]:
    there = {
        task_id
        for (task_id,) in rows.all("SELECT id FROM fang_tasks WHERE id = ANY(:ids)", ids=list(accepted))
    }
    return [task_id for task_id in accepted if task_id not in there and task_id not in deleted]


def _miscounted(rows: Rows) -> list[object]:
    # Counts and rows are read in one snapshot, since workers may go on meanwhile.
    with rows.connection.execution_options().engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            counted = {
                (task_type, state.value, number)
                for task_type, states in count_tasks(connection).items()
                for state, number in states.items()
                if number
            }
            real = {
                tuple(row)
                for row in connection.execute(
                    text("SELECT task_type, state::text, count(*) FROM fang_tasks GROUP BY 1, 2")
                )
            }
    return sorted(counted ^ real)
