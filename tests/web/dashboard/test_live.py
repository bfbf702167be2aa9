"""Refreshing a page, its ETag, its keyboard shortcuts, and its size."""

import re

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from spoils.job.registry import registry
from tests.web.dashboard.pages import Visitor
from tests.web.dashboard.scenes import Scenes
from tests.web.dashboard.windows import Windows


def again(visitor: Visitor, path: str, etag: str) -> int:
    return visitor.client.get(path, headers={"If-None-Match": etag}).status_code


@pytest.mark.parametrize("path", ["/jobs", "/schedules", "/products", "/jobs?state=failed"])
def test_an_unchanged_page_is_not_sent_again(
    admin: Visitor, scenes: Scenes, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests of this process define schedules of each second, whose next tick changes the page.
    classes = {
        name: each for name, each in registry._by_name.items() if each.__module__.startswith("spoils.")
    }
    monkeypatch.setattr(registry, "_by_name", classes)
    scenes.task(state="failed")
    etag = admin.see(path).headers["ETag"]
    assert again(admin, path, etag) == 304
    scenes.task(state="finished")
    assert again(admin, path, etag) == 200


def test_a_page_has_another_etag_for_another_visitor(admin: Visitor, viewer: Visitor, scenes: Scenes) -> None:
    etag = admin.see("/products").headers["ETag"]
    assert again(viewer, "/products", etag) == 200
    assert "Cookie" in viewer.see("/products").headers["Vary"]


def test_an_error_page_has_no_etag(admin: Visitor) -> None:
    assert "ETag" not in admin.see("/nothing", 404).headers


def test_the_first_page_is_light_and_stays_on_its_origin(admin: Visitor, scenes: Scenes) -> None:
    scenes.full()
    for minute in range(60):
        for task_type in ("fetch_product", "analyze_ingredients", "send_notification", "cleanup"):
            scenes.ended(30, minutes_ago=minute, task_type=task_type)
            scenes.ended(2, minutes_ago=minute, task_type=task_type, outcome="retried")
    page = admin.see("/")
    weight = len(page.data)
    urls = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page.text))
    assert len(urls) == 9
    for url in urls:
        with admin.client.get(url) as answer:
            weight += len(answer.data)
    assert weight <= 100_000
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page.text)


@pytest.mark.browser
def test_a_page_refreshes_itself(windows: Windows, scenes: Scenes) -> None:
    scenes.task(state="failed")
    page = windows.open("/workers")
    expect(page.locator(".status-bar .states")).to_contain_text("failed 1")
    scenes.task(state="failed")
    scenes.at_work("fetch_product")
    expect(page.locator(".status-bar .states")).to_contain_text("failed 2", timeout=60_000)
    expect(page.locator("main")).to_contain_text("1 running process", timeout=60_000)


@pytest.mark.browser
def test_rows_do_not_move_under_the_pointer(windows: Windows, scenes: Scenes) -> None:
    first = scenes.task(state="failed")
    page = windows.open("/jobs")
    scenes.task(state="failed")
    button = page.get_by_role("button", name="Show 1 newer")
    button.wait_for(timeout=60_000)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody a.name")).to_have_attribute("href", f"/jobs/{first}")
    button.click()
    expect(page.locator("tbody tr")).to_have_count(2)


@pytest.mark.browser
def test_keys_move_retry_and_go_to_delete(windows: Windows, scenes: Scenes) -> None:
    ids = [scenes.task(state="failed") for _ in range(3)]
    for at, each in enumerate(ids):
        scenes.connection.execute(
            text("UPDATE fang_tasks SET updated_at = now() - make_interval(mins => :at) WHERE id = :id"),
            {"at": at + 1, "id": each},
        )
    page = windows.open("/jobs?state=failed")
    links = page.locator("tbody a.name")
    page.keyboard.press("j")
    expect(links.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(links.nth(1)).to_be_focused()
    page.keyboard.press("d")
    expect(page.get_by_role("button", name="Delete this job")).to_be_focused()
    page.keyboard.press("Escape")
    links.nth(0).focus()
    page.keyboard.press("r")
    expect(page.get_by_role("status")).to_contain_text("Retried 1 job.")
    assert [scenes.state(each) for each in ids] == ["new", "failed", "failed"]
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()
