"""A count that leads to a list is the number of jobs that the list has."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from spoils.web.dashboard.errors import view as error_view
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import Scenes
from tests.web.dashboard.test_errors import failed
from tests.web.dashboard.test_schedules import stored, ticked

_NUMBER = re.compile(r"(?<![\w.:])\d[\d,]*(?![\w.:-]| ?(?:s|min|h|days?)\b)")
PAGES = [
    "/",
    "/?types=all",
    "/jobs",
    "/jobs?type=mail",
    "/jobs?state=waiting",
    "/workers",
    "/errors",
    "/schedules",
]


class _Links(HTMLParser):
    """The links of a page with their words."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._inside = True
            self.found.append((dict(attrs).get("href") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._inside:
            target, text = self.found[-1]
            self.found[-1] = (target, f"{text} {data}")


def counted_links(visitor: Visitor, path: str) -> dict[str, int]:
    """Where the links with a count in their words lead, and that count."""
    parser = _Links()
    parser.feed(visitor.see(path).text)
    counts = {}
    for target, text in parser.found:
        if (number := _NUMBER.search(" ".join(text.split()))) and target.partition("?")[0] == "/jobs":
            counts[target] = int(number[0].replace(",", ""))
    return counts


def listed(visitor: Visitor, path: str | None) -> int:
    """How many jobs a list has, on all its pages."""
    number = 0
    while path:
        page = visitor.see(path)
        number += page.text.count('class="num attempts" data-label')
        older = re.search(r'rel="next" href="([^"]*)"', page.text)
        path = unescape(older[1]) if older else None
    return number


@pytest.fixture
def mixed(scenes: Scenes) -> Scenes:
    """Jobs of several types in every state, due and not, of types that are taken, untaken, paused and nameless."""
    scenes.at_work("mail", "fetch_product")
    for state, number in {"new": 51, "in_progress": 2, "retried": 3, "failed": 4, "finished": 5}.items():
        for at in range(number):
            scenes.task(task_type="mail", state=state, due_in=at * 600 - 1_200)
            scenes.task(task_type="untaken" if at % 2 else "", state=state, due_in=-at)
    for state in ("new", "retried", "failed"):
        scenes.task(task_type="held", state=state)
        scenes.task(task_type="bulk", state=state)
    scenes.paused("held")
    failed(scenes, "like", task_type="mail")
    ticked(scenes, stored(scenes), 1, task_id=scenes.task(task_type="cleanup", state="finished"))
    return scenes


@pytest.mark.parametrize("path", PAGES)
def test_every_count_that_leads_to_a_list_is_that_of_the_list(
    admin: Visitor, mixed: Scenes, path: str
) -> None:
    counts = counted_links(admin, path)
    assert len(counts) >= 5
    assert {target: listed(admin, target) for target in counts} == counts


def test_show_jobs_opens_the_list_of_all_jobs_that_the_health_sentence_counts(
    admin: Visitor, scenes: Scenes
) -> None:
    scenes.task(task_type="mail", due_in=-60)
    scenes.task(task_type="mail", state="retried", due_in=-60)
    scenes.task(task_type="held", due_in=-60)
    scenes.paused("held")
    page = admin.see("/")
    assert "3 jobs wait and no workers are running." in words(page)
    assert listed(admin, show_jobs_link(page.text)) == 3
    scenes.at_work("other")
    page = admin.see("/")
    assert "2 jobs of type mail wait and no running worker performs this type." in words(page)
    scenes.task(task_type="other")
    assert listed(admin, show_jobs_link(page.text)) == 2


def show_jobs_link(page: str) -> str:
    found = re.search(r'<a href="([^"]*)">Show jobs</a>', page)
    assert found
    return unescape(found[1])


def test_an_empty_list_links_to_the_jobs_in_other_states_that_it_counts(
    admin: Visitor, scenes: Scenes
) -> None:
    scenes.task(task_type="mail")
    scenes.task(task_type="other", state="failed")
    page = admin.see("/jobs?state=failed&type=mail")
    assert "Show 1 in other states" in words(page)
    assert listed(admin, "/jobs?type=mail") == 1
    assert "/jobs?type=mail" in links(page)


def test_an_action_on_all_jobs_offers_the_number_that_its_preview_shows(
    admin: Visitor, mixed: Scenes
) -> None:
    for path in ("/jobs", "/jobs?state=failed", "/jobs?state=new&type=mail"):
        page = admin.see(path)
        offered = re.findall(r'<a href="(/bulks/new[^"]*)">[^<]*? all ([\d,]+)', page.text)
        assert offered
        for target, number in offered:
            assert re.search(rf"{number} (?:\w+ )?jobs?\?", words(admin.see(unescape(target)))), (
                target,
                number,
            )


def test_a_group_has_on_its_page_as_many_as_in_the_list_of_groups(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hours in (0, 1, 30, 31):
        failed(scenes, "like", hours_ago=hours)
    for window, number in (("24h", 2), ("7d", 4), ("all", 4)):
        page = admin.see(f"/errors?window={window}")
        assert re.findall(r'data-label="failed jobs"><b>(\d+)</b>', page.text) == [str(number)]
        group = next(target for target in links(page) if target.startswith("/errors/like"))
        shown = admin.see(group)
        assert re.search(rf"failed jobs(?:, last \d+ \w+)? {number} ", words(shown))
        assert listed(admin, group) == number
    monkeypatch.setattr(error_view, "MEMBERS", 3)
    assert "Jobs the last 3 of 4" in words(admin.see("/errors/like"))


def test_a_group_among_more_failures_than_are_read_shows_a_lower_bound(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(scenes, "like")
    scenes.all(
        "INSERT INTO fang_tasks (state, metadata, scheduled_at) "
        "SELECT 'failed', '{}', now() FROM generate_series(1, 3000) RETURNING 1"
    )
    assert re.search(r"failed jobs 1\+ ", words(admin.see("/errors/like")))
