"""The actions on a job: what each does, when it refuses, and its message."""

from uuid import uuid4

import pytest

from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import Scenes


def press(admin: Visitor, task_id: object, noun: str, back: str | None = None) -> str:
    """Press an action, follow the redirect, and return the words of that page."""
    response = admin.press(f"/jobs/{task_id}/{noun}", back=back or f"/jobs/{task_id}")
    assert response.status_code == 303
    return words(admin.see(response.location))


def test_retry_makes_a_failed_job_new_and_says_so_once(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", retries=3)
    assert "Retried 1 job. Show job" in press(admin, task_id, "retries")
    row = scenes.one(task_id)
    assert (row.state, row.retries) == ("new", 0)
    assert "Retried 1 job." not in words(admin.see(f"/jobs/{task_id}"))


@pytest.mark.parametrize(
    ("noun", "state", "message", "result"),
    [
        ("runs", "retried", "1 job is due now.", "retried"),
        ("cancellations", "new", "Cancelled 1 job.", "failed"),
        ("cancellations", "in_progress", "1 running job was asked to stop.", "in_progress"),
        (
            "retries",
            "finished",
            "Refused: the job is finished. Only a failed job can be retried.",
            "finished",
        ),
        ("deletions", "in_progress", "Refused: attempt 2 is in progress.", "in_progress"),
    ],
)
def test_an_action_does_what_its_message_says(
    admin: Visitor, scenes: Scenes, *, noun: str, state: str, message: str, result: str
) -> None:
    task_id = scenes.task(state=state, attempts=2, due_in=3_600 if noun == "runs" else 0)
    assert message in press(admin, task_id, noun)
    assert scenes.state(task_id) == result
    if noun == "runs":
        assert scenes.value("SELECT scheduled_at <= now() FROM fang_tasks WHERE id = :id", id=task_id)
    assert bool(scenes.one(task_id).cancel_requested_at) == (message == "1 running job was asked to stop.")


def test_retry_refuses_beside_a_duplicate_and_links_to_it(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", uniq_hash="a" * 64)
    duplicate = scenes.task(state="new", uniq_hash="a" * 64)
    response = admin.press(f"/jobs/{task_id}/retries", back="/products")
    page = admin.see(response.location)
    assert "Refused: the same unique job already waits. Show the duplicate" in words(page)
    assert f"/jobs/{duplicate}" in links(page)
    assert scenes.state(task_id) == "failed"


def test_delete_removes_the_job_and_goes_to_the_list(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="finished")
    response = admin.press(f"/jobs/{task_id}/deletions", back=f"/jobs/{task_id}")
    assert response.location == "/jobs"
    page = admin.see("/jobs")
    assert "Deleted 1 job." in words(page)
    assert f"/jobs/{task_id}" not in links(page)
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0
    in_a_list = admin.press(f"/jobs/{scenes.task()}/deletions", back="/jobs?state=failed")
    assert in_a_list.location == "/jobs?state=failed"


@pytest.mark.parametrize("noun", ["retries", "runs", "cancellations", "deletions"])
def test_an_action_on_a_deleted_job_says_so(admin: Visitor, noun: str) -> None:
    response = admin.press(f"/jobs/{uuid4()}/{noun}")
    assert response.status_code == 303
    assert "Refused: the job is gone." in words(admin.see(response.location))


def test_a_delete_is_undone_from_the_next_page(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    admin.press(f"/jobs/{task_id}/deletions")
    undo = f"/jobs/{task_id}/restorations"
    assert undo in actions(admin.see("/jobs"))
    assert "Restored 1 job." in press(admin, task_id, "restorations")
    assert scenes.state(task_id) == "failed"


def test_the_page_of_a_deleted_job_offers_to_restore_it(
    admin: Visitor, viewer: Visitor, scenes: Scenes
) -> None:
    task_id = scenes.task(state="failed")
    admin.press(f"/jobs/{task_id}/deletions")
    admin.see("/jobs")
    page = admin.see(f"/jobs/{task_id}", 404)
    assert "This job was deleted" in words(page)
    assert "admin deleted it. failed → none" in words(page)
    assert actions(page)[-1] == f"/jobs/{task_id}/restorations"
    assert f"/jobs/{task_id}/restorations" not in actions(viewer.see(f"/jobs/{task_id}", 404))
    admin.press(f"/jobs/{task_id}/restorations")
    assert "Audit" in words(admin.see(f"/jobs/{task_id}"))
