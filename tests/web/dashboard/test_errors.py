"""Failures in groups: what a group is, which are new, retrying one job, then the group."""

from uuid import UUID

import pytest
from sqlalchemy import text

from spoils.reports import failure_groups
from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import TRACEBACK, Scenes


def failed(scenes: Scenes, fingerprint: str | None = "abc", hours_ago: float = 0, **columns: object) -> UUID:
    """A failed job and the attempt that failed it."""
    outcome = str(columns.pop("outcome", "failed"))
    release = columns.pop("release", "v1")
    message = columns.pop("message", "503 from Open Food Facts")
    task_id = scenes.task(
        state="failed",
        attempts=2,
        error_message=f"Unavailable: {message}",
        **columns,  # type: ignore[arg-type]
    )
    scenes.attempt(
        task_id,
        2,
        outcome,
        fingerprint=fingerprint,
        error_class="Unavailable" if fingerprint else "",
        message=message,
        traceback=TRACEBACK if fingerprint else None,
        release=release,
    )
    for table, column in (("fang_tasks", "updated_at"), ("spoils_attempts", "ended_at")):
        key = "id" if table == "fang_tasks" else "task_id"
        scenes.connection.execute(
            text(f"UPDATE {table} SET {column} = now() - make_interval(secs => :ago) WHERE {key} = :id"),
            {"ago": hours_ago * 3600, "id": task_id},
        )
    return task_id


def release(scenes: Scenes, name: str, hours_ago: float) -> None:
    worker_id = scenes.worker()
    scenes.connection.execute(
        text(
            "UPDATE spoils_workers SET release = :name, started_at = now() - make_interval(hours => :ago) "
            "WHERE id = :id"
        ),
        {"name": name, "ago": hours_ago, "id": worker_id},
    )


def test_similar_failures_are_one_group_with_count_place_and_releases(admin: Visitor, scenes: Scenes) -> None:
    for hours in (0, 1, 30):
        failed(scenes, hours_ago=hours, release="v1" if hours else "v2", task_type="fetch_product")
    failed(scenes, "other", message="boom")
    page = words(admin.see("/errors"))
    assert "4 failed jobs in 2 groups." in page
    assert "Unavailable 503 from Open Food Facts spoils/jobs/fetch_product.py:41 run · fetch_product" in page
    assert "v1–v2" in page
    assert "3 failed jobs over time" in admin.see("/errors").text
    assert "3 failed jobs in 2 groups." in words(admin.see("/errors?window=24h"))


def retrying(scenes: Scenes, fingerprint: str, outcome: str = "retried") -> UUID:
    """A job that waits for a retry after a failure."""
    task_id = scenes.task(
        state="retried", attempts=1, retries=1, error_message="Unavailable: 503", due_in=600
    )
    scenes.attempt(task_id, 1, outcome, fingerprint=fingerprint, error_class="Unavailable", message="503")
    return task_id


def test_jobs_that_will_be_retried_are_in_the_groups_and_the_largest_group_comes_first(
    admin: Visitor, scenes: Scenes
) -> None:
    failed(scenes, "abc", message="boom")
    timed_out = retrying(scenes, "abc", "timed_out")
    for _ in range(3):
        retrying(scenes, "deploy")
    scenes.attempt(scenes.task(state="new", attempts=1), 1, "snoozed", fingerprint="other")
    page = admin.see("/errors")
    assert "1 failed job and 4 that will be retried in 2 groups." in words(page)
    order = [link.partition("?")[0] for link in links(page) if link.startswith("/errors/")]
    assert list(dict.fromkeys(order)) == ["/errors/deploy", "/errors/abc"]
    assert f"/jobs/{timed_out}" in links(admin.see("/errors/abc"))
    group = admin.see("/errors/deploy")
    assert "will be retried 3" in words(group)
    assert "/errors/deploy/trials" not in actions(group)  # nothing has failed for good


