"""The pages of batches and chains: progress, members by state, what follows, and the actions on all members."""

import re
from uuid import UUID, uuid4

import pytest

from spoils.job.batch import Condition
from spoils.queue.batches import new_batch, new_chain, put_batch
from tests.sample_jobs import ResultJob, SampleJob
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import MARKUP, Scenes

NAME = "night import"


def a_batch(scenes: Scenes, *states: str, on: Condition = "end", name: str = NAME) -> UUID:
    """A batch with a member in each of these states."""
    batch = new_batch(then=ResultJob(value="report"), name=name, on=on)
    for number, _ in enumerate(states):
        batch.enqueue(SampleJob(number=number))
    put_batch(scenes.connection, batch)
    members = scenes.all("SELECT id FROM fang_tasks WHERE batch_id = :id ORDER BY id", id=batch.id)
    for (task_id,), state in zip(members, states, strict=True):
        scenes.all(
            "UPDATE fang_tasks SET state = CAST(:state AS fang_task_state), "
            "error_message = CASE :state WHEN 'failed' THEN 'ValueError: boom' END WHERE id = :id RETURNING 1",
            state=state,
            id=task_id,
        )
    return batch.id


def test_the_list_shows_the_progress_of_each_the_last_enqueued_first(admin: Visitor, scenes: Scenes) -> None:
    assert "No batches yet." in words(admin.see("/batches"))
    a_batch(scenes, "finished", "new", "new", "failed", name="old")
    a_batch(scenes, "finished", name="done")
    put_batch(
        scenes.connection, new_chain([SampleJob(), SampleJob()], name="chain of two", at=None, priority=0)
    )
    page = words(admin.see("/batches"))
    assert page.index("chain of two") < page.index(" done ") < page.index(" old ")
    assert "chain of two chain" in page
    for progress in ("0 of 2", "1 of 1", "2 of 4"):
        assert progress in page


def test_the_list_is_paged(admin: Visitor, scenes: Scenes) -> None:
    for number in range(51):
        put_batch(scenes.connection, new_batch(then=None, name=f"number {number}", on="end"))
    first = admin.see("/batches")
    (older,) = [link for link in links(first) if "older=" in link]
    assert "number 50" in words(first)
    second = admin.see(older)
    assert re.findall(r"number \d+", words(second)) == ["number 0"]
    (newer,) = [link for link in links(second) if "newer=" in link]
    assert words(admin.see(newer)).count("number") == 50
    for bad in ("older=x", "older=x&newer=x"):
        admin.see(f"/batches?{bad}", 400)


def test_a_page_links_members_by_state_and_offers_the_actions_on_all(admin: Visitor, scenes: Scenes) -> None:
    batch_id = a_batch(scenes, "new", "retried", "in_progress", "failed", "failed", "finished")
    page = admin.see(f"/batches/{batch_id}")
    assert f"{NAME} in progress" in words(page)
    assert "value report" in words(page)
    assert "It is enqueued when every member is finished, failed or cancelled." in words(page)
    for state, number in (("new", 1), ("retried", 1), ("in_progress", 1), ("failed", 2), ("finished", 1)):
        link = f"/jobs?batch={batch_id}&state={state}"
        assert link in links(page)
        listed = admin.see(link)
        assert f"Members of the batch {NAME}" in words(listed)
        assert len(re.findall('name="id"', listed.text)) == number
    for action, did in (("retry", "Retried 2 jobs."), ("cancel", "Cancelled 5 jobs.")):
        (preview,) = [link for link in links(admin.see(f"/batches/{batch_id}")) if f"verb={action}" in link]
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', admin.see(preview).text))
        del fields["csrf_token"]
        pressed = admin.press("/bulks", **fields)
        assert pressed.headers["Location"] == f"/batches/{batch_id}"
        assert did in words(admin.see(f"/batches/{batch_id}"))
    counts = scenes.all("SELECT active, finished, cancelled FROM spoils_batches")
    assert counts == [(1, 1, 4)], "what runs was asked to stop"


