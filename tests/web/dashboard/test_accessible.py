"""No page breaks a rule of axe-core (tests/browser): light and dark, wide and narrow, full, empty and hostile."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.web.dashboard.scenes import Scenes
from tests.web.dashboard.test_browser import THEMES, paths
from tests.web.dashboard.windows import Windows

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[2] / "browser" / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{page.url}: {each['id']} {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
    ]


@pytest.mark.parametrize(("width", "scheme"), THEMES)
def test_no_full_page_breaks_a_rule(windows: Windows, scenes: Scenes, width: int, scheme: str) -> None:
    jobs = scenes.full()
    scenes.ended(100)
    scenes.ended(10, outcome="retried", minutes_ago=9)
    scenes.paused("send_notification")
    scenes.connection.exec_driver_sql(
        "INSERT INTO spoils_schedules (job, cron, zone, task_type) VALUES ('CleanupJob', '0 2 * * *', 'UTC', 'cleanup')"
    )
    scenes.connection.exec_driver_sql(
        "INSERT INTO spoils_ticks (schedule_id, slot, outcome, task_id) SELECT id, now() - interval '1 day', 'missed', "
        "NULL FROM spoils_schedules"
    )
    scenes.worker(ended=True)
    broken = [
        rule for path in paths(jobs) for rule in violations(windows.open(path, width=width, scheme=scheme))
    ]
    assert broken == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_empty_page_breaks_a_rule(windows: Windows, scheme: str) -> None:
    found = [
        rule
        for path in ("/", "/workers", "/schedules", "/jobs", "/products", "/login")
        for rule in violations(windows.open(path, scheme=scheme))
    ]
    assert found == []


def test_no_hostile_page_breaks_a_rule(windows: Windows, scenes: Scenes) -> None:
    jobs = scenes.hostile()
    assert [rule for path in paths(jobs) for rule in violations(windows.open(path))] == []
