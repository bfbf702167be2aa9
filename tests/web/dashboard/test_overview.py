"""The overview: charts, the table by type, what is due next, and what happens if the database is slow."""

import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from spoils.web import application
from tests.web.dashboard.conftest import MakeApp
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import Scenes

A_MINUTE = r"1 min( \d+ s)?"
"""What takes a minute at the rate of five minutes, at that of five and a part of one."""


def row_of(page: str, task_type: str) -> str:
    """The words of a type's row."""
    row = next(part for part in page.split("<tr") if f">{task_type}</a>" in part)
    return " ".join(re.sub(r"<[^>]+>", " ", row.partition("</tr>")[0].partition(">")[2]).split())


def test_the_charts_show_finished_and_failed_attempts(admin: Visitor, scenes: Scenes) -> None:
    scenes.ended(40)
    scenes.ended(20, minutes_ago=5)
    scenes.ended(3, outcome="retried")
    scenes.ended(2, outcome="timed_out", ran_ms=10_000)
    scenes.ended(7, outcome="snoozed")
    scenes.ended(9, outcome="cancelled")
    scenes.ended(1_000, minutes_ago=200)
    hour = words(admin.see("/"))
    assert "finished 60 failed attempts 5" in hour
    assert "40 finished, 5 failed attempts" in hour
    assert "p50 332 ms" in hour
    day = words(admin.see("/?range=24h"))
    assert "finished 1,060 failed attempts 5" in day
    assert "finished 1,060 failed attempts 5" in words(admin.see("/?range=7d"))


