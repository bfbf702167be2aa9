"""`django.tasks` in a Django application of its own, with a real worker on a real PostgreSQL."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.programs import ROOT, Program, worker
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.django_app.settings"}
BEGIN = """
import asyncio, os
import django
django.setup()
import psycopg2
from django.db import transaction
from tests.django_app import tasks
from tests.django_app.models import Order
from tests.support import eventually

def raised(act, *arguments):
    try:
        act(*arguments)
    except Exception as exc:
        return type(exc).__name__
"""
ENQUEUES = """
other = psycopg2.connect(os.environ["DATABASE_URL"])
other.autocommit = True

def seen():
    with other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM fang_tasks")
        return cursor.fetchone()[0]

with transaction.atomic():
    Order(pk=7).charge()
    assert seen() == 0
assert seen() == 1
try:
    with transaction.atomic():
        tasks.charge.enqueue(8)
        raise LookupError
except LookupError:
    pass
assert seen() == 1

from datetime import datetime, timedelta, timezone
later = datetime.now(timezone.utc) + timedelta(hours=1)
result = tasks.charge.using(priority=60, run_after=later, queue_name="mails").enqueue(9, amount=(1, 2), card="x")
assert (result.status, result.args, result.kwargs) == ("READY", [9], {"amount": [1, 2], "card": "x"})
assert (result.is_finished, result.attempts, result.errors) == (False, 0, [])
again = tasks.charge.get_result(result.id)
assert (again.id, again.args, again.kwargs, again.status) == (result.id, [9], {"amount": [1, 2], "card": "x"}, "READY")
assert (again.task.queue_name, again.started_at, again.finished_at) == ("mails", None, None)

async def asynchronously():
    enqueued = await tasks.charge.aenqueue(10)
    return await tasks.charge.aget_result(enqueued.id)

assert asyncio.run(asynchronously()).args == [10]

assert raised(tasks.charge.enqueue, object()) == "TypeError"
assert raised(tasks.charge.get_result, "nonsense") == "TaskResultDoesNotExist"
assert raised(tasks.charge.get_result, "00000000-0000-7000-8000-000000000000") == "TaskResultDoesNotExist"
assert raised(tasks.attempts.get_result, result.id) == "TaskResultMismatch"
assert raised(tasks.fails.get_result, result.id) == "TaskResultDoesNotExist"
assert raised(lambda: tasks.task(tasks.no_task).using(queue_name="unknown")).startswith("InvalidTask")
assert seen() == 3
"""
PERFORMS = """
def ended(result):
    def has_ended():
        result.refresh()
        assert result.is_finished, result
        return result

    return eventually(has_ended, 20)

done = ended(tasks.charge.enqueue(1, card="x"))
assert done.return_value == {"order": 1, "amount": 1, "card": "x"}
assert (done.status, done.attempts, done.errors) == ("SUCCESSFUL", 1, [])
assert done.enqueued_at <= done.started_at == done.last_attempted_at <= done.finished_at
assert ended(tasks.attempts.enqueue(0)).return_value == 1
assert ended(tasks.slowly.enqueue(4)).return_value == 8

failed = ended(tasks.fails.enqueue())
assert (failed.status, raised(lambda: failed.return_value)) == ("FAILED", "ValueError")
(error,) = failed.errors
assert error.exception_class is tasks.CardDeclined
assert error.traceback.endswith("CardDeclined: no money\\n") and "in fails" in error.traceback

cancelled = ended(tasks.outcome.enqueue("cancel"))
assert [error.traceback for error in cancelled.errors] == ["no such order"]
assert cancelled.errors[0].exception_class.__name__ == "Cancel"

retried = [tasks.attempts.enqueue(1), tasks.outcome.enqueue("later"), tasks.unusable.enqueue()]
snoozed = tasks.outcome.enqueue("snooze")


def each_was_tried():
    for one in [*retried, snoozed]:
        one.refresh()
        assert one.attempts == 1
        assert one.status == "READY"

