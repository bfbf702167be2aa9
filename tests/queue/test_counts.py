"""Counts: exact whoever changes the table and however, before and after folding."""

import random
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.queue import rollup
from spoils.queue.counts import Correction, count_tasks, recount, roll_up_counts
from tests.locks import at_once, held, meanwhile
from tests.rows import Rows

# What people do in psql; `:n` is a small random number.
STATEMENTS = [
    (
        "INSERT INTO fang_tasks (metadata, task_type) "
        "SELECT '{}', 'type' || (:n + n) % 3 FROM generate_series(1, :n) AS n"
    ),
    "INSERT INTO fang_tasks (metadata) VALUES ('{}')",
    "INSERT INTO fang_tasks (metadata) SELECT '{}' WHERE false",
    (
        "UPDATE fang_tasks SET state = (enum_range(NULL::fang_task_state))[:n] "
        "WHERE id IN (SELECT id FROM fang_tasks ORDER BY random() LIMIT 5)"
    ),
    (
        "UPDATE fang_tasks SET task_type = 'type' || :n "
        "WHERE id IN (SELECT id FROM fang_tasks ORDER BY random() LIMIT 3)"
    ),
    "UPDATE fang_tasks SET error_message = 'x'",
    "UPDATE fang_tasks SET state = 'failed' WHERE false",
    "DELETE FROM fang_tasks WHERE id IN (SELECT id FROM fang_tasks ORDER BY random() LIMIT :n)",
    "DELETE FROM fang_tasks WHERE false",
    (
        "INSERT INTO fang_tasks (id, metadata) "
        "VALUES (CAST('00000000-0000-0000-0000-00000000000' || :n AS uuid), '{}') "
        "ON CONFLICT (id) DO UPDATE SET state = 'finished', task_type = 'upserted'"
    ),
    (
        "WITH gone AS (DELETE FROM fang_tasks WHERE id IN (SELECT id FROM fang_tasks LIMIT 1) RETURNING metadata) "
        "INSERT INTO fang_tasks (metadata, task_type) SELECT metadata, 'moved' FROM gone"
    ),
]
SEEDED = "INSERT INTO fang_tasks (metadata, task_type) SELECT '{}', 'sample' FROM generate_series(1, 10)"


def counted(rows: Rows) -> dict[tuple[str, str], int]:
    counts = count_tasks(rows.connection)
    assert all(any(states.values()) for states in counts.values()), "a type without tasks is listed"
    return {
        (task_type, state.value): number
        for task_type, states in counts.items()
        for state, number in states.items()
        if number
    }


def true_counts(rows: Rows) -> dict[tuple[str, str], int]:
    found = rows.all("SELECT task_type, state::text, count(*) FROM fang_tasks GROUP BY 1, 2")
    return {(task_type, state): number for task_type, state, number in found}


def fold(engine: Engine) -> None:
    with transaction(engine) as connection:
        roll_up_counts(connection, few=0)


def test_they_are_exact_after_a_session_that_looks_elsewhere_for_its_tables(
    engine: Engine, rows: Rows
) -> None:
    schema = rows.value("SELECT current_schema()")
    with transaction(engine) as connection:
        connection.exec_driver_sql("SET LOCAL search_path = pg_catalog")
        connection.exec_driver_sql(
            f"INSERT INTO {schema}.fang_tasks (metadata) VALUES ('{{}}'), ('{{}}'), ('{{}}')"
        )
        connection.exec_driver_sql(f"UPDATE {schema}.fang_tasks SET state = 'finished'")
        connection.exec_driver_sql(f"DELETE FROM {schema}.fang_tasks")
        connection.exec_driver_sql(
            f"INSERT INTO {schema}.fang_tasks (metadata, state) VALUES ('{{}}', 'failed')"
        )
    assert counted(rows) == true_counts(rows) == {("common", "failed"): 1}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_in_psql_the_counts_are_exact(engine: Engine, rows: Rows, seed: int) -> None:
    chance = random.Random(seed)
    for step in range(60):
        statement = chance.choice(STATEMENTS) if chance.random() < 0.97 else "TRUNCATE fang_tasks"
        with transaction(engine) as connection:
            connection.execute(text(statement), {"n": chance.randint(1, 5)} if ":n" in statement else {})
            if chance.random() < 0.1:
                connection.rollback()
        if chance.random() < 0.2:
            fold(engine)
        assert counted(rows) == true_counts(rows), f"seed {seed}, step {step}: {statement}"
    fold(engine)
    assert counted(rows) == true_counts(rows)
    # Folded, each is one row, and what is zero is none.
    assert rows.value("SELECT count(*) FROM spoils_counts") == len(true_counts(rows))


def test_an_empty_table_has_no_counts(connection: Connection) -> None:
    assert count_tasks(connection) == {}


def test_every_state_of_a_known_type_is_told(connection: Connection, rows: Rows) -> None:
    rows.task(state="failed")
    assert count_tasks(connection) == {"sample": {**dict.fromkeys(TaskState, 0), TaskState.FAILED: 1}}


