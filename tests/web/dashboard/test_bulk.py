"""Actions on many jobs: what a list offers, the preview, the action, its progress and undoing it."""

import re
from collections.abc import Iterator
from html import unescape
from uuid import UUID, uuid4

import pytest
from pydantic import Field
from sqlalchemy import Engine, text

from spoils.job import Job, Queue
from spoils.queue import bulk
from tests.classes import throw_away_classes
from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import Scenes

DIGEST = "a" * 64


def press_through(admin: Visitor, path: str, **more: str) -> str:
    """Open a preview and send its form; where that leads."""
    response = admin.press("/bulks", **fields(admin, path), **more)
    assert response.status_code == 303, words(response)
    return str(response.location)


def fields(admin: Visitor, path: str) -> dict[str, object]:
    form = re.search(r'<form method="post" action="/bulks">(.*?)</form>', admin.see(path).text, re.DOTALL)
    assert form, "the preview has no form"
    found: dict[str, object] = {}
    for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', form[1]):
        if name == "id":
            found.setdefault("id", []).append(value)  # type: ignore[attr-defined]
        elif name != "csrf_token":
            found[name] = unescape(value)
    return found


def chosen(verb: str, *ids: UUID) -> str:
    return f"/bulks/new?verb={verb}&back=/jobs?state=failed" + "".join(f"&id={one}" for one in ids)


def carry_out(engine: Engine, bulk_id: str) -> None:
    """Do what the bulk job would do."""
    more = True
    while more:
        with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            more = bulk.advance(connection, UUID(bulk_id))
            connection.commit()


def many(scenes: Scenes, number: int = bulk.AT_ONCE + 1, state: str = "failed") -> None:
    scenes.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, state, task_type) "
            "SELECT '{\"type\": \"SampleJob\"}', CAST(:state AS fang_task_state), 'sample' "
            "FROM generate_series(1, :number)"
        ),
        {"number": number, "state": state},
    )


def test_the_list_offers_what_its_state_allows_on_a_selection_and_on_all(
    admin: Visitor, scenes: Scenes
) -> None:
    jobs = scenes.full()
    page = admin.see("/jobs?state=failed&type=fetch_product")
    assert f'name="id" value="{jobs["failed"]}" form="bulk"' in page.text
    assert re.findall(r'name="verb" value="(\w+)"', page.text) == ["retry", "delete"]
    assert "/bulks/new?verb=retry&all=1&back=/jobs?state%3Dfailed%26type%3Dfetch_product" in "".join(
        unescape(link) for link in links(page)
    )
    assert "Retry all 1… Delete all 1…" in words(page)
    assert [link for link in links(admin.see("/jobs")) if "all=1" in link] == [
        "/bulks/new?verb=retry&all=1&back=/jobs&state=failed"
    ]


def test_the_preview_shows_the_number_and_examples_and_does_nothing(admin: Visitor, scenes: Scenes) -> None:
    tasks = [scenes.task(state="failed", metadata={"type": "X", "barcode": f"77{n}"}) for n in range(7)]
    scenes.task(state="failed", task_type="mail")
    page = admin.see("/bulks/new?verb=delete&all=1&state=failed")
    assert "Delete 8 failed jobs?" in words(page)
    assert "By type Jobs by type sample 7 mail 1" in words(page)
    assert "By error Jobs by error no error class 8" in words(page)
    assert words(page).count("barcode 77") in (4, 5)
    assert "The list is fixed" in words(page)
    page = admin.see(chosen("retry", *tasks[:2]))
    assert "Retry 2 jobs?" in words(page)
    assert {f"/jobs/{tasks[0]}", f"/jobs/{tasks[1]}"} <= set(links(page))
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE state = 'failed'") == 8
    assert scenes.value("SELECT count(*) FROM spoils_bulks") == 0


def test_a_small_selection_is_done_at_once_and_lists_the_refused(admin: Visitor, scenes: Scenes) -> None:
    tasks = [scenes.task(state="failed") for _ in range(3)]
    duplicate = scenes.task(uniq_hash=DIGEST)
    refused = scenes.task(state="failed", uniq_hash=DIGEST)
    assert press_through(admin, chosen("retry", *tasks, refused)) == "/jobs?state=failed"
    page = admin.see("/jobs?state=failed")
    assert "Retried 3 jobs, 1 refused." in words(page)
    assert {scenes.state(one) for one in tasks} == {"new"}
    (bulk_id,) = scenes.all("SELECT id FROM spoils_bulks")[0]
    page = admin.see(f"/bulks/{bulk_id}")
    assert "Refresh" not in page.headers
    assert "Retried 3 jobs, 1 refused" in words(page)
    assert "The same unique job already waits. Show the duplicate" in words(page)
    assert f"/jobs/{duplicate}" in links(page)
    assert "Bulk action" in words(admin.see(f"/jobs/{tasks[0]}"))


