"""`SELECT spoils_enqueue(…)`: enqueueing from SQL, for any language."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from spoils.job import wire
from tests.rows import Rows

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), inner)
    ),
    max_leaves=8,
)


def enqueue(connection: Connection, arguments: str, **values: object) -> tuple[object, ...]:
    return tuple(
        connection.execute(text(f"SELECT id, duplicate FROM spoils_enqueue({arguments})"), values).one()
    )


def test_a_job_is_enqueued_with_the_defaults_of_its_class(connection: Connection, rows: Rows) -> None:
    task_id, duplicate = enqueue(connection, "'ChargeCard', '{\"order_id\": 7}'")
    assert duplicate is False
    assert rows.all("SELECT id, metadata, task_type, state::text, priority, uniq_hash FROM fang_tasks") == [
        (task_id, {"type": "ChargeCard", "order_id": 7}, "charge_card", "new", 0, None)
    ]


@pytest.mark.parametrize(
    ("job", "task_type"),
    [
        ("FetchProductJob", "fetch_product"),
        ("Job", "job"),
        ("HTTPCallJob", "http_call"),
        ("Mail2Job", "mail2"),
    ],
)
def test_the_task_type_is_made_as_a_class_makes_it(
    connection: Connection, rows: Rows, job: str, task_type: str
) -> None:
    enqueue(connection, ":job", job=job)
    assert rows.value("SELECT task_type FROM fang_tasks") == task_type


def test_every_option_is_taken(connection: Connection, rows: Rows) -> None:
    enqueue(
        connection,
        "'ChargeCard', at => '2099-01-01T00:00:00Z', priority => -1, uniq => true, task_type => 'money'",
    )
    assert rows.all(
        "SELECT extract(year FROM scheduled_at), priority, task_type, uniq_hash FROM fang_tasks"
    ) == [(2099, -1, "money", wire.uniq_hash({"type": "ChargeCard"}))]


def test_a_unique_job_that_waits_is_returned(connection: Connection, rows: Rows) -> None:
    first, _ = enqueue(connection, "'ChargeCard', '{\"order_id\": 7}', uniq => true")
    assert enqueue(connection, "'ChargeCard', '{\"order_id\": 7}', uniq => true") == (first, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("'ChargeCard', '[]'", "The payload is a JSON object of the fields of ChargeCard"),
        ("'ChargeCard', '{\"type\": \"Other\"}'", 'without a field "type"'),
        ("'ChargeCard', priority => 3", "priority is a whole number from -2 to 2."),
        ("'ChargeCard', '{\"price\": 1.5}', uniq => true", "may not hold a float"),
    ],
)
def test_a_mistake_is_refused_with_a_sentence(
    connection: Connection, rows: Rows, arguments: str, sentence: str
) -> None:
    with pytest.raises(DBAPIError, match=sentence):
        enqueue(connection, arguments)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.dictionaries(st.text(st.characters(exclude_characters="\0", codec="utf-8")), VALUES))
def test_the_canonical_form_is_that_of_python_and_of_fang(
    connection: Connection, payload: dict[str, object]
) -> None:
    made = connection.scalar(
        text("SELECT spoils_canonical(CAST(:value AS jsonb))"), {"value": wire.canonical(payload)}
    )
    assert made == wire.canonical(payload)
