"""The verbs: what each does, when it refuses, and what it says."""

from uuid import uuid4

import pytest

from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import Scenes


def press(admin: Visitor, task_id: object, noun: str, back: str | None = None) -> str:
    """Press a verb, follow where it leads, and return what it said."""
    response = admin.press(f"/jobs/{task_id}/{noun}", back=back or f"/jobs/{task_id}")
    assert response.status_code == 303
    return words(admin.see(response.location))


def test_retry_makes_a_failed_job_new_and_says_so_once(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", retries=3)
    assert "Retried 1 job. Show job" in press(admin, task_id, "retries")
    row = scenes.one(task_id)
    assert (row.state, row.retries) == ("new", 0)
    assert "Retried 1 job." not in words(admin.see(f"/jobs/{task_id}"))


def test_retry_refuses_a_job_that_has_not_failed(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="finished")
    assert "Refused: the job is finished. Only a failed job can be retried." in press(
        admin, task_id, "retries"
    )
    assert scenes.state(task_id) == "finished"


def test_retry_refuses_beside_a_twin_and_links_to_it(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", uniq_hash="a" * 64)
    twin = scenes.task(state="new", uniq_hash="a" * 64)
    response = admin.press(f"/jobs/{task_id}/retries", back="/products")
    page = admin.see(response.location)
    assert "Refused: the same unique job already waits. Show the duplicate" in words(page)
    assert f"/jobs/{twin}" in links(page)
    assert scenes.state(task_id) == "failed"


def test_run_now_makes_a_waiting_job_due(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="retried", due_in=3_600)
    assert "1 job is due now." in press(admin, task_id, "runs")
    assert scenes.value("SELECT scheduled_at <= now() FROM fang_tasks WHERE id = :id", id=task_id)


def test_cancel_fails_a_waiting_job(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task()
    assert "Cancelled 1 job." in press(admin, task_id, "cancellations")
    assert (scenes.state(task_id), scenes.one(task_id).error_message) == (
        "failed",
        "Cancelled by an operator.",
    )


def test_cancel_asks_a_running_job_to_stop(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="in_progress")
    assert "1 running job was asked to stop." in press(admin, task_id, "cancellations")
    row = scenes.one(task_id)
    assert row.state == "in_progress"
    assert row.cancel_requested_at is not None


def test_delete_removes_the_job_and_goes_to_the_list(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="finished")
    response = admin.press(f"/jobs/{task_id}/deletions", back=f"/jobs/{task_id}")
    assert response.location == "/jobs"
    page = admin.see("/jobs")
    assert "Deleted 1 job." in words(page)
    assert f"/jobs/{task_id}" not in links(page)
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0


def test_delete_refuses_a_job_in_progress(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="in_progress", attempts=2)
    assert "Refused: attempt 2 is in progress." in press(admin, task_id, "deletions")
    assert scenes.state(task_id) == "in_progress"


def test_a_verb_in_a_list_comes_back_to_that_list(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    response = admin.press(f"/jobs/{task_id}/deletions", back="/jobs?state=failed")
    assert response.location == "/jobs?state=failed"


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", ""])
def test_a_verb_never_leads_to_another_site(admin: Visitor, scenes: Scenes, back: str) -> None:
    task_id = scenes.task(state="failed")
    assert admin.press(f"/jobs/{task_id}/retries", back=back).location == "/jobs"


@pytest.mark.parametrize("noun", ["retries", "runs", "cancellations", "deletions"])
def test_a_verb_on_a_job_that_is_gone_says_so(admin: Visitor, noun: str) -> None:
    response = admin.press(f"/jobs/{uuid4()}/{noun}")
    assert response.status_code == 303
    assert "Refused: the job is gone." in words(admin.see(response.location))


def test_the_second_of_two_clicks_has_no_effect(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    token = admin.token()
    for _ in range(2):
        admin.client.post(f"/jobs/{task_id}/retries", data={"csrf_token": token})
    page = words(admin.see("/jobs"))
    assert "Retried 1 job." in page
    assert "Refused: the job is new. Only a failed job can be retried." in page
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 1


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