def test_the_list_is_fixed_at_the_time_of_the_preview(admin: Visitor, scenes: Scenes) -> None:
    early = scenes.task(state="failed")
    form = fields(admin, "/bulks/new?verb=retry&all=1&state=failed")
    late = scenes.task(state="failed", updated_at="2126-01-01T00:00:00Z")
    admin.press("/bulks", **form)  # type: ignore[arg-type]
    assert (scenes.state(early), scenes.state(late)) == ("new", "failed")


def test_a_large_action_is_run_by_a_job_and_shows_its_progress(
    admin: Visitor, scenes: Scenes, engine: Engine
) -> None:
    many(scenes)
    where = press_through(admin, "/bulks/new?verb=retry&all=1&state=failed")
    assert re.fullmatch(r"/bulks/[0-9a-f-]{36}", where)
    page = admin.see(where)
    assert page.headers["Refresh"] == "2"
    assert "Retrying 201 jobs" in words(page)
    assert "no running worker performs bulk" in words(page)
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE state = 'failed'") == 201
    task_id, priority = scenes.all("SELECT id, priority FROM fang_tasks WHERE task_type = 'bulk'")[0]
    assert priority == 2
    assert f"/jobs/{task_id}" in links(page)
    scenes.at_work("bulk")
    assert "It starts in a moment." in words(admin.see(where))
    carry_out(engine, where.rpartition("/")[2])
    page = admin.see(where)
    assert "Refresh" not in page.headers
    assert "retried 201 refused 0 left 0" in words(page)
    assert scenes.value("SELECT count(*) FROM spoils_audit WHERE done AND task_id IS NOT NULL") == 201


def test_the_page_of_a_large_action_says_that_its_job_failed_or_was_deleted(
    admin: Visitor, scenes: Scenes
) -> None:
    many(scenes)
    where = press_through(admin, "/bulks/new?verb=retry&all=1&state=failed")
    (task_id,) = scenes.all("SELECT id FROM fang_tasks WHERE task_type = 'bulk'")[0]
    scenes.connection.execute(text("UPDATE fang_tasks SET state = 'failed' WHERE id = :id"), {"id": task_id})
    assert "Retry that job to continue." in words(admin.see(where))
    scenes.connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": task_id})
    assert "was deleted. Completed changes remain." in words(admin.see(where))


def test_a_delete_of_some_is_undone_from_the_next_page(admin: Visitor, scenes: Scenes) -> None:
    tasks = [scenes.task(state="failed") for _ in range(3)]
    press_through(admin, chosen("delete", *tasks))
    page = admin.see("/jobs?state=failed")
    assert "Deleted 3 jobs." in words(page)
    undo = next(path for path in actions(page) if path.startswith("/bulks/"))
    assert undo.endswith("/restorations")
    admin.press(undo)
    assert "Restored 3 jobs." in words(admin.see("/jobs"))
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE state = 'failed'") == 3
    admin.press(undo)
    assert "There was nothing to do." in words(admin.see("/jobs"))


def test_a_large_delete_is_undone_from_its_page(
    admin: Visitor, viewer: Visitor, scenes: Scenes, engine: Engine
) -> None:
    many(scenes)
    where = press_through(admin, "/bulks/new?verb=delete&all=1&state=failed")
    carry_out(engine, where.rpartition("/")[2])
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE state = 'failed'") == 0
    assert f"{where}/restorations" not in actions(viewer.see(where))
    assert f"{where}/restorations" in actions(admin.see(where))
    undoing = str(admin.press(f"{where}/restorations").location)
    assert undoing != where
    assert "Restoring 201 jobs" in words(admin.see(undoing))
    carry_out(engine, undoing.rpartition("/")[2])
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE state = 'failed'") == 201
    assert f"{where}/restorations" not in actions(admin.see(where))


def test_refusals_are_paged_by_a_hundred(admin: Visitor, scenes: Scenes) -> None:
    tasks = [scenes.task(state="finished") for _ in range(103)]
    press_through(admin, chosen("retry", *tasks))
    (bulk_id,) = scenes.all("SELECT id FROM spoils_bulks")[0]
    page = admin.see(f"/bulks/{bulk_id}")
    assert "Nothing was retried, 103 refused" in words(page)
    assert words(page).count("The job is finished. Only a failed job can be retried.") == 100
    more = next(unescape(link) for link in links(page) if "after=" in link)
    assert words(admin.see(more)).count("The job is finished.") == 3


