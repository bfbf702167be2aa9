"""The page of one job."""

import re

import pytest
from sqlalchemy import text

from spoils.job.outcome import Cancelled
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import Scenes

NOBODY = "7b0cf0f6-3b5c-4c0e-9a51-0a6b1b1f7c11"


@pytest.mark.parametrize("task_id", [NOBODY, "nope", "1", "%00", "a" * 36, NOBODY + "0"])
def test_a_job_that_is_not_there_is_a_404_page(admin: Visitor, task_id: str) -> None:
    response = admin.see(f"/jobs/{task_id}", 404)
    assert response.mimetype == "text/html"
    assert "404 There is no" in words(response)


def test_the_attempts_are_listed_newest_first(admin: Visitor, scenes: Scenes) -> None:
    worker_id = scenes.at_work("sample")
    task_id = scenes.task(state="failed", attempts=2)
    scenes.attempt(task_id, 1, "released", worker_id=worker_id, release="v1", ran_ms=10_020)
    scenes.attempt(
        task_id, 2, "failed", error_class="ReadTimeout", message="no answer\nwithin 10 s", ran_ms=412
    )
    page = words(admin.see(f"/jobs/{task_id}"))
    assert "Attempt 2" in page
    assert page.index("ReadTimeout no answer within 10 s") < page.index("Released")
    assert "412 ms" in page
    assert "10.02 s" in page
    assert "worker.1 · 4 v1" in page


def test_the_finishing_and_the_running_attempt_come_from_the_row_of_the_job(
    admin: Visitor, scenes: Scenes
) -> None:
    ended = scenes.task(
        state="finished", attempts=3, claimed_at="2026-11-24T10:00:00Z", updated_at="2026-11-24T10:00:01.310Z"
    )
    page = words(admin.see(f"/jobs/{ended}"))
    assert "1.31 s" in page
    assert "Finished" in page
    running = scenes.task(state="in_progress", attempts=1)
    page = words(admin.see(f"/jobs/{running}"))
    assert "Running" in page
    assert "a worker of another system" in page


def test_each_attempt_says_how_long_it_waited_from_when_it_was_due(admin: Visitor, scenes: Scenes) -> None:
    second = {"claimed_at": "2026-11-24T10:05:04Z", "updated_at": "2026-11-24T10:05:05Z"}
    finished = scenes.task(state="finished", attempts=2, **second)
    failed = scenes.task(state="failed", attempts=2, **second)
    scenes.all("UPDATE fang_tasks SET scheduled_at = '2026-11-24T10:04:00Z' RETURNING id")
    for task_id in (finished, failed):
        scenes.attempt(task_id, 1, "retried", claimed_at="2026-11-24T10:00:00Z", delay_ms=180_000)
    scenes.attempt(failed, 2, "failed", claimed_at="2026-11-24T10:05:04Z")
    for task_id in (finished, failed):
        # When the first attempt was due, its retry has overwritten.
        assert re.findall(r"waited [\w ]+?(?=<)", admin.see(f"/jobs/{task_id}").text) == ["waited 1 min 4 s"]
    scenes.all("UPDATE fang_tasks SET state = 'retried' RETURNING id")
    scenes.all("UPDATE spoils_attempts SET ended_at = '2026-11-24T10:01:00Z' RETURNING id")
    page = admin.see(f"/jobs/{failed}").text
    assert re.findall(r"waited [\w ]+?(?=<)", page) == ["waited 1 min 4 s"]
    scenes.all("UPDATE spoils_attempts SET claimed_at = '2026-11-24T10:01:30Z' RETURNING id")  # run now
    assert "waited" not in admin.see(f"/jobs/{failed}").text