def test_a_row_shows_the_figures_of_its_type(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("fetch_product")
    for due_in in (-3, -61, 500):
        scenes.task(task_type="fetch_product", due_in=due_in)
    scenes.task(task_type="fetch_product", state="in_progress")
    scenes.task(task_type="fetch_product", state="failed")
    scenes.ended(10, minutes_ago=2, ran_ms=300)
    scenes.ended(30, minutes_ago=90, ran_ms=500)
    scenes.ended(10, minutes_ago=90, outcome="retried")
    # Waiting, one of it later; oldest, running, failed, finished; average and p95 of all attempts, no times of waiting,
    # and the share that failed. Two are due, and ten ended in five minutes and a part of one.
    row = "fetch_product 3 1 later 1 min 1 1 40 428 ms 470 ms – – 20.0 % "
    assert re.fullmatch(row + A_MINUTE, row_of(admin.see("/").text, "fetch_product"))


def test_what_ends_in_this_minute_is_drawn_and_counted_at_once(admin: Visitor, scenes: Scenes) -> None:
    scenes.ended(30, minutes_ago=0)
    scenes.ended(10, minutes_ago=0, outcome="retried")
    page = admin.see("/")
    assert "finished 30 failed attempts 10" in words(page)
    assert re.search(r'fill="url\(#hatch-failed\)".*fill="url\(#hatch-finished\)"', page.text)
    rate = re.search(r"per minute , last 5 ([\d.]+)", words(page))
    assert rate
    assert 6.5 < float(rate[1]) <= 8


def test_the_queue_s_own_jobs_are_hidden_unless_asked_for(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(task_type="mail", state="failed")
    for state in ("new", "failed"):
        scenes.task(task_type="ping", state=state, metadata={"type": "PingJob"})
    page = admin.see("/")
    assert "ping</a>" not in page.text
    assert "Show the other type" in words(page)
    assert "ping</a>" in admin.see("/?types=all").text
    for path, types in (
        ("/jobs", ["mail"]),
        ("/jobs?state=failed", ["mail"]),
        ("/jobs?type=ping", ["ping", "ping"]),
    ):
        assert re.findall(r'class="name"[^>]*>\s*(\w+)', admin.see(path).text) == types, path
    assert "Delete 1 failed job?" in words(admin.see("/bulks/new?verb=delete&all=1&state=failed"))
    assert "Delete 1 failed job?" in words(admin.see("/bulks/new?verb=delete&all=1&state=failed&type=ping"))


@pytest.mark.parametrize(
    ("taken", "ended", "told"),
    [
        (["mail"], 10, A_MINUTE),
        (["mail"], 0, "none ended in 5 min"),
        ([], 10, "no worker performs it"),
        (["other"], 10, "no worker performs it"),
        (["mail", "draining"], 10, "no worker performs it"),
        ([], 10, "paused"),
    ],
)
def test_a_type_that_does_not_drain_says_why(
    admin: Visitor, scenes: Scenes, taken: list[str], ended: int, told: str
) -> None:
    scenes.at_work(*taken)
    if "draining" in taken:
        scenes.all("UPDATE spoils_workers SET draining = true RETURNING id")
    for _ in range(2):
        scenes.task(task_type="mail", due_in=-5)
    scenes.task(task_type="other", state="finished")
    scenes.ended(ended, minutes_ago=2, task_type="mail")
    if told == "paused":
        scenes.paused("mail")
    page = admin.see("/").text
    assert re.search(rf"{told}$", row_of(page, "mail"))
    assert row_of(page, "other").endswith("–")
    whole = " ".join(
        re.sub(r"<[^>]+>", " ", page.partition('<tr class="whole">')[2].partition("</tr>")[0]).split()
    )
    assert re.search(f"{A_MINUTE}$" if told == A_MINUTE else "1 type does not drain$", whole)


def test_time_to_drain_is_a_maximum_if_not_all_jobs_were_read(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoils.reports.upcoming.MOST", 20)
    scenes.at_work("mail")
    scenes.ended(10, minutes_ago=2, task_type="mail")
    for number in range(30):
        scenes.task(task_type="mail", due_in=600 + number)
    assert row_of(admin.see("/").text, "mail").endswith("–")  # nothing is due
    scenes.task(task_type="mail", due_in=-5)
    assert re.search(r"at most [56] min( \d+ s)?$", row_of(admin.see("/").text, "mail"))


def test_a_paused_type_says_so_everywhere(admin: Visitor, scenes: Scenes) -> None:
    scenes.at_work("mail")
    task_id = scenes.task(task_type="mail", due_in=-900)
    assert "Falling behind." in words(admin.see("/"))
    scenes.paused("mail")
    page = words(admin.see("/"))
    assert "Healthy. No jobs are due. mail is paused with 1 job waiting." in page
    assert row_of(admin.see("/").text, "mail").endswith("paused")
    why = words(admin.see(f"/jobs/{task_id}"))
    assert "The type mail is paused. admin paused it" in why


def test_upcoming_jobs_and_ticks_are_listed_with_links(admin: Visitor, scenes: Scenes) -> None:
    for number in range(3):
        scenes.task(task_type="mail", due_in=7_200 + number)
    scenes.task(task_type="mail", state="retried", due_in=90)
    scenes.task(task_type="mail", due_in=3 * 86_400)
    scenes.connection.execute(
        text(
            "INSERT INTO spoils_schedules (job, cron, zone, task_type) "
            "VALUES ('CleanupJob', '0 2 * * *', 'UTC', 'cleanup'), ('CleanupJob', '1 1 * * *', 'UTC', 'cleanup')"
        )
    )
    answer = admin.see("/")
    page = words(answer)
    assert "1 retry of mail" in page
    assert "3 mail scheduled" in page
    # The lists have others too, so no link says how many.
    assert re.findall(r'href="/jobs\?state=\w+&amp;type=mail">([^<]*)</a>', answer.text).count("mail") == 2
    assert "cleanup, every day at 02:00" in page
    assert "01:01" not in page  # what the class no longer says
    assert "/jobs?state=retried&type=mail" in links(answer)


def test_two_hundred_types_are_not_one_long_page(admin: Visitor, scenes: Scenes) -> None:
    for number in range(60):
        scenes.task(task_type=f"type_{number}")
    page = admin.see("/")
    assert page.text.count('data-label="waiting"') == 41  # forty, and all of them
    assert "Show the other 20 types" in words(page)
    assert admin.see("/?types=all").text.count('data-label="waiting"') == 61


def test_empty_pages_offer_the_next_step(admin: Visitor, scenes: Scenes) -> None:
    for path in ("/", "/workers"):  # without a worker the command that starts one
        page = admin.see(path)
        assert "worker.py" in page.text or "spoils worker" in page.text
        assert "Enqueue a job" not in words(page)
    scenes.at_work("mail")
    for path in ("/", "/workers"):
        assert "Enqueue a job" in words(admin.see(path))
    assert "Show all jobs" in words(admin.see("/errors"))
    assert "Show all failures" in words(admin.see("/errors?window=24h"))
    assert "/schedules/new" in links(admin.see("/schedules"))
    assert "queue.batch(" in admin.see("/batches").text
    scenes.task(task_type="mail", state="finished")
    assert "Add a schedule or enqueue a job" in words(admin.see("/"))
    assert "Enqueue a job" not in words(admin.see("/workers"))


@pytest.mark.parametrize("query", ["range=1y", "range=1h%00", "type=a%00b", "type=" + "x" * 300])
def test_an_invalid_argument_is_refused(admin: Visitor, query: str) -> None:
    admin.see(f"/?{query}", 400)


@pytest.fixture
def slow(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A client of an application whose statements may not take long."""
    monkeypatch.setattr(application, "STATEMENT_TIMEOUT_MS", 300)
    return make_app(development=True).test_client()


@pytest.mark.parametrize(
    ("table", "missing"),
    [
        ("spoils_counts", "the counts by state"),
        ("spoils_quarters", "the last day by type"),
        ("spoils_minutes", "the jobs per minute"),
    ],
)
def test_a_part_that_times_out_is_left_out_and_named(
    slow: FlaskClient, engine: Engine, scenes: Scenes, table: str, missing: str
) -> None:
    scenes.full()
    scenes.ended(3)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as other:
        other.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        response = slow.get("/")
        other.rollback()
    assert response.status_code == 200
    assert f"Some data could not be loaded. The database took too long for {missing}" in words(response)
    assert "could not be loaded" not in words(slow.get("/"))
