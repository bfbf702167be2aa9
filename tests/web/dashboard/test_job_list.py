"""The list of jobs: its rows, filters, search and pages."""

import re
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, text

from spoils.reports import job_list
from spoils.web import application
from tests.web.dashboard.conftest import MakeApp
from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import STATES, Scenes


def test_the_status_bar_counts_exactly_and_links_to_each_state(admin: Visitor, scenes: Scenes) -> None:
    scenes.full()
    scenes.connection.execute(
        text("INSERT INTO fang_tasks (metadata, state) SELECT '{}', 'finished' FROM generate_series(1, 1233)")
    )
    response = admin.see("/products")
    page = words(response)
    assert "new 1 in progress 1 retried 1 failed 1 finished 1,234" in page
    assert "running workers 1 capacity 5" in page
    assert {f"/jobs?state={state}" for state in STATES} <= set(links(response))


def test_the_status_bar_shows_the_rate_of_the_last_minutes(admin: Visitor, scenes: Scenes) -> None:
    scenes.connection.execute(
        text(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) "
            "SELECT date_trunc('minute', now()) - make_interval(mins => ago), 'a', 'finished', 1, 100, 1 "
            "FROM generate_series(0, 9) AS ago"
        )
    )
    rate = re.search(r"per minute , last 5 (\d+)", words(admin.see("/jobs")))
    assert rate
    assert 100 <= int(rate[1]) <= 120


def test_a_row_shows_payload_error_attempts_and_id(admin: Visitor, scenes: Scenes) -> None:
    jobs = scenes.full()
    page = words(admin.see("/jobs?state=failed"))
    assert "fetch_product barcode 3017620422003" in page
    assert "Unavailable 503 from Open Food Facts" in page
    assert "2 of 4" in page
    assert str(jobs["failed"])[-8:] in page
    assert str(jobs["new"])[-8:] not in page


def test_only_actions_that_the_state_allows_are_shown(admin: Visitor, scenes: Scenes) -> None:
    jobs = scenes.full()
    shown = actions(admin.see("/jobs"))
    allowed = {
        state: {path.rpartition("/")[2] for path in shown if str(jobs[state]) in path} for state in STATES
    }
    assert allowed == {
        "new": {"cancellations", "deletions"},
        "in_progress": {"cancellations"},
        "retried": {"runs", "cancellations", "deletions"},
        "failed": {"retries", "deletions"},
        "finished": {"deletions"},
    }


