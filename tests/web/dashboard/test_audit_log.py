"""The page of all that was done by hand."""

import pytest
from sqlalchemy import text

from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import MARKUP, Scenes


def test_an_empty_trail_says_what_to_do(admin: Visitor) -> None:
    assert "No actions yet." in words(admin.see("/audit"))


def test_verbs_on_jobs_types_schedules_and_workers_are_all_told(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    worker_id = scenes.at_work("sample")
    admin.press(f"/jobs/{task_id}/retries")
    admin.press(f"/jobs/{task_id}/retries")
    admin.press("/pauses", type="mail")
    admin.press("/schedules/CleanupJob/pauses")
    admin.press(f"/workers/{worker_id}/drains")
    page = admin.see("/audit")
    assert f"/jobs/{task_id}" in links(page)
    for told in (
        "failed → new",
        "Refused: the job is new.",
        "pause mail",
        "pause CleanupJob",
        "stop claiming worker.1",
    ):
        assert told in words(page), told
    assert words(page).index("stop claiming") < words(page).index("failed → new")


def test_a_verb_on_many_is_one_line_that_leads_to_what_was_done(admin: Visitor, scenes: Scenes) -> None:
    for _ in range(3):
        scenes.task(state="failed")
    form = {"all": "1", "state": "failed", "until": "2999-01-01T00:00:00+00:00"}
    admin.press("/bulks", verb="delete", **form)
    page = admin.see("/audit")
    bulk_id = scenes.value("SELECT id FROM spoils_bulks")
    assert "delete 3 failed jobs" in words(page)
    assert f"/bulks/{bulk_id}" in links(page)
    assert page.text.count("<tr>") == 2


def test_pages_go_on_and_back(viewer: Visitor, scenes: Scenes) -> None:
    scenes.connection.execute(
        text(
            "INSERT INTO spoils_audit (who, verb, about, done) "
            "SELECT 'admin', 'pause', 'type ' || n, true FROM generate_series(1, 120) AS n"
        )
    )
    seen, page = [], viewer.see("/audit")
    while True:
        seen += [int(word) for word in words(page).split("pause type ")[1:] for word in word.split()[:1]]
        onward = [link for link in links(page) if "older=" in link]
        if not onward:
            break
        page = viewer.see(onward[0])
    assert seen == list(range(120, 0, -1))
    back = [link for link in links(page) if "newer=" in link]
    assert "pause type 21 " in words(viewer.see(back[0]))


@pytest.mark.parametrize("query", ["older=x", "older=-1", "newer=0", "older=1&newer=2", "older=" + "9" * 19])
def test_a_place_that_no_page_links_to_is_refused(admin: Visitor, query: str) -> None:
    admin.see(f"/audit?{query}", 400)


def test_markup_is_text(admin: Visitor, scenes: Scenes) -> None:
    scenes.connection.execute(
        text("INSERT INTO spoils_audit (who, verb, about, note, done) VALUES (:m, :m, :m, :m, false)"),
        {"m": MARKUP},
    )
    page = admin.see("/audit")
    assert "<script>window" not in page.text
    assert MARKUP[:40] in words(page)
