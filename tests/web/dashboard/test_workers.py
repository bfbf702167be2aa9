"""The page of workers: running and stopped ones, stopping one from claiming, and pausing a type."""

import re
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import Scenes


def changed(connection: Connection, worker_id: object, **columns: object) -> None:
    places = ", ".join(f"{name} = :{name}" for name in columns)
    connection.execute(
        text(f"UPDATE spoils_workers SET {places} WHERE id = :worker_id"), {"worker_id": worker_id, **columns}
    )


def test_a_process_and_its_running_jobs_are_shown(admin: Visitor, scenes: Scenes) -> None:
    worker_id = scenes.at_work("fetch_product", "cleanup")
    changed(scenes.connection, worker_id, running=2, rss=118_000_000)
    scenes.ended(100, ran_ms=300)
    task_id = scenes.task(
        state="in_progress",
        task_type="fetch_product",
        metadata={"type": "FetchProductJob", "barcode": "8000500310427", "token": "s3cret"},
        claimed_by=worker_id,
    )
    scenes.connection.execute(
        text("UPDATE fang_tasks SET claimed_at = now() - interval '90 seconds' WHERE id = :id"),
        {"id": task_id},
    )
    scenes.task(state="in_progress", task_type="of_another", claimed_by=uuid4())
    answer = admin.see("/workers")
    page = words(answer)
    assert "1 running process, capacity 5, 2 busy." in page
    assert "worker.1 pid 4 · performs fetch_product, cleanup v143" in page
    assert "118 MB" in page
    assert "2 of 5 busy fetch_product barcode 8000500310427" in page
    assert "p95 is 300 ms" in page  # it runs far longer than its like
    assert f"/jobs/{task_id}" in links(answer)
    assert "s3cret" not in page


def test_an_unresponsive_process_is_not_counted_as_live(admin: Visitor, scenes: Scenes) -> None:
    scenes.worker(silent_for=100)
    page = words(admin.see("/workers"))
    assert "No worker processes running." in page
    assert "test unresponsive" in page
    assert re.search(r"[1-5] min \d+ s", page)


def test_a_type_that_no_worker_takes_says_what_to_start(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("fetch_product")
    scenes.task(task_type="send_notification", due_in=-70)
    page = words(admin.see("/workers"))
    assert (
        "send_notification 1 1 min 0 no running worker. Start one with WORKER_TASK_TYPES=send_notification"
        in page
    )


def test_a_type_that_no_class_has_offers_the_delete_of_its_jobs(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("fetch_product")
    for state in ("new", "new", "retried", "failed"):
        scenes.task(task_type="renamed", state=state)
    page = admin.see("/workers")
    assert (
        "unknown type: no job class has it. Rename the class back, or delete 2 new jobs… and delete 1"
        in words(page)
    )
    previews = [link for link in links(page) if link.startswith("/bulks/new")]
    assert ["Delete 2 new jobs?" in words(admin.see(previews[0])), len(previews)] == [True, 2]
    scenes.at_work("renamed")
    assert "unknown type" not in words(admin.see("/workers"))


def test_recently_stopped_workers_have_their_exit_reason(admin: Visitor, scenes: Scenes) -> None:
    clean, killed, long_ago = scenes.worker(ended=True), scenes.worker(ended=True), scenes.worker(ended=True)
    changed(scenes.connection, clean, ended_how="clean", host="tidy")
    changed(scenes.connection, killed, ended_how="killed", host="gone", rss=498_000_000)
    changed(scenes.connection, long_ago, ended_how="clean", host="old", ended_at="2026-01-01T00:00:00Z")
    for _ in range(2):
        scenes.attempt(scenes.task(), outcome="crashed", worker_id=killed)
    scenes.all(
        "UPDATE spoils_workers SET ended_at = now() - interval '1 hour' WHERE id = :id RETURNING id",
        id=killed,
    )
    scenes.all("UPDATE spoils_attempts SET ended_at = now() - interval '1 hour' RETURNING id")
    page = words(admin.see("/workers"))
    assert page.index("gone pid 1") < page.index("tidy pid 1")
    assert "Stopped cleanly" in page
    assert "2 jobs rescued; memory 498 MB" in page
    assert "old pid 1" not in page


def test_a_worker_is_asked_to_stop_claiming_and_to_claim_again(admin: Visitor, scenes: Scenes) -> None:
    worker_id = scenes.at_work("fetch_product")
    asked = f"/workers/{worker_id}/drains"
    assert asked in actions(admin.see("/workers"))
    assert admin.press(asked).status_code == 303
    page = admin.see("/workers")
    assert "Asked worker.1 (pid 4) to stop claiming." in words(page)
    assert "not claiming" in words(page)
    assert scenes.value("SELECT draining FROM spoils_workers")
    admin.press(f"/workers/{worker_id}/claims")
    assert "worker.1 (pid 4) claims again." in words(admin.see("/workers"))
    assert not scenes.value("SELECT draining FROM spoils_workers")


def test_a_stopped_worker_cannot_be_asked(admin: Visitor, scenes: Scenes) -> None:
    admin.press(f"/workers/{scenes.worker(ended=True)}/drains")
    assert "Refused: this worker has stopped." in words(admin.see("/workers"))
    assert admin.press(f"/workers/{uuid4()}/drains").status_code == 404


def test_a_type_is_paused_and_resumed(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("mail")
    assert admin.press("/pauses", type="mail").status_code == 303
    page = words(admin.see("/workers"))
    assert "Paused mail." in page
    assert "mail paused by admin" in page
    admin.press("/pauses", type="mail")
    assert "Refused: mail is already paused." in words(admin.see("/workers"))
    admin.press("/resumptions", type="mail")
    assert "Resumed mail." in words(admin.see("/workers"))
    admin.press("/resumptions", type="mail")
    assert "Refused: mail is not paused." in words(admin.see("/workers"))
    told = "SELECT string_agg(concat_ws(' ', verb, about, who, done), ', ' ORDER BY id) FROM spoils_audit"
    assert (
        scenes.value(told)
        == "pause mail admin t, pause mail admin f, resume mail admin t, resume mail admin f"
    )
    assert scenes.value("SELECT count(*) FROM spoils_pauses") == 0


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 300])
def test_an_invalid_type_is_not_paused(admin: Visitor, name: str) -> None:
    assert admin.press("/pauses", type=name).status_code == 400