def test_the_actions_on_all_members_leave_other_jobs_alone(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(state="failed")
    batch_id = a_batch(scenes, "failed")
    preview = admin.see(f"/bulks/new?verb=retry&all=1&state=failed&batch={batch_id}")
    assert "Retry 1 failed job?" in words(preview)
    admin.see(f"/bulks/new?verb=retry&all=1&batch={batch_id}", 400)
    admin.see("/bulks/new?verb=cancel&all=1&active=1", 400)
    admin.see("/bulks/new?verb=retry&all=1&state=failed&batch=7", 400)


def test_a_batch_that_has_ended_links_to_what_it_enqueued(admin: Visitor, scenes: Scenes) -> None:
    batch_id = a_batch(scenes, "finished")
    then = scenes.value("SELECT id FROM fang_tasks WHERE previous IS NOT NULL")
    page = admin.see(f"/batches/{batch_id}")
    assert f"/jobs/{then}" in links(page)
    assert re.search(r"Ended .* ago, after .* ms\.", words(page))
    assert f"Follows batch {NAME}" in words(admin.see(f"/jobs/{then}"))
    member = scenes.value("SELECT id FROM fang_tasks WHERE batch_id IS NOT NULL")
    assert f"/batches/{batch_id}" in links(admin.see(f"/jobs/{member}"))
    scenes.all("DELETE FROM fang_tasks WHERE id = :id RETURNING 1", id=then)
    assert "It was enqueued, and has been deleted since." in words(admin.see(f"/batches/{batch_id}"))


def test_a_batch_that_has_stopped_says_why(admin: Visitor, scenes: Scenes) -> None:
    batch_id = a_batch(scenes, "finished", "failed", on="success")
    page = words(admin.see(f"/batches/{batch_id}"))
    assert f"{NAME} stopped" in page
    assert "once the failed jobs have finished. Retry them to continue." in page
    chain = new_chain([SampleJob(number=4), SampleJob(number=5)], name=None, at=None, priority=0)
    put_batch(scenes.connection, chain)
    scenes.all("DELETE FROM fang_tasks WHERE batch_id = :id RETURNING 1", id=chain.id)
    assert "its current job was deleted. Restore that job" in words(admin.see(f"/batches/{chain.id}"))


def test_the_page_of_a_chain_shows_its_links_in_their_order(admin: Visitor, scenes: Scenes) -> None:
    chain = new_chain([SampleJob(number=number) for number in (7, 8, 9)], name=None, at=None, priority=0)
    put_batch(scenes.connection, chain)
    scenes.all("UPDATE fang_tasks SET state = 'finished' RETURNING 1")
    page = words(admin.see(f"/batches/{chain.id}"))
    assert re.search(
        "1 sample number 7 finished .*2 sample number 8 new .*3 sample number 9 comes later", page
    )
    assert "links so far 2" in page


def test_a_viewer_sees_it_and_is_offered_nothing(viewer: Visitor, scenes: Scenes) -> None:
    page = viewer.see(f"/batches/{a_batch(scenes, 'failed', 'new')}")
    assert not [link for link in links(page) if "/bulks/new" in link]


def test_markup_and_secrets_in_a_batch_are_shown_as_neither(admin: Visitor, scenes: Scenes) -> None:
    batch = new_batch(then=ResultJob(value="x"), name=f"{MARKUP} password=hunter2"[:200], on="end")
    put_batch(scenes.connection, batch)
    for path in ("/batches", f"/batches/{batch.id}"):
        page = admin.see(path)
        assert MARKUP not in page.text
        assert "hunter2" not in page.text


@pytest.mark.parametrize("path", ["/batches/{}", "/jobs?batch={}"])
def test_an_unknown_batch_is_answered_plainly(admin: Visitor, path: str) -> None:
    admin.see(path.format(uuid4()), 404 if "batches" in path else 200)
    admin.see(path.format("7"), 404 if "batches" in path else 400)
