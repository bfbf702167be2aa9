"""The page of the audit log."""

import pytest
from sqlalchemy import text

from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import Scenes


def test_actions_on_jobs_types_schedules_and_workers_are_listed(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    worker_id = scenes.at_work("sample")
    admin.press(f"/jobs/{task_id}/retries")
    admin.press(f"/jobs/{task_id}/retries")
    admin.press("/pauses", type="mail")
    admin.press("/schedules/CleanupJob/pauses")
    admin.press(f"/workers/{worker_id}/drains")
    page = admin.see("/audit")
    assert f"/jobs/{task_id}" in links(page)
    for text_shown in (
        "failed → new",
        "Refused: the job is new.",
        "pause mail",
        "pause CleanupJob",
        "stop claiming worker.1",
    ):
        assert text_shown in words(page), text_shown
    assert words(page).index("stop claiming") < words(page).index("failed → new")


def test_an_action_on_many_jobs_is_one_entry_with_a_link(admin: Visitor, scenes: Scenes) -> None:
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
