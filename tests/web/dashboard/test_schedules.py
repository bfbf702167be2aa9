"""The page of schedules: next and last ticks, running a schedule now, pausing and resuming it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from spoils.web.dashboard.shared.cron_words import describe
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import Scenes


def stored(scenes: Scenes, cron: str = "0 2 * * *", job: str = "CleanupJob") -> int:
    found: int = scenes.value(
        "INSERT INTO spoils_schedules (job, cron, zone, task_type) VALUES (:job, :cron, 'UTC', 'cleanup') "
        "RETURNING id",
        job=job,
        cron=cron,
    )
    return found


def ticked(
    scenes: Scenes, schedule_id: int, days_ago: int, outcome: str = "entered", **columns: object
) -> None:
    slot = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    values = {"told_at": slot, "task_id": None, "reason": None, **columns}
    scenes.connection.execute(
        text(
            "INSERT INTO spoils_ticks (schedule_id, slot, outcome, told_at, task_id, reason) "
            "VALUES (:schedule_id, :slot, :outcome, :told_at, :task_id, :reason)"
        ),
        {"schedule_id": schedule_id, "slot": slot, "outcome": outcome, **values},
    )


def test_a_schedule_is_shown_before_any_worker_has_seen_it(admin: Visitor) -> None:
    page = words(admin.see("/schedules"))
    assert "Every day at 02:00 UTC · 0 2 * * *" in page
    assert "cleanup Deletes finished and failed jobs" in page
    # With seconds where it is today; and classes of other tests come daily too.
    assert len(re.findall(r"02:00(?::00)? in", page)) >= 3
    assert "none yet" in page
    assert "Late, skipped and missed ticks" not in page


def test_ticks_are_shown_as_fired_late_skipped_or_missed_with_links_to_their_jobs(
    admin: Visitor, scenes: Scenes
) -> None:
    schedule_id = stored(scenes)
    done = scenes.task(state="finished", task_type="cleanup")
    ticked(scenes, schedule_id, 1, task_id=done)
    late = datetime.now(UTC).replace(hour=2, minute=0, second=12, microsecond=0) - timedelta(days=2)
    ticked(scenes, schedule_id, 2, told_at=late)
    ticked(scenes, schedule_id, 3, "missed")
    ticked(scenes, schedule_id, 4, "skipped", task_id=done)
    ticked(scenes, schedule_id, 5, "skipped", reason="paused")
    answer = admin.see("/schedules")
    page = words(answer)
    for told in ("fired on time", "late by 12 s", ": missed", ": skipped", "skipped, paused"):
        assert told in page
    assert "finished" in page
    assert links(answer).count(f"/jobs/{done}") >= 3
    assert "The tick was not run later." in page
    assert "The schedule was paused." in page
    assert "The job of an earlier tick was still waiting or running" in page


def test_a_missed_tick_is_in_the_health_sentence_until_the_next_tick(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("cleanup")
    schedule_id = stored(scenes)
    ticked(scenes, schedule_id, 2, "missed")  # recorded two days ago
    assert "missed its tick" not in words(admin.see("/"))
    ticked(scenes, schedule_id, 1, "missed", told_at=datetime.now(UTC))
    page = admin.see("/")
    assert "The schedule CleanupJob missed its tick at" in words(page)
    assert '<a href="/schedules">Show schedules</a>' in page.text
    ticked(scenes, schedule_id, 0)
    assert "missed its tick" not in words(admin.see("/"))


def test_a_missed_tick_is_made_up_for_by_a_run_by_hand(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("cleanup")
    ticked(scenes, stored(scenes), 1, "missed", told_at=datetime.now(UTC))
    admin.press("/schedules/CleanupJob/runs")
    assert "missed its tick" not in words(admin.see("/"))


def test_a_schedule_of_another_release_is_shown_without_actions(admin: Visitor, scenes: Scenes) -> None:
    stored(scenes, "15 * * * *", "FutureJob")
    stored(scenes, "not one", "StrangeJob")
    answer = admin.see("/schedules")
    assert "Every hour at minute 15" in words(answer)
    assert "from another release" in words(answer)
    assert "/schedules/FutureJob/runs" not in answer.text


def test_a_schedule_is_run_now_once(admin: Visitor, scenes: Scenes) -> None:
    admin.press("/schedules/CleanupJob/runs")
    assert "Enqueued cleanup." in words(admin.see("/schedules"))
    admin.press("/schedules/CleanupJob/runs")
    assert "Nothing was enqueued: the same unique job already exists." in words(admin.see("/schedules"))
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'cleanup'") == 1


def test_a_schedule_is_paused_and_resumed(admin: Visitor, scenes: Scenes) -> None:
    admin.press("/schedules/CleanupJob/pauses")
    page = words(admin.see("/schedules"))
    assert "Paused CleanupJob." in page
    assert "paused by admin" in page
    assert "none while paused would be" in page
    assert "cleanup, every day at 02:00" not in words(admin.see("/"))
    admin.press("/schedules/CleanupJob/resumptions")
    assert "Resumed CleanupJob." in words(admin.see("/schedules"))
    assert scenes.value("SELECT count(*) FROM spoils_pauses") == 0


@pytest.mark.parametrize("verb", ["runs", "pauses"])
def test_a_class_without_a_schedule_has_no_actions(admin: Visitor, verb: str) -> None:
    for job in ("FetchProductJob", "NothingJob"):
        assert admin.press(f"/schedules/{job}/{verb}").status_code == 404


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("0 2 * * *", "Every day at 02:00"),
        ("*/10 * * * * *", "Every 10th second of every minute"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_cron_in_plain_words(cron: str, told: str) -> None:
    assert describe(cron) == told