def test_failures_without_a_fingerprint_are_grouped_by_message_apart_from_numbers(
    admin: Visitor, scenes: Scenes
) -> None:
    for number in (5, 77):
        failed(scenes, None, message=f"There is no product {number}.", outcome="cancelled")
    scenes.task(state="failed", error_message="Cancelled by an operator.")
    page = admin.see("/errors")
    assert "3 failed jobs in 2 groups." in words(page)
    assert "Cancelled by an operator." in words(page)
    group = next(link for link in links(page) if link.startswith("/errors/words"))
    assert admin.see(group).status_code == 200


def test_a_job_cancelled_while_waiting_does_not_count_for_its_earlier_error(
    admin: Visitor, scenes: Scenes
) -> None:
    task_id = scenes.task(state="failed", attempts=1, error_message="Cancelled by an operator.")
    scenes.attempt(task_id, 1, "retried", fingerprint="abc", error_class="Unavailable", message="503")
    page = words(admin.see("/errors"))
    assert "Cancelled by an operator." in page
    assert "Unavailable" not in page


def test_groups_new_in_the_last_release_have_a_tag_and_a_filter(admin: Visitor, scenes: Scenes) -> None:
    release(scenes, "v1", 100)
    release(scenes, "v2", 10)
    failed(scenes, "old", hours_ago=50)
    failed(scenes, "old", hours_ago=1, release="v2")
    failed(scenes, "young", hours_ago=1, release="v2", message="boom")
    page = admin.see("/errors")
    assert words(page).count("new in v2") == 1
    only_new = words(admin.see("/errors?since=v2"))
    assert "boom" in only_new
    assert "503 from Open Food Facts" not in only_new
    assert "503 from Open Food Facts" in words(admin.see("/errors?since=v1"))
    assert "boom" in words(admin.see("/errors?since=nonsense"))


def test_one_job_is_retried_then_all_of_the_group(admin: Visitor, scenes: Scenes) -> None:
    older = failed(scenes, hours_ago=2)
    newest = failed(scenes, hours_ago=1)
    response = admin.press("/errors/abc/trials")
    assert response.location == f"/errors?group=abc&tried={newest}#abc"
    assert (scenes.state(newest), scenes.state(older)) == ("new", "failed")
    page = words(admin.see(response.location))
    assert f"Retried one {str(newest)[-8:]}" in page
    assert "Not finished yet" in page
    scenes.connection.execute(
        text("UPDATE fang_tasks SET state = 'finished', claimed_at = updated_at WHERE id = :id"),
        {"id": newest},
    )
    page = admin.see(response.location)
    assert "Result" in words(page)
    assert "finished" in words(page)
    assert "/bulks/new?verb=retry&all=1&group=abc&back=/errors" in links(page)
    assert "Retry 1 failed job?" in words(admin.see("/bulks/new?verb=retry&all=1&group=abc&back=/errors"))


def test_a_group_without_failed_jobs_says_so(admin: Visitor) -> None:
    assert admin.press("/errors/abc/trials").location == "/errors"
    assert "No failed jobs of this group are left." in words(admin.see("/errors"))
    assert "No failed jobs of this group" in words(admin.see("/errors/abc", 404))


def test_a_group_of_crashes_has_a_page(admin: Visitor, scenes: Scenes) -> None:
    failed(scenes, "crashed:fetch_product", outcome="crashed")
    (group,) = [link for link in links(admin.see("/errors")) if link.startswith("/errors/")]
    assert "failed jobs, last 24 hours 1" in words(admin.see(group)) or "failed jobs 1" in words(
        admin.see(group)
    )


def test_the_page_of_a_group_has_its_traceback_and_its_jobs(admin: Visitor, scenes: Scenes) -> None:
    tasks = [failed(scenes, hours_ago=hours) for hours in (0, 1)]
    page = admin.see("/errors/abc")
    assert "spoils/jobs/fetch_product.py :41 in run" in words(page)
    assert {f"/jobs/{one}" for one in tasks} <= set(links(page))
    assert "/errors/abc/trials" in actions(page)


def test_the_page_says_how_many_failures_were_read(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hours in range(3):
        failed(scenes, hours_ago=hours)
    near = failure_groups.scan
    monkeypatch.setattr(failure_groups, "scan", lambda session, **asked: near(session, **asked, far=2))
    assert "The last 2 of 3 failed jobs, in 1 group." in words(admin.see("/errors"))
