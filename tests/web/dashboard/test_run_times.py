"""How long a job ran is one number, wherever it is shown."""

import re
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from spoils.web.dashboard.shared import formats
from tests.web.dashboard.conftest import ADMIN, LOCKED, MakeApp
from tests.web.dashboard.pages import Visitor, words
from tests.web.dashboard.scenes import Scenes
from tests.web.dashboard.test_schedules import stored, ticked

CLAIMED, CHANGED = "2026-11-24T10:00:00Z", "2026-11-24T10:00:01.500Z"
TOKEN = {"Authorization": "Bearer t0ken"}


@pytest.fixture
def admin(make_app: MakeApp) -> Visitor:
    return Visitor(make_app(**LOCKED, SPOILS_API_TOKEN="t0ken").test_client()).log_in(ADMIN)


def cells(page: TestResponse, label: str) -> list[str]:
    return re.findall(rf'data-label="{label}"><span[^>]*>([^<]*)<', page.text)


def tried(scenes: Scenes, state: str, **columns: object) -> UUID:
    """A job whose second attempt ran for 3 ms and was written 1.5 s after its claim."""
    task_id = scenes.task(state=state, attempts=2, updated_at=CHANGED, **columns)
    scenes.attempt(task_id, 1, "retried", ran_ms=7_000)
    scenes.attempt(task_id, 2, "failed" if state == "failed" else "retried", ran_ms=3, fingerprint="like")
    return task_id


@pytest.mark.parametrize(
    ("state", "columns"), [("failed", {"claimed_at": CLAIMED}), ("retried", {}), ("new", {})]
)
def test_lists_pages_and_the_api_show_the_run_time_of_the_last_attempt(
    admin: Visitor, scenes: Scenes, state: str, columns: dict[str, str]
) -> None:
    task_id = tried(scenes, state, metadata={"key": 1}, **columns)
    assert cells(admin.see(f"/jobs/{task_id}"), "ran") == ["3 ms", "7.00 s"]
    for path in (f"/jobs?state={state}", "/jobs", "/jobs?q=key:1"):
        assert cells(admin.see(path), "last ran") == ["3 ms"], path
    api = admin.client.get(f"/api/jobs/{task_id}", headers=TOKEN).get_json()
    assert api["ran_ms"] == api["attempt_log"][0]["ran_ms"] == 3
    assert [job["ran_ms"] for job in admin.client.get("/api/jobs", headers=TOKEN).get_json()["jobs"]] == [3]


def test_the_page_of_errors_shows_it_too(admin: Visitor, scenes: Scenes) -> None:
    task_id = tried(scenes, "failed", claimed_at=CLAIMED)
    page = admin.see(f"/errors/like?tried={task_id}")
    assert cells(page, "last ran") == ["3 ms"]
    assert "ran 3 ms," in words(page)


def test_a_finished_job_has_the_time_of_its_own_row_everywhere(admin: Visitor, scenes: Scenes) -> None:
    task_id = tried(scenes, "finished", claimed_at=CLAIMED)
    assert cells(admin.see(f"/jobs/{task_id}"), "ran")[0] == "1.50 s"
    assert cells(admin.see("/jobs"), "last ran") == ["1.50 s"]
    assert admin.client.get(f"/api/jobs/{task_id}", headers=TOKEN).get_json()["ran_ms"] == 1_500


def test_the_overview_and_the_api_show_the_same_percentiles(admin: Visitor, scenes: Scenes) -> None:
    for ran_ms in range(10, 1_001, 10):
        scenes.ended(1, ran_ms=ran_ms, task_type="mail")
    for seconds in range(1, 101):
        task_id = scenes.task(task_type="mail", state="finished", due_in=-seconds)
        scenes.all("UPDATE fang_tasks SET claimed_at = now() WHERE id = :id RETURNING id", id=task_id)
    api = admin.client.get("/api/jobs/stats", headers=TOKEN).get_json()["types"]["mail"]
    exact = {"p50_ms": 500, "p95_ms": 950, "p99_ms": 990, "waited_p50_ms": 50_000, "waited_p95_ms": 95_000}
    assert {name: api[name] for name in exact} == pytest.approx(exact, rel=0.1)
    shown = {name: formats.run_time(api[name]) for name in exact}
    page = admin.see("/?type=mail")
    for line in (
        "p50 {p50_ms} p95 {p95_ms} p99 {p99_ms}",
        "Waited p50 {waited_p50_ms} , p95 {waited_p95_ms} ,",
    ):
        assert line.format(**shown) in words(page)
    row = page.text.partition('type=mail"')[2]
    labels = {"run p95": "p95_ms", "waited p50": "waited_p50_ms", "waited p95": "waited_p95_ms"}
    for label, name in labels.items():
        assert re.search(rf'data-label="{label}"><span[^>]*>([^<]*)<', row)[1] == shown[name]  # type: ignore[index]


def test_a_job_of_another_system_runs_since_its_last_change(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="in_progress")
    scenes.all(
        "UPDATE fang_tasks SET updated_at = now() - interval '90 minutes' WHERE id = :id RETURNING id",
        id=task_id,
    )
    assert "for 1 h 30 min" in words(admin.see("/jobs"))
    assert cells(admin.see(f"/jobs/{task_id}"), "ran") == ["1 h 30 min"]
    assert admin.client.get(f"/api/jobs/{task_id}", headers=TOKEN).get_json()["ran_ms"] is None


def test_a_job_that_left_no_attempt_has_no_run_time(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(state="failed", claimed_at=CLAIMED, updated_at=CHANGED)
    assert cells(admin.see("/jobs"), "last ran") == ["–"]


def test_the_page_of_schedules_shows_it_for_the_last_tick(admin: Visitor, scenes: Scenes) -> None:
    task_id = tried(scenes, "failed", claimed_at=CLAIMED)
    ticked(scenes, stored(scenes), 1, task_id=task_id)
    assert "failed , ran 3 ms" in words(admin.see("/schedules"))
