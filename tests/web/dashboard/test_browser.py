"""The pages in a real browser: wide and narrow, light and dark, accessible, and without scripts.

By default each width goes with one theme; SPOILS_EVERY_BROWSER_COMBINATION=1 tries all of them.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from spoils.queue import api_tokens
from spoils.queue.api_tokens import Scope
from tests.web.dashboard.scenes import NOODLES, Scenes
from tests.web.dashboard.test_schedules import stored, ticked
from tests.web.dashboard.windows import EVERY_COMBINATION, Windows

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[2] / "browser" / "axe.min.js").read_text(encoding="utf-8")
GROUND = {"light": "rgb(251, 250, 248)", "dark": "rgb(18, 18, 17)"}
THEMES = [(375, "light"), (1440, "dark")]
WIDTHS = [320]
if EVERY_COMBINATION:
    THEMES += [(375, "dark"), (1440, "light")]
    WIDTHS += [768, 1440]
EMPTY = (
    *("/", "/workers", "/schedules", "/jobs", "/jobs?state=failed", "/products", "/errors", "/audit"),
    *(
        "/jobs?q=unavailable",
        "/bulks/new?verb=retry&all=1&state=failed",
        "/login",
        "/enqueue",
        "/batches",
        "/tokens",
    ),
)


def paths(jobs: dict[str, UUID]) -> list[str]:
    """Every page; by default, of the pages of a job only two."""
    return [
        *("/", "/workers", "/schedules", "/jobs", "/jobs?state=failed", "/jobs?q=unavailable"),
        *(
            f"/jobs/{one}"
            for state, one in jobs.items()
            if EVERY_COMBINATION or state in ("retried", "failed")
        ),
        *("/products", f"/products/{NOODLES}", "/bulks/new?verb=delete&all=1&state=failed", "/errors"),
        *("/enqueue", "/enqueue/send-notification", "/audit", "/batches"),
        *("/schedules/new", "/schedules/new/fetch-product"),
    ]


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def violations(page: Page) -> list[str]:
    """The rules of axe-core that the page breaks."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{page.url}: {each['id']} {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found["violations"]
    ]


def check(windows: Windows, pages: Iterable[str], width: int, scheme: str) -> None:
    """Each page fits the window, has the colours of the theme, and is accessible."""
    for page in windows.visit(pages, width=width, scheme=scheme):
        assert fits(page), page.url
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == GROUND[scheme]
        assert violations(page) == []


@pytest.mark.parametrize(("width", "scheme"), THEMES)
def test_every_page_fits_and_is_accessible(windows: Windows, scenes: Scenes, width: int, scheme: str) -> None:
    jobs = scenes.full()
    scenes.ended(100)
    scenes.ended(10, outcome="retried", minutes_ago=9)
    scenes.paused("send_notification")
    ticked(scenes, stored(scenes), 1, "missed")
    scenes.worker(ended=True)
    api_tokens.make(scenes.connection, "scanner@shop.example", list(Scope), days=30, who="admin")
    check(windows, [*paths(jobs), "/schedules/1", "/tokens"], width, scheme)


@pytest.mark.parametrize(("width", "scheme"), THEMES)
def test_every_empty_page_fits_and_is_accessible(windows: Windows, width: int, scheme: str) -> None:
    check(windows, EMPTY, width, scheme)


@pytest.mark.parametrize("width", WIDTHS)
def test_long_texts_and_markup_fit_and_run_nothing(windows: Windows, scenes: Scenes, width: int) -> None:
    for at, page in enumerate(windows.visit(paths(scenes.hostile()), width=width)):
        assert fits(page), page.url
        assert page.evaluate("window.hacked === undefined"), page.url
        assert page.locator("main img").count() == 0
        if EVERY_COMBINATION or at % 4 == 0:
            assert violations(page) == []


def test_the_menu_of_a_row_opens_and_escape_closes_it(windows: Windows, scenes: Scenes) -> None:
    task_id = scenes.full()["failed"]
    page = windows.open("/jobs?state=failed")
    page.locator("td.actions summary").click()
    delete = page.get_by_role("button", name="Delete this job")
    expect(delete).to_be_visible()
    page.keyboard.press("Escape")
    expect(delete).to_be_hidden()
    page.locator("td.actions summary").click()
    delete.click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 1 job.")
    assert scenes.all("SELECT id FROM fang_tasks WHERE id = :id", id=task_id) == []


def test_every_control_is_reached_by_the_keyboard_and_shows_where_it_is(
    windows: Windows, scenes: Scenes
) -> None:
    scenes.full()
    page = windows.open("/jobs?state=failed")
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "(() => { const at = document.activeElement, style = getComputedStyle(at.closest('.select') ?? at);"
            " return [at.textContent.trim() || at.name || at.tagName, style.outlineStyle, at === document.body]; })()"
        )
        if told[2]:
            break
        assert told[1] == "solid", told
        seen.append(told[0])
    assert seen[0] == "Skip to content"
    assert {"Jobs", "Products", "q", "fetch_product"} <= set(seen)
    assert any(name.startswith("Retry") for name in seen)
    assert any(name.startswith("More for fetch_product") for name in seen)