eventually(each_was_tried, 20)
assert {one.status for one in [*retried, snoozed]} == {"READY"}
assert [len(one.errors) for one in [*retried, snoozed]] == [1, 1, 1, 0]
assert retried[0].errors[0].traceback.endswith(f"attempt 1 of {retried[0].id}\\n")
assert "The result has no JSON form" in retried[2].errors[0].traceback
"""

DOCUMENT = """
import django
django.setup()
from shop.jobs import MailTask, NightlyReceipt
from shop.orders import place_order
from shop.tasks import mail_receipt
from spoils.testing import drain

result = mail_receipt.get_result(place_order())
mail_receipt.using(backend="mails").enqueue(8)
assert [(one.outcome, one.result) for one in drain()] == [("finished", "mailed 7"), ("finished", "mailed 8")]
result.refresh()
assert result.return_value == "mailed 7"
"""


def django(script: str, database_url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, **SETTINGS, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_tasks_are_enqueued_in_django_s_transaction_and_read(database_url: str, rows: Rows) -> None:
    done = django(BEGIN + ENQUEUES, database_url)
    assert done.returncode == 0, done.stderr
    found = rows.all(
        "SELECT metadata->>'function', task_type, priority, scheduled_at > now() FROM fang_tasks"
    )
    assert sorted(found, key=str) == [
        ("tests.django_app.tasks.charge", "django_task", 0, False),
        ("tests.django_app.tasks.charge", "django_task", 0, False),
        ("tests.django_app.tasks.charge", "django_task", 2, True),
    ]


def test_a_worker_performs_tasks_with_retries_and_their_results_are_read(
    database_url: str, rows: Rows
) -> None:
    jobs = "spoils.django,tests.django_app.jobs"
    with worker(database_url, SPOILS_JOBS=jobs, **SETTINGS) as program:
        done = django(BEGIN + PERFORMS, database_url)
        assert done.returncode == 0, f"{done.stderr}{program.output}"
        rows.effect("charged 1")
        # A payload may name no other function.
        other = rows.task(metadata={"type": "DjangoTask", "function": "os.abort"}, task_type="django_task")
        assert rows.becomes(other, "failed").error_message == "os.abort is no function with Django's @task."
        eventually(lambda: rows.effects("charged tick") >= 1)

        def nothing_is_left_open() -> None:
            idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            assert rows.value(idle) == 0

        eventually(
            nothing_is_left_open
        )  # neither by Django nor by the worker, which has transactions of moments
        program.stop()


def test_without_django_s_settings_the_worker_says_so(database_url: str) -> None:
    with Program(
        "worker.py", DATABASE_URL=database_url, SPOILS_JOBS="spoils.django", DJANGO_SETTINGS_MODULE=""
    ) as program:
        assert program.ends() == 2
        assert "DJANGO_SETTINGS_MODULE" in program.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "no issues"),
        ({"job": "tests.sample_jobs.SampleJob"}, "is no subclass of spoils.django.DjangoTask"),
        ({"job": "shop.jobs.NoSuchTask"}, "No module named"),
        ({"database": "elsewhere"}, "there is no PostgreSQL database"),
    ],
)
def test_manage_py_check_finds_wrong_options(
    database_url: str, options: dict[str, str], sentence: str
) -> None:
    script = f"""
from spoils.django import Backend
print(Backend("default", {{"OPTIONS": {options!r}}}).check() or "no issues")
"""
    done = django(BEGIN + script, database_url)
    assert done.returncode == 0, done.stderr
    assert sentence in done.stdout


def test_the_examples_of_the_document_work(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    for block in blocks("docs/django.md"):
        if block.language == "python":
            text = (
                block.text
                if find_spec("django.tasks")
                else block.text.replace("django.tasks", "django_tasks")
            )
            path = tmp_path / text.partition("\n")[0].removeprefix("# ")
            if path.name == "settings.py":
                text = f"from tests.django_app.settings import *\nINSTALLED_APPS = []\n{text}"
            path.write_text(text)
    environment = {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    done = django(DOCUMENT, database_url, **environment)
    assert done.returncode == 0, done.stderr
