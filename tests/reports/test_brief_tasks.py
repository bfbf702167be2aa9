"""What a list reads of its tasks is bounded, whatever their rows hold."""

import json
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from spoils.models import Task
from spoils.reports.brief_tasks import LARGEST_PAYLOAD, LONGEST_ERROR, brief_tasks
from tests.rows import Rows


def the_one(session: Session) -> Task:
    (task,) = brief_tasks(session, select(Task))
    return task


def test_a_usual_task_is_read_whole(session: Session, rows: Rows) -> None:
    task_id = rows.task(
        state="failed", metadata={"type": "X", "n": [1, None]}, error_message="boom", retries=3
    )
    task, whole = the_one(session), session.get(Task, task_id)
    assert whole is not None
    for column in Task.__mapper__.column_attrs:
        assert getattr(task, column.key) == getattr(whole, column.key)


def test_a_long_error_is_cut(session: Session, rows: Rows) -> None:
    rows.task(state="failed", error_message="x" * 2_000_000)
    assert the_one(session).error_message == "x" * LONGEST_ERROR


@pytest.mark.parametrize("filling", ["x" * (LARGEST_PAYLOAD + 1), "".join(uuid4().hex for _ in range(2_000))])
def test_of_a_large_payload_the_type_and_the_size_are_read(
    session: Session, rows: Rows, filling: str
) -> None:
    rows.task(metadata={"type": "X", "filling": filling})
    payload = the_one(session).payload
    assert payload.keys() == {"type", "omitted_bytes"}
    assert payload["type"] == "X"


@pytest.mark.parametrize("metadata", [[], [1] * 100_000, None, "x" * 100_000])
def test_a_payload_of_any_form_is_read(session: Session, rows: Rows, metadata: object) -> None:
    rows.task(metadata=metadata)
    assert len(json.dumps(the_one(session).payload)) < LARGEST_PAYLOAD