def test_a_phone_shows_the_first_job_and_without_scripts_reaches_every_page(
    windows: Windows, scenes: Scenes
) -> None:
    scenes.full()
    for path in ("/jobs", "/jobs?state=failed"):
        page = windows.open(path, width=375)
        box = page.locator("table.jobs tbody tr").first.bounding_box()
        assert box is not None
        assert box["y"] <= 300, path
        assert box["height"] <= 72, path
    page = windows.open("/jobs", width=375, scripts=False)
    expect(page.get_by_role("navigation", name="Sections")).to_be_hidden()
    page.get_by_text("Menu", exact=True).click()
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Workers").click()
    expect(page.locator("h1")).to_have_text("Workers")
    counts = page.locator(".status-bar .states .value")
    assert len({(each.bounding_box() or {})["y"] for each in counts.all()}) == 1


def test_a_row_of_the_list_is_one_line_of_36_pixels(windows: Windows, scenes: Scenes) -> None:
    scenes.full()
    page = windows.open("/jobs")
    boxes = [each.bounding_box() for each in page.locator("table.jobs tbody tr").all()]
    assert len(boxes) == 5
    assert all(box and 35 <= box["height"] <= 37 for box in boxes)


def test_the_timeline_of_a_job_shows_its_attempts_on_a_phone(windows: Windows, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", attempts=3, created_at="2026-01-01T00:00:00Z")
    for number in (1, 2, 3):
        scenes.attempt(task_id, number, ago=300 * (4 - number), claimed_at="2026-01-01T00:00:10Z", ran_ms=5)
    page = windows.open(f"/jobs/{task_id}", width=375)
    attempts = [each.bounding_box() for each in page.locator(".timeline rect").all()]
    assert len(attempts) == 3
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 375 for box in attempts)


def test_the_search_box_says_its_syntax_when_it_is_focused(windows: Windows) -> None:
    page = windows.open("/jobs", scripts=False)
    hint = page.get_by_text("Words of an error")
    expect(hint).to_be_hidden()
    page.get_by_label("Find jobs").focus()
    expect(hint).to_be_visible()
    expect(page.get_by_label("Find jobs")).to_have_accessible_description(re.compile("last 8 characters"))


def test_the_slash_key_focuses_the_search(windows: Windows, scenes: Scenes) -> None:
    task_id = scenes.full()["failed"]
    page = windows.open("/jobs")
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).to_be_focused()
    page.keyboard.type(str(task_id))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{task_id}")


def test_the_type_is_chosen_without_a_button(windows: Windows, scenes: Scenes) -> None:
    scenes.full()
    scenes.task(task_type="mail")
    page = windows.open("/jobs")
    expect(page.get_by_role("button", name="Filter")).to_be_hidden()
    page.get_by_label("Type").select_option("mail")
    page.wait_for_url("**/jobs?type=mail")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_times_are_the_visitor_s_own(windows: Windows, scenes: Scenes) -> None:
    task_id = scenes.task(
        created_at="2026-01-02T03:04:05Z", state="finished", updated_at="2026-01-02T03:04:05Z"
    )
    page = windows.open(f"/jobs/{task_id}", zone="Asia/Tokyo")
    enqueued = page.locator("dl.facts time").first
    assert "12:04:05" in (enqueued.get_attribute("title") or "")
    assert enqueued.get_attribute("datetime") == "2026-01-02T03:04:05.000+00:00"
    expect(page.locator("[data-zone]")).to_have_text("Times shown in Asia/Tokyo")


def test_the_theme_is_switched_and_kept(windows: Windows) -> None:
    page = windows.open("/jobs")
    page.get_by_role("button", name="Use the dark theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 17)"
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 17)"
    expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()


def test_everything_works_without_scripts(windows: Windows, scenes: Scenes) -> None:
    task_id = scenes.full()["failed"]
    scenes.task(task_type="mail")
    page = windows.open("/jobs", scripts=False)
    expect(page.locator("[data-theme-switch]")).to_be_hidden()
    expect(page.get_by_text("Times shown in UTC")).to_be_visible()
    page.get_by_label("Type").select_option("fetch_product")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("navigation", name="States").get_by_role("link", name="failed").click()
    assert page.url.endswith("/jobs?state=failed&type=fetch_product")
    page.locator(f'a[href="/jobs/{task_id}"]').click()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_contain_text("Retried 1 job.")
    assert scenes.state(task_id) == "new"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_selection_is_previewed_deleted_and_brought_back(
    windows: Windows, scenes: Scenes, scripts: bool
) -> None:
    tasks = [scenes.task(state="failed") for _ in range(3)]
    page = windows.open("/jobs?state=failed", scripts=scripts)
    for box in page.locator("[data-select]").all()[:2]:
        box.check()
    page.get_by_role("button", name="Delete 2…" if scripts else "Delete…", exact=True).click()
    expect(page.locator("h1")).to_have_text("Delete 2 jobs?")
    page.get_by_role("button", name="Delete 2 jobs").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 2 jobs.")
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Restored 2 jobs.")
    assert {scenes.state(one) for one in tasks} == {"failed"}


def test_the_bar_counts_what_is_selected_and_clears_it(windows: Windows, scenes: Scenes) -> None:
    for _ in range(3):
        scenes.task(state="failed")
    page = windows.open("/jobs?state=failed")
    retry = page.get_by_role("button", name="Retry", exact=False).first
    expect(retry).to_be_disabled()
    page.get_by_label("Select all jobs on this page").check()
    expect(page.locator("[data-selected]")).to_have_text("3 selected")
    expect(retry).to_be_enabled()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("[data-selected]")).to_be_hidden()
    expect(retry).to_be_disabled()