def test_a_running_job_that_was_asked_to_stop_is_not_asked_again(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(state="in_progress", cancel_requested_at="2026-01-01T00:00:00Z")
    response = admin.see("/jobs")
    assert "asked to stop, for 0 s" in words(response)
    assert not [path for path in actions(response) if path.startswith("/jobs/")]


def test_the_type_narrows_the_rows_and_the_counts_of_the_tabs(admin: Visitor, scenes: Scenes) -> None:
    scenes.full()
    other = scenes.task(task_type="mail & more", state="failed")
    response = admin.see("/jobs?type=" + quote("mail & more"))
    assert f'href="/jobs/{other}"' in response.text
    assert "All 1 new 0 in progress 0 retried 0 failed 1 finished 0" in words(response)
    assert "/jobs?state=failed&type=mail+%26+more" in links(response)
    assert "fetch_product barcode" not in words(response)


@pytest.mark.parametrize(
    "query",
    [
        *("state=done", "state=NEW", "state=%00", "type=%00", "type=%0a", "type=" + "a" * 256, "older=x"),
        *("newer=%F0", "older=" + "A" * 100, "older=MjAyNi0wMS0wMXwx", "older=a&newer=b", "q=%00"),
        *("error=" + "+".join("abcdefghi"), "error=token%3D9", "changed=2h", "changed=%00"),
        *("q=" + "+".join("abcdefghi"), "q=" + "x" * 256),
    ],
)
def test_an_invalid_argument_is_refused(admin: Visitor, query: str) -> None:
    admin.see(f"/jobs?{query}", 400)


def test_a_job_is_found_by_its_id(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task()
    assert admin.see(f"/jobs?q=+{task_id}+", 302).location == f"/jobs/{task_id}"


@pytest.mark.parametrize("kind", ["whole", "short"])
def test_a_job_or_batch_is_found_by_the_id_that_pages_show(admin: Visitor, scenes: Scenes, kind: str) -> None:
    tasks = [scenes.task(state=state) for state in STATES]
    batch_id = scenes.value(
        "INSERT INTO spoils_batches (id, condition) VALUES (spoils_new_id(), 'end') RETURNING id"
    )
    for address in (*(f"/jobs/{task_id}" for task_id in tasks), f"/batches/{batch_id}"):
        asked = address[-8:].upper() if kind == "short" else address.rpartition("/")[2]
        assert admin.see(f"/jobs?q={asked}", 302).location == address


def test_an_end_of_an_id_that_no_job_has_is_searched_as_a_word(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", error_message="bad address deadbeef")
    assert f'href="/jobs/{task_id}"' in admin.see("/jobs?q=deadbeef").text


@pytest.mark.parametrize(
    ("asked", "found"), [("mail%26more", "mail%26more"), ("FetchProductJob", "fetch_product")]
)
def test_jobs_of_a_type_are_found_by_its_name_or_that_of_the_class(
    admin: Visitor, scenes: Scenes, asked: str, found: str
) -> None:
    scenes.task(task_type="mail&more")
    scenes.task(task_type="fetch_product")
    assert admin.see(f"/jobs?q={asked}", 302).location == f"/jobs?type={found}"


def test_the_list_is_narrowed_by_an_error_and_a_time_range(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(task_type="mail", state="failed", error_message="Timeout: now", metadata={"key": "now"})
    old = scenes.task(
        task_type="mail", state="failed", error_message="Timeout: old", updated_at="2026-01-01T00:00:00Z"
    )
    retried = scenes.task(task_type="mail", state="retried", error_message="Timeout: again")
    other = scenes.task(task_type="mail", state="failed", error_message="KeyError: 'now'")
    page = admin.see("/jobs?type=mail&error=timeout")
    assert all(f'href="/jobs/{each}"' in page.text for each in (old, retried))
    assert f'href="/jobs/{other}"' not in page.text
    assert "Searched the last error of all failed and retried jobs." in words(page)
    assert "/jobs?state=failed&type=mail&error=timeout" in links(page)
    page = admin.see("/jobs?state=failed&type=mail&error=timeout&changed=24h")
    assert "key now" in words(page)
    assert f'href="/jobs/{old}"' not in page.text
    assert "To act on all matching jobs, remove the time range and the error." in words(page)
    assert not [link for link in links(page) if link.startswith("/bulks")]
    assert "No failed jobs of type mail in this time range." not in words(page)
    scenes.all("DELETE FROM fang_tasks WHERE id <> :id RETURNING 1", id=old)
    page = admin.see("/jobs?state=failed&type=mail&changed=7d")
    assert "No failed jobs of type mail in this time range." in words(page)


def test_new_jobs_are_listed_by_when_they_are_due(admin: Visitor, scenes: Scenes) -> None:
    later, late, soon = (scenes.task(due_in=seconds) for seconds in (600, -600, 60))
    scenes.task(state="retried", due_in=-900)
    page = admin.see("/jobs?state=new")
    assert re.findall(r'class="name" href="/jobs/([^"]+)"', page.text) == [
        str(each) for each in (late, soon, later)
    ]
    assert "Due ↑" in words(page)
    assert "10 min ago" in words(page)


@pytest.mark.parametrize("written", ["737628064502", "0737628064502", "00737628064502"])
def test_jobs_are_found_by_a_barcode_however_its_zeros_are_written(
    admin: Visitor, scenes: Scenes, written: str
) -> None:
    found = {
        scenes.task(state=state, metadata={"type": "FetchProductJob", "barcode": stored})
        for state in STATES
        for stored in ("737628064502", "0737628064502", "00737628064502")
    }
    other = scenes.task(metadata={"type": "FetchProductJob", "barcode": "3017620422003"})
    response = admin.see(f"/jobs?q=barcode:{written}")
    assert all(f'href="/jobs/{task_id}"' in response.text for task_id in found)
    assert f'href="/jobs/{other}"' not in response.text
    assert "Searched the 5,000 jobs of each state that changed last." in words(response)


def test_jobs_are_found_by_any_field(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(metadata={"user_id": 123})
    assert f'href="/jobs/{task_id}"' in admin.see("/jobs?q=user_id:123").text
    assert "No jobs found." in words(admin.see("/jobs?q=user_id:124"))
    assert "No jobs found." in words(admin.see("/jobs?q=" + quote("user_id:' OR 1=1 --")))


@pytest.mark.parametrize("asked", ["timeout", "TIMEOUT answer", "ReadTimeout: no answer"])
def test_failed_jobs_are_found_by_words_of_their_error(admin: Visitor, scenes: Scenes, asked: str) -> None:
    found = scenes.task(state="failed", error_message="ReadTimeout: no answer in 15 s")
    others = [
        scenes.task(state="failed", error_message="KeyError: 'answer'"),
        scenes.task(state="failed", error_message=None),
        scenes.task(state="retried", error_message="ReadTimeout: no answer in 15 s"),
    ]
    response = admin.see("/jobs?q=" + quote(asked))
    assert f'href="/jobs/{found}"' in response.text
    assert not [other for other in others if f'href="/jobs/{other}"' in response.text]
    assert "Searched the last error of all failed jobs." in words(response)
    assert f'href="/jobs/{others[2]}"' in admin.see("/jobs?state=retried&q=timeout").text


def test_a_wildcard_in_a_search_is_taken_literally(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(state="failed", error_message="100 of them")
    assert "No jobs found." in words(admin.see("/jobs?q=" + quote("10% of")))


@pytest.mark.parametrize(
    "asked",
    ["token=9", "pin:4071", "dbPass:x", "url:postgres://me:x@db/x", "Authorization: Bearer x", "note:pwd=x"],
)
def test_a_secret_cannot_be_searched(admin: Visitor, scenes: Scenes, asked: str) -> None:
    scenes.task(state="failed", metadata={"type": "X", "pin": "4071"}, error_message="token=9f3a refused")
    response = admin.see("/jobs?state=failed&q=" + quote(asked), 400)
    assert "Secrets are masked on every page and cannot be searched." in words(response)


def test_a_search_by_words_reads_a_bounded_number_of_jobs_a_page(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "FAR", 10)
    task_id = scenes.task(state="failed", error_message="so rare")
    scenes.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, state, error_message, updated_at) "
            "SELECT '{}', 'failed', 'common', now() + make_interval(secs => n) FROM generate_series(1, 25) AS n"
        )
    )
    path, pages = "/jobs?q=rare", 0
    while f'href="/jobs/{task_id}"' not in (response := admin.see(path)).text:
        assert "The button below continues" in words(response)
        path, pages = onward(response.text, "next") or "", pages + 1
    assert pages == 2


MASKED_MATCHES = (
    "INSERT INTO fang_tasks (metadata, state, error_message, updated_at) "
    'SELECT \'{"name": "pin", "value": "rare"}\', \'failed\', \'token=rare\', now() + make_interval(secs => n) '
    "FROM generate_series(1, 250) AS n"
)


def test_matches_that_are_masked_are_read_a_few_at_a_time(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "_MOST_READS", 2)
    task_id = scenes.task(state="failed", error_message="so rare")
    scenes.connection.execute(text(MASKED_MATCHES))
    path, pages = "/jobs?q=rare", 1
    while f'href="/jobs/{task_id}"' not in (response := admin.see(path)).text:
        assert "The button below continues" in words(response)
        path, pages = onward(response.text, "next") or "", pages + 1
    assert pages == 3


def test_a_field_is_found_behind_many_that_do_not_show_it(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(state="failed", metadata={"type": "X", "value": "rare"})
    scenes.connection.execute(text(MASKED_MATCHES))
    response = admin.see("/jobs?q=value:rare")
    assert re.findall(r'href="/jobs/([0-9a-f-]{36})"', response.text) == [str(task_id)]


def test_a_list_that_times_out_is_left_out_with_a_message(
    make_app: MakeApp, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "STATEMENT_TIMEOUT_MS", 100)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO fang_tasks (metadata, state) VALUES ('{}', 'failed')"))
    client = make_app(development=True).test_client()
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as other:
        other.execute(text("LOCK TABLE fang_tasks IN ACCESS EXCLUSIVE MODE"))
        pages = [client.get(path) for path in ("/jobs?state=failed", "/jobs?q=words", "/jobs?q=user_id:1")]
        other.rollback()
    for response in pages:
        assert response.status_code == 200
        assert "Some data could not be loaded." in words(response)
        assert "the list of jobs" in words(response)
        assert "No jobs found" not in words(response)
    assert "could not be loaded" not in words(client.get("/jobs?state=failed"))


@pytest.mark.parametrize(
    "row",
    [
        {"metadata": [1, 2, 3]},
        {"metadata": "text"},
        {"metadata": "null"},
        {"metadata": 7},
        {"metadata": {"type": 7, "deep": {"a": [1]}}},
        {"retries": -1},
        {"task_type": ""},
        {"scheduled_at": "infinity"},
        {"scheduled_at": "-infinity"},
        {"updated_at": "infinity"},
        {"created_at": "-infinity", "updated_at": "-infinity"},
        {"state": "in_progress", "claimed_at": "infinity"},
        {"state": "failed", "error_message": ""},
        {"state": "failed", "error_message": "a" * 100_000},
        {"attempts": 1_000_000, "retries": 1_000_000, "metadata": {"type": "FetchProductJob"}},
    ],
    ids=str,
)
def test_rows_that_another_program_wrote_are_shown(
    admin: Visitor, scenes: Scenes, row: dict[str, object]
) -> None:
    due_at = row.get("scheduled_at")
    task_id = scenes.task(
        **{"metadata": {}} | {name: value for name, value in row.items() if name != "scheduled_at"}
    )
    if due_at:
        change = "UPDATE fang_tasks SET scheduled_at = CAST(:at AS timestamptz) WHERE id = :id RETURNING id"
        scenes.value(change, at=due_at, id=task_id)
    assert f'href="/jobs/{task_id}"' in admin.see("/jobs").text
    admin.see(f"/jobs/{task_id}")


def onward(page: str, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else None