def test_counts_are_exact_while_others_change_fold_and_recount(engine: Engine, rows: Rows) -> None:
    rows.connection.execute(text(SEEDED))

    def hand(number: int) -> None:
        chance = random.Random(number)
        for _ in range(25):
            if number == 0:
                fold(engine)
            elif number == 1:
                with transaction(engine) as connection:
                    assert recount(connection) == []
            else:
                statement = chance.choice(STATEMENTS[:2] + STATEMENTS[7:8])
                with transaction(engine) as connection:
                    connection.execute(
                        text(statement), {"n": chance.randint(1, 5)} if ":n" in statement else {}
                    )

    at_once(6, hand)
    assert counted(rows) == true_counts(rows)


def test_a_fold_leaves_out_what_is_not_committed_yet(engine: Engine, rows: Rows) -> None:
    rows.connection.execute(text(SEEDED))
    with held(engine) as open_one:
        open_one.execute(text("UPDATE fang_tasks SET state = 'finished'"))
        fold(engine)
        assert counted(rows) == {("sample", "new"): 10}
        open_one.commit()
    assert counted(rows) == {("sample", "finished"): 10}


def test_a_second_fold_at_the_same_time_does_nothing(engine: Engine, rows: Rows) -> None:
    for _ in range(3):
        rows.task()
    with held(engine) as folding_one:
        folding_one.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": rollup.COUNTS_LOCK})
        fold(engine)
        assert rows.value("SELECT count(*) FROM spoils_counts") == 3
    fold(engine)
    assert rows.value("SELECT count(*) FROM spoils_counts") == 1


def test_a_truncate_that_meets_a_fold_leaves_nothing_counted(engine: Engine, rows: Rows) -> None:
    rows.connection.execute(text(SEEDED))

    def truncate(connection: Connection) -> Any:
        connection.execute(text("TRUNCATE fang_tasks"))

    with held(engine) as folding_one:
        roll_up_counts(folding_one, few=0)
        with meanwhile(engine, truncate) as truncating:
            folding_one.commit()
        truncating.result()
    assert counted(rows) == true_counts(rows) == {}


def test_few_rows_are_not_worth_folding(engine: Engine, rows: Rows) -> None:
    for _ in range(3):
        rows.task()
    with transaction(engine) as connection:
        roll_up_counts(connection, few=3)
    assert rows.value("SELECT count(*) FROM spoils_counts") == 3
    with transaction(engine) as connection:
        roll_up_counts(connection, few=2)
    assert rows.value("SELECT count(*) FROM spoils_counts") == 1


def restored_without_the_schema(rows: Rows) -> None:
    """As after a restore of data alone: the triggers have counted, and the counts were restored too."""
    rows.connection.execute(text(SEEDED))
    rows.task(state="failed")
    rows.connection.execute(
        text(
            "INSERT INTO spoils_counts (task_type, state, delta) SELECT task_type, state, delta FROM spoils_counts"
        )
    )


def test_a_recount_corrects_counts_that_are_wrong_once(engine: Engine, rows: Rows) -> None:
    restored_without_the_schema(rows)
    rows.connection.execute(
        text(
            "INSERT INTO spoils_counts (task_type, state, delta) VALUES ('gone', 'new', 3), ('sample', 'retried', -2)"
        )
    )
    for expected in (
        [
            Correction("gone", "new", -3),
            Correction("sample", "failed", -1),
            Correction("sample", "new", -10),
            Correction("sample", "retried", 2),
        ],
        [],
    ):
        with transaction(engine) as connection:
            assert recount(connection) == expected
        assert counted(rows) == true_counts(rows) == {("sample", "new"): 10, ("sample", "failed"): 1}


def test_a_recount_waits_for_nobody_who_writes_and_nobody_for_it(engine: Engine, rows: Rows) -> None:
    restored_without_the_schema(rows)
    with held(engine) as writing, held(engine) as recounting:
        writing.execute(text(SEEDED))
        recount(recounting)
        writing.execute(text("DELETE FROM fang_tasks WHERE state = 'failed'"))
        recounting.commit()
        writing.commit()
    assert counted(rows) == true_counts(rows) == {("sample", "new"): 20}


def test_of_two_recounts_at_the_same_time_one_corrects(engine: Engine, rows: Rows) -> None:
    restored_without_the_schema(rows)
    with held(engine) as first:
        recount(first)
        with meanwhile(engine, recount) as second:
            first.commit()
        assert second.result() == []
    assert counted(rows) == true_counts(rows)


def test_a_recount_that_meets_a_truncate_leaves_nothing_counted(engine: Engine, rows: Rows) -> None:
    def truncate(connection: Connection) -> None:
        connection.execute(text("TRUNCATE fang_tasks"))

    restored_without_the_schema(rows)
    with held(engine) as truncating:
        # As far as a truncate comes before its trigger.
        truncating.execute(text("LOCK TABLE fang_tasks IN ACCESS EXCLUSIVE MODE"))
        with meanwhile(engine, recount) as recounting:
            truncate(truncating)
            truncating.commit()
        assert recounting.result() == []
    assert counted(rows) == true_counts(rows) == {}
    restored_without_the_schema(rows)
    with held(engine) as recounting_first:
        recount(recounting_first)
        with meanwhile(engine, truncate) as truncating_second:
            recounting_first.commit()
        truncating_second.result()
    assert counted(rows) == true_counts(rows) == {}