def test_an_action_without_a_selection_returns_to_the_list_with_a_message(
    admin: Visitor, scenes: Scenes
) -> None:
    response = admin.client.get("/bulks/new?verb=retry&back=/jobs?state=failed")
    assert (response.status_code, response.location) == (303, "/jobs?state=failed")
    assert "No jobs are selected" in words(admin.see("/jobs"))


def test_a_preview_of_nothing_has_no_button(admin: Visitor) -> None:
    page = admin.see("/bulks/new?verb=retry&all=1&state=failed")
    assert "Nothing to retry." in words(page)
    assert "/bulks" not in actions(page)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("verb=explode&all=1&state=failed", "Unknown action."),
        ("all=1&state=failed", "Unknown action."),
        ("verb=restore&all=1&state=failed", "Unknown action."),
        ("verb=retry&id=nonsense", "Not a job id."),
        ("verb=retry&all=1", "A state is required"),
        ("verb=retry&all=1&state=odd", "Unknown state."),
        ("verb=retry&all=1&group='--", "Not a valid key"),
        ("verb=retry&all=1&state=failed&type=%00", "The argument type"),
        ("verb=retry" + "".join(f"&id={uuid4()}" for _ in range(201)), "At most 200"),
    ],
)
def test_an_invalid_request_is_refused_with_a_message(admin: Visitor, query: str, sentence: str) -> None:
    assert sentence in words(admin.see(f"/bulks/new?{query}", 400))


@pytest.mark.parametrize("until", ["", "soon", "2026-11-24T10:00:00", "\0", "9999-12-31T23:59:59-23:59"])
def test_a_filter_without_its_time_is_refused(admin: Visitor, scenes: Scenes, until: str) -> None:
    task_id = scenes.task(state="failed")
    form = {"verb": "retry", "all": "1", "state": "failed", "until": until}
    assert admin.press("/bulks", **form).status_code == 400
    assert admin.press("/bulks", verb="retry").status_code == 400
    assert scenes.state(task_id) == "failed"


def test_the_time_of_a_filter_may_be_of_any_zone(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed")
    form = {"verb": "retry", "all": "1", "state": "failed", "until": "2096-01-01T00:00:00+23:59"}
    assert admin.press("/bulks", **form).status_code == 303
    assert scenes.state(task_id) == "new"


def test_a_bulk_that_is_not_there_is_a_404_page(admin: Visitor) -> None:
    assert "There is no bulk action with this id." in words(admin.see(f"/bulks/{uuid4()}", 404))
    admin.press(f"/bulks/{uuid4()}/restorations")
    assert "There was nothing to do." in words(admin.see("/jobs"))


@pytest.fixture
def classes() -> Iterator[None]:
    with throw_away_classes():
        yield


def test_a_field_of_a_group_is_changed_for_one_then_for_the_rest_and_back(
    admin: Visitor, scenes: Scenes, engine: Engine, classes: None
) -> None:
    class ShipJob(Job):
        country: str = Field(max_length=2)

        def run(self, queue: Queue) -> None:
            return None

    many(scenes, 250)
    scenes.all('UPDATE fang_tasks SET metadata = \'{"type": "ShipJob", "country": "UK"}\' RETURNING 1')
    form = admin.see("/bulks/mend?all=1&state=failed")
    assert "country" in words(form)
    wrong = admin.see("/bulks/mend?all=1&state=failed&field=country&value=Britain")
    assert "0 would change, 250 refused" in words(wrong)
    assert "The payload does not fit ShipJob" in words(wrong)
    page = admin.see("/bulks/mend?all=1&state=failed&field=country&value=GB&where=UK")
    assert "250 would change, 0 refused" in words(page)
    one = re.search(r'name="one" value="([^"]+)"', page.text)
    assert one
    sent = {"all": "1", "state": "failed", "until": "2100-01-01T00:00Z", "field": "country"}
    sent |= {"value": "GB", "where": "UK"}
    tried = admin.press("/bulks/mend", **sent, one=one[1])
    assert "Changed one" in words(admin.see(str(tried.location)))
    assert scenes.state(UUID(one[1])) == "new"
    location = str(admin.press("/bulks/mend", **sent).location)
    carry_out(engine, location.rpartition("/")[2])
    assert "Changed 249 jobs" in words(admin.see(location))
    new = "SELECT count(*) FROM fang_tasks WHERE state = 'new' AND metadata ->> 'country' = 'GB'"
    assert scenes.value(new) == 250
    back = str(admin.press(f"{location}/restorations").location)
    carry_out(engine, back.rpartition("/")[2])
    assert "Changed back 249 jobs" in words(admin.see(back))
    assert scenes.value(new) == 1
