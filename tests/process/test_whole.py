"""The whole system as real programs: gunicorn, the worker, Open Food Facts, mail and the webhooks around it."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
import requests
from sqlalchemy import Connection, text

from spoils.builtin.cleanup import CleanupJob
from spoils.jobs.fetch_product import FetchProductJob
from spoils.jobs.send_notification import SendNotificationJob
from spoils.models import TaskState
from spoils.queue.counts import count_tasks
from spoils.queue.enqueue import enqueue
from tests.programs import Program, Web, worker
from tests.receivers import a_mailbox, a_webhook
from tests.rows import Rows
from tests.support import eventually
from tests.upstream import Upstream, raw
from tests.upstream import status as answering

pytestmark = pytest.mark.process

BARCODE = "737628064502"
NOODLES = {
    "product_name": "Thai peanut noodle kit",
    "brands": "Thai Kitchen",
    "nutriscore_grade": "d",
    "nova_group": 4,
    "lc": "en",
    "ingredients_text": "Rice noodles (rice, water), peanut, palm oil, colour: E120",
    "allergens_tags": ["en:peanuts"],
}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def the_worker(database_url: str, upstream: Upstream | None = None, **environment: str) -> Program:
    """A worker with the jobs of this deployment alone."""
    asked = {"OPENFOODFACTS_URL": upstream.url} if upstream else {}
    return worker(database_url, **{"SPOILS_JOBS": "spoils.jobs", **asked, **environment})


def test_a_posted_barcode_becomes_a_product_with_its_analysis(
    database_url: str, rows: Rows, upstream: Upstream
) -> None:
    upstream.products[BARCODE] = NOODLES
    with Web(database_url) as web, the_worker(database_url, upstream) as program:
        enqueued = requests.post(f"{web.url}/api/jobs/fetch-product", json={"barcode": BARCODE}, timeout=15)
        assert (enqueued.status_code, enqueued.json()["barcode"]) == (200, BARCODE)
        rows.becomes(UUID(enqueued.json()["id"]), "finished")

        def analysed() -> dict[str, Any]:
            product = requests.get(f"{web.url}/api/products/{BARCODE}", timeout=15).json()
            assert product.get("analysis"), product
            return product

        product = eventually(analysed, 15)
        status = requests.get(f"{web.url}/api/jobs/status", timeout=15).json()
        program.says(r"Processing FetchProductJob")
        program.says(r"Processing AnalyzeIngredientsJob")
    assert (product["name"], product["barcode"], product["nutriscore"]) == (
        "Thai peanut noodle kit",
        "0737628064502",
        "d",
    )
    assert product["allergens"] == ["en:peanuts"]
    assert product["analysis"]["vegan"] == "no"
    assert status["counts"] == {"new": 0, "in_progress": 0, "failed": 0, "finished": 2, "retried": 0}
    assert [one["threads"] for one in status["workers"]] == [5]
    assert len(upstream.requests) == 1
    assert upstream.requests[0].headers["User-Agent"].startswith("Spoils/")


def test_an_upstream_that_always_fails_is_asked_again_after_60_120_and_240_s_and_then_no_more(
    database_url: str, connection: Connection, rows: Rows, upstream: Upstream
) -> None:
    upstream.always(BARCODE, answering(503))
    task_id = enqueue(connection, FetchProductJob(barcode=BARCODE)).id
    delays = []
    with the_worker(database_url, upstream):
        for retries in (1, 2, 3):
            eventually(lambda retries=retries: rows.one(task_id).retries == retries, 20)
            row = rows.becomes(task_id, "retried")
            assert row.error_message
            delays.append((row.scheduled_at - row.updated_at).total_seconds())
            rows.all("UPDATE fang_tasks SET scheduled_at = now() WHERE id = :id RETURNING id", id=task_id)
        row = rows.becomes(task_id, "failed")
    assert 60 <= delays[0] <= 66
    assert 120 <= delays[1] <= 132
    assert 240 <= delays[2] <= 264
    assert all(second > first for first, second in pairwise(delays))
    assert "503" in row.error_message
    assert (row.retries, row.attempts, row.crashes) == (3, 4, 0)
    assert len(upstream.requests) == 4
    logged = rows.all("SELECT attempt, outcome FROM spoils_attempts ORDER BY attempt")
    assert [attempt for attempt, _ in logged] == [1, 2, 3, 4]


def test_what_upstream_answers_decides_what_becomes_of_a_fetch(
    database_url: str, connection: Connection, rows: Rows, upstream: Upstream
) -> None:
    missing, busy, gone, broken = "11111111", "22222222", "33333333", "44444444"
    upstream.always(busy, answering(429, retry_after="1234"))
    upstream.always(gone, answering(403))
    upstream.always(broken, raw(b"<html>maintenance</html>", "text/html"))
    ids = {code: enqueue(connection, FetchProductJob(barcode=code)).id for code in (missing, gone, broken)}
    with the_worker(database_url, upstream):
        not_found = rows.becomes(ids[missing], "failed")
        refused = rows.becomes(ids[gone], "failed")
        no_json = rows.becomes(ids[broken], "retried")
        throttled = rows.becomes(enqueue(connection, FetchProductJob(barcode=busy)).id, "retried")
        held = "SELECT name FROM spoils_holds WHERE until > now() + interval '1200 s'"
        assert rows.value(held) == "FetchProductJob per 60 s"
    assert (not_found.retries, not_found.attempts) == (0, 1)
    assert missing in not_found.error_message
    assert "Traceback" not in not_found.error_message
    waited = (throttled.scheduled_at - throttled.updated_at).total_seconds()
    assert 1234 <= waited <= 1234 * 1.1
    assert throttled.retries == 1
    assert (refused.retries, refused.attempts) == (0, 1)
    assert 60 <= (no_json.scheduled_at - no_json.updated_at).total_seconds() <= 66
    assert len(upstream.requests) == 4
    assert rows.value("SELECT count(*) FROM products") == 0


def test_a_product_fetched_again_is_brought_up_to_date_and_analysed_again(
    database_url: str, connection: Connection, rows: Rows, upstream: Upstream
) -> None:
    upstream.products[BARCODE] = NOODLES
    with the_worker(database_url, upstream):
        rows.becomes(enqueue(connection, FetchProductJob(barcode=BARCODE)).id, "finished")
        eventually(lambda: rows.all("SELECT vegan FROM ingredient_analyses")[0], 15)
        upstream.products[BARCODE] = {**NOODLES, "product_name": "Noodles", "ingredients_text": "Rice, water"}
        # The same product in another spelling of its code.
        rows.becomes(enqueue(connection, FetchProductJob(barcode=f"00{BARCODE}")).id, "finished")
        eventually(lambda: rows.all("SELECT vegan FROM ingredient_analyses") == [("yes",)], 15)
    assert rows.all("SELECT barcode, name FROM products") == [("0737628064502", "Noodles")]


def test_notifications_go_out_by_mail_and_webhook_as_their_type_is_set(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    def send(kind: str, message: str) -> UUID:
        job = SendNotificationJob(user_id=123, notification_type=kind, message=message)
        return enqueue(connection, job).id

    ids = {
        kind: send(kind, f"Your scan is ready, {kind}: «ü»!") for kind in ("email", "Web-Push", "sms", "down")
    }
    with (
        a_mailbox() as mailbox,
        a_webhook() as hooks,
        the_worker(
            database_url,
            SPOILS_NOTIFY_URL_EMAIL=f"mailto://127.0.0.1:{mailbox.port}/?from=spoils@example.com&to=user@example.com",
            SPOILS_NOTIFY_URL_WEB_PUSH=f"json://{hooks.place}/push/h00k-s3cret",
            SPOILS_NOTIFY_URL_DOWN="json://127.0.0.1:1/push/h00k-s3cret",
        ) as program,
    ):
        for kind in ("email", "Web-Push", "sms"):
            rows.becomes(ids[kind], "finished")
        undelivered = rows.becomes(ids["down"], "retried")
        program.says("Delivered sms to user 123 \\(no SPOILS_NOTIFY_URL_SMS is set\\)")
    (envelope,) = mailbox.mails
    assert envelope.rcpt_tos == ["user@example.com"]
    assert b"Your scan is ready, email" in envelope.content
    ((path, posted),) = hooks.posts
    assert path == "/push/h00k-s3cret"
    assert posted["message"] == "Your scan is ready, Web-Push: «ü»!"
    assert undelivered.error_message
    assert "s3cret" not in f"{undelivered.error_message}{program.output}"


def test_the_cleanup_deletes_what_is_older_than_its_retention_and_nothing_else(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    def old(state: str, days: float) -> UUID:
        task_id = rows.task(state=state)
        rows.all(
            "UPDATE fang_tasks SET updated_at = now() - make_interval(hours => :hours) WHERE id = :id RETURNING id",
            hours=int(days * 24),
            id=task_id,
        )
        return task_id

    kept = {
        *(old("finished", 1.9), old("failed", 4.9)),
        *(old(state, 400) for state in ("new", "retried", "in_progress")),
    }
    gone = {old("finished", 2.1), old("failed", 5.1), old("finished", 400)}
    job = enqueue(connection, CleanupJob()).id
    with the_worker(database_url, SPOILS_RETENTION_DAYS="2", SPOILS_FAILED_RETENTION_DAYS="5"):
        rows.becomes(job, "finished")
    left = {task_id for (task_id,) in rows.all("SELECT id FROM fang_tasks")}
    assert left == {*kept, job}
    assert not left & gone


def test_the_cleanup_keeps_minutes_for_a_day_whatever_the_retention_so_that_all_get_into_the_totals(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    connection.execute(
        text(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) "
            "SELECT now() - make_interval(hours => ago), 'sample', 'failed', 1, ago, 1 "
            "FROM unnest(ARRAY[1, 23, 25]) AS ago"
        )
    )
    job = enqueue(connection, CleanupJob()).id
    with the_worker(database_url, SPOILS_RETENTION_DAYS="0.01", SPOILS_FAILED_RETENTION_DAYS="0.01"):
        rows.becomes(job, "finished")
    assert rows.all("SELECT count FROM spoils_minutes WHERE task_type = 'sample' ORDER BY 1") == [(1,), (23,)]


def test_the_cleanup_corrects_counts_that_differ_from_the_table(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    rows.task(state="failed")
    connection.execute(
        text("INSERT INTO spoils_counts (task_type, state, delta) VALUES ('sample', 'failed', 5)")
    )
    job = enqueue(connection, CleanupJob()).id
    with the_worker(database_url) as program:
        rows.becomes(job, "finished")
        program.says("Corrected the counts: sample failed -5")
    assert count_tasks(connection)["sample"][TaskState.FAILED] == 1