def test_the_steps_are_listed_and_marked_on_the_timeline(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="retried", attempts=1, created_at="2026-11-24T10:00:00Z")
    assert "Steps" not in words(admin.see(f"/jobs/{task_id}"))
    scenes.all(
        "INSERT INTO spoils_steps VALUES (:id, '<download>', 1, '{\"token\": \"hunter2\"}', 1500, now()) "
        "RETURNING name",
        id=task_id,
    )
    response = admin.see(f"/jobs/{task_id}")
    page = words(response)
    assert "Steps 1 done" in page
    assert "<download> 1 1.50 s" in page
    assert "hunter2" not in page
    assert "<title>Step &lt;download&gt;, attempt 1</title>" in response.get_data(as_text=True)


def test_the_traceback_of_the_last_error_is_shown(admin: Visitor, scenes: Scenes) -> None:
    page = words(admin.see(f"/jobs/{scenes.full()['failed']}"))
    assert "spoils/jobs/fetch_product.py :41 in run" in page
    assert "2 frames of requests and urllib3" in page
    assert "spoils.food.openfoodfacts.Unavailable: 503 from Open Food Facts" in page


def test_an_error_without_a_traceback_is_shown_too(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", error_message="Cancelled by an operator.")
    page = words(admin.see(f"/jobs/{task_id}"))
    assert "Last error Cancelled by an operator." in page


def test_a_job_that_returned_cancel_gave_up_and_an_operator_cancels(admin: Visitor, scenes: Scenes) -> None:
    columns = {"state": "failed", "attempts": 1, "error_message": "Nothing to do."}
    gave_up, cancelled = scenes.task(**columns), scenes.task(**columns)
    scenes.attempt(gave_up, 1, "cancelled", message="Nothing to do.", fingerprint="idle")
    scenes.attempt(cancelled, 1, "cancelled", message=str(Cancelled()), fingerprint="stopped")
    page = words(admin.see(f"/jobs/{gave_up}"))
    assert "Gave up Nothing to do." in page
    assert "Gave up: Nothing to do." in page
    assert "Cancelled" not in page
    page = words(admin.see(f"/jobs/{cancelled}"))
    assert "Cancelled It was cancelled by an operator." in page
    assert "Gave up" not in page
    assert words(admin.see("/jobs?state=failed")).count("Gave up") == 1
    assert words(admin.see("/errors")).count("Gave up Nothing to do.") == 1


def test_the_batch_of_a_job_is_linked(admin: Visitor, scenes: Scenes) -> None:
    batch_id = scenes.value(
        "INSERT INTO spoils_batches (id, condition) VALUES (spoils_new_id(), 'end') RETURNING id"
    )
    assert f"/batches/{batch_id}" in links(admin.see(f"/jobs/{scenes.task(batch_id=batch_id)}"))


def test_the_result_is_shown_with_its_secrets_masked(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="finished", result='{"receipt": 7, "token": "hunter2"}')
    page = admin.see(f"/jobs/{task_id}")
    assert '"token": "••••••", "receipt": 7' in words(page)
    assert "hunter2" not in page.text
    assert "Result" not in words(admin.see(f"/jobs/{scenes.task(state='finished')}"))


def test_a_huge_payload_is_cut(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(metadata={"words": "w" * 1_000_000})
    assert len(admin.see(f"/jobs/{task_id}").text) < 60_000


def test_why_it_waits_for_its_time(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("sample")
    task_id = scenes.task(state="retried", due_in=148.9, attempts=1, retries=1)
    scenes.attempt(task_id, 1, delay_ms=240_000)
    page = words(admin.see(f"/jobs/{task_id}"))
    assert "Why it waits Not due until" in page
    assert "in 2 min 28 s. Attempt 1 failed; the delay before the next one is 4 min." in page
    assert "1 running worker performs sample." in page


def test_why_it_waits_for_a_worker(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task()
    assert "No workers running. It starts after a worker does." in words(admin.see(f"/jobs/{task_id}"))
    scenes.at_work("other")
    assert "No running worker performs sample." in words(admin.see(f"/jobs/{task_id}"))


def test_why_it_waits_if_no_worker_knows_its_class_and_what_the_bar_says(
    admin: Visitor, scenes: Scenes
) -> None:
    scenes.worker(job_classes={"SampleJob": "1"})
    page = words(admin.see(f"/jobs/{scenes.task(metadata={'type': 'ChargeCard'}, due_in=-400)}"))
    assert "It waits for a worker that knows ChargeCard. No running worker of its type has this" in page
    assert "No running worker knows ChargeCard. Its oldest job has waited 6 min." in page


def test_why_it_waits_for_others(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("sample")
    first = scenes.task(due_in=-9)
    scenes.task(due_in=-8)
    scenes.task(due_in=-1, priority=1)
    last = scenes.task(due_in=-3)
    scenes.task(due_in=-1)
    scenes.task(due_in=60, priority=2)
    assert "3 jobs of its type are ahead." in words(admin.see(f"/jobs/{last}"))
    assert "1 job of its type is ahead." in words(admin.see(f"/jobs/{first}"))


def test_why_it_waits_for_its_limit(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("sample")
    scenes.connection.execute(
        text(
            "INSERT INTO spoils_limits (job, label, place, fields, hashed, at_once, rate, per, published_at) VALUES "
            "('SampleJob', 'SampleJob', 0, '{}', false, 1, NULL, NULL, now()), "
            "('RateJob', 'RateJob per 60 s', 0, '{}', false, NULL, 1, 60, now())"
        )
    )
    running = scenes.task(state="in_progress", priority=-5)
    page = admin.see(f"/jobs/{scenes.task(priority=-4)}")
    assert (
        "Its limit is full: SampleJob, 1 at a time. It starts once one of those that run has ended"
        in words(page)
    )
    assert f"/jobs/{running}" in links(page)
    assert "Priority 1" in words(page)
    scenes.task(state="in_progress", priority=-5, metadata={"type": "RateJob"})
    page = words(admin.see(f"/jobs/{scenes.task(priority=-5, metadata={'type': 'RateJob'})}"))
    assert "Its limit RateJob per 60 s is full until" in page
    assert "1 of them start within 60 s" in page
    scenes.connection.execute(
        text("INSERT INTO spoils_holds VALUES ('key', 'SampleJob', now() + interval '30 s')")
    )
    assert "SampleJob is held until" in words(admin.see(f"/jobs/{scenes.task(priority=-5)}"))


def test_other_jobs_of_the_same_payload_are_linked(admin: Visitor, scenes: Scenes) -> None:
    duplicates = [scenes.task(state=state, uniq_hash="a" * 64) for state in ("failed", "finished", "new")]
    scenes.task(uniq_hash="b" * 64)
    response = admin.see(f"/jobs/{duplicates[0]}")
    assert "Same payload 2 others among waiting and running jobs" in words(response)
    assert {f"/jobs/{each}" for each in duplicates[1:]} <= set(links(response))


def test_the_audit_log_says_who_did_what(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    for noun in ("retries", "retries", "cancellations"):
        admin.press(f"/jobs/{task_id}/{noun}")
    page = words(admin.see(f"/jobs/{task_id}"))
    assert "admin cancelled it. new → failed" in page
    assert "admin tried to retry. Refused: the job is new. Only a failed job can be retried." in page
    assert "admin retried it. failed → new" in page
    assert page.index("cancelled it") < page.index("tried to retry") < page.index("retried it")


def test_the_progress_and_the_log_of_an_attempt_are_shown_with_it(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="in_progress", attempts=2)
    scenes.attempt(task_id, 1, "retried", error_class="ReadTimeout", message="no answer")
    scenes.all(
        "INSERT INTO spoils_outputs VALUES (:id, 1, NULL, NULL, NULL, '[[1500, \"<b> token=hunter2\"]]', now()), "
        "(:id, 2, 300, 1000, 'page 3', '[]', now()) RETURNING 1",
        id=task_id,
    )
    response = admin.see(f"/jobs/{task_id}")
    page = words(response)
    assert "300 of 1,000 · page 3" in page
    assert 'aria-valuenow="30"' in response.get_data(as_text=True)
    assert "Log 1 line +1.5 s <b> token=" in page
    assert "hunter2" not in page
    assert "300 of 1,000 · page 3" in words(admin.see("/jobs?state=in_progress"))
