"""Schedules made on the dashboard: the form with its preview, and the actions on each."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from spoils.job import Job, Queue
from tests.classes import throw_away_classes
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import Scenes

NEW = "/schedules/new/fetch-product"
NIGHTLY = {
    "name": "nightly-noodles",
    "cron": "0 2 * * *",
    "timezone": "Europe/Berlin",
    "field.barcode": "737628064502",
}


def made(admin: Visitor, scenes: Scenes) -> str:
    """The address of a schedule that the form has made."""
    assert admin.press(NEW, **NIGHTLY).status_code == 303
    return f"/schedules/{scenes.value('SELECT id FROM spoils_schedules WHERE name IS NOT NULL')}"


def test_a_schedule_is_added_from_the_page_and_shown_beside_those_of_classes(
    admin: Visitor, scenes: Scenes
) -> None:
    assert "/schedules/new" in links(admin.see("/schedules"))
    assert NEW in links(admin.see("/schedules/new"))
    assert "BulkJob" not in words(admin.see("/schedules/new"))
    address = made(admin, scenes)
    answer = admin.see("/schedules")
    page = words(answer)
    assert "Added the schedule nightly-noodles." in page
    assert "Every day at 02:00 Europe/Berlin · 0 2 * * *" in page
    assert "nightly-noodles fetch_product · barcode 737628064502" in page
    assert "CleanupJob" in answer.text
    assert address in links(answer)
    assert scenes.all("SELECT payload, made_by FROM spoils_schedules WHERE name IS NOT NULL") == [
        ({"barcode": "737628064502"}, "admin")
    ]
    assert "add schedule nightly-noodles none → 0 2 * * * Europe/Berlin" in words(admin.see("/audit"))
    scenes.task()  # else the overview shows the first steps
    assert "fetch_product (nightly-noodles), every day at 02:00" in words(admin.see("/"))


def test_the_preview_shows_the_next_five_runs_in_their_zone_and_saves_nothing(
    admin: Visitor, scenes: Scenes
) -> None:
    response = admin.press(NEW, **{**NIGHTLY, "field.barcode": "", "preview": "1"})
    assert response.status_code == 200
    page = words(response)
    assert "Every day at 02:00, in Europe/Berlin." in page
    assert page.count("02:00:00") == 5
    assert 'value="0 2 * * *"' in response.text
    response = admin.press(NEW, **{**NIGHTLY, "cron": "2 30 * * *", "preview": "1"})
    assert response.status_code == 422
    assert 'Did you mean "30 2 * * *"?' in words(response)
    assert scenes.value("SELECT count(*) FROM spoils_schedules") == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": ""}, "A name has 1 to 100 letters"),
        ({"name": "CleanupJob"}, "is the name of a job class"),
        ({"cron": ""}, "This field is required."),
        ({"cron": "0 2 * * * *  *"}, "a sixth, of seconds, comes first"),
        ({"timezone": "Berlin"}, "Did you mean Europe/Berlin?"),
        ({"field.barcode": "3017x"}, "A barcode has digits only."),
    ],
)
def test_a_mistake_is_shown_beside_its_field_and_nothing_is_saved(
    admin: Visitor, scenes: Scenes, change: dict[str, str], sentence: str
) -> None:
    response = admin.press(NEW, **{**NIGHTLY, **change})
    assert response.status_code == 422
    page = words(response)
    assert "Nothing was saved. 1 field needs a correction:" in page
    assert sentence in page
    assert scenes.value("SELECT count(*) FROM spoils_schedules") == 0
    assert scenes.value("SELECT count(*) FROM spoils_audit") == 0


def test_a_name_that_is_taken_is_refused(admin: Visitor, scenes: Scenes) -> None:
    made(admin, scenes)
    response = admin.press(NEW, **NIGHTLY)
    assert response.status_code == 422
    assert "already exists" in words(response)


def test_a_schedule_is_edited_and_the_audit_log_says_from_what_to_what(
    admin: Visitor, scenes: Scenes
) -> None:
    address = made(admin, scenes)
    form = admin.see(address)
    assert 'value="737628064502"' in form.text
    assert words(form).count("02:00:00") == 5
    changed = {**NIGHTLY, "cron": "30 4 * * 1", "version": "1"}
    assert admin.press(address, **changed).status_code == 303
    assert "Saved the schedule nightly-noodles." in words(admin.see("/schedules"))
    log = words(admin.see("/audit"))
    assert "change schedule nightly-noodles 0 2 * * * Europe/Berlin → 30 4 * * 1 Europe/Berlin" in log
    response = admin.press(address, **changed)
    assert response.status_code == 422
    assert "changed by somebody else meanwhile" in words(response)
    admin.press(address, **{**changed, "version": "2", "field.barcode": "4006381333931"})
    assert "payload changed" in words(admin.see("/audit"))


def test_a_schedule_is_paused_resumed_run_now_and_deleted(admin: Visitor, scenes: Scenes) -> None:
    address = made(admin, scenes)
    for noun, sentence in (
        ("pauses", "Paused nightly-noodles."),
        ("pauses", "Refused: nightly-noodles is already paused."),
        ("resumptions", "Resumed nightly-noodles."),
        ("resumptions", "Refused: nightly-noodles is not paused."),
        ("runs", "Enqueued fetch_product. The next tick is unchanged."),
        ("runs", "Nothing was enqueued: the same unique job already exists."),
        ("deletions", "Deleted the schedule nightly-noodles. Its jobs stay."),
    ):
        assert admin.press(f"{address}/{noun}").status_code == 303
        assert sentence in words(admin.see("/schedules"))
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 1
    for noun in ("", "/pauses", "/runs", "/deletions"):
        assert admin.press(f"{address}{noun}").status_code == 404


def test_a_paused_schedule_says_by_whom_and_has_no_upcoming_ticks(admin: Visitor, scenes: Scenes) -> None:
    admin.press(f"{made(admin, scenes)}/pauses")
    page = words(admin.see("/schedules"))
    assert "paused by admin" in page
    assert "none while paused" in page
    scenes.task()
    page = words(admin.see("/"))
    assert "Next 24 hours" in page
    assert "nightly-noodles" not in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("runtime_job = 'GoneJob'", "No running worker has the job class GoneJob"),
        ("""payload = '{"barcode": "x"}'""", "this release refuses its payload"),
        ("cron = 'nonsense'", "This release cannot read its cron"),
    ],
)
def test_a_schedule_that_cannot_run_is_shown_with_the_reason(
    admin: Visitor, scenes: Scenes, change: str, sentence: str
) -> None:
    address = made(admin, scenes)
    scenes.worker(job_classes={"FetchProductJob": "x"})
    scenes.connection.execute(text(f"UPDATE spoils_schedules SET {change}"))
    assert sentence in words(admin.see("/schedules"))
    scenes.task()
    assert "nightly-noodles" not in words(admin.see("/"))
    admin.see(address, 404 if "Gone" in change else 200)
    admin.press(f"{address}/runs")
    if "cron" not in change:
        assert "Nothing was enqueued." in words(admin.see("/schedules"))


@pytest.fixture
def secret() -> Iterator[None]:
    """A class with a secret among its fields."""
    with throw_away_classes():

        class SecretFormJob(Job):
            api_key: str
            size: int = 1

            def run(self, queue: Queue) -> None:
                return None

        yield


def test_a_secret_is_never_sent_back_and_stays_where_the_form_leaves_it_empty(
    secret: None, admin: Visitor, scenes: Scenes
) -> None:
    given = {"name": "s", "cron": "0 2 * * *", "field.api_key": "s3cret-value", "field.size": "1"}
    assert admin.press("/schedules/new/secret-form", **given).status_code == 303
    address = f"/schedules/{scenes.value('SELECT id FROM spoils_schedules')}"
    assert "s3cret-value" not in admin.see(address).text
    assert "Leave it empty to keep it." in words(admin.see(address))
    assert "s3cret-value" not in admin.see("/schedules").text
    admin.press(address, **{**given, "field.api_key": "", "field.size": "2"})
    stored = "SELECT payload FROM spoils_schedules"
    assert scenes.value(stored) == {"api_key": "s3cret-value", "size": 2}
    admin.press(address, **{**given, "field.api_key": "another"})
    assert scenes.value(stored) == {"api_key": "another", "size": 1}


def test_a_viewer_sees_the_form_and_no_buttons(viewer: Visitor) -> None:
    page = words(viewer.see(NEW))
    assert "You are logged in as viewer, which is read-only." in page
    assert "/schedules/new" not in links(viewer.see("/schedules"))


def test_the_url_to_ping_is_set_kept_and_removed_and_never_shown(admin: Visitor, scenes: Scenes) -> None:
    url = "https://hc-ping.com/s3cret"
    assert admin.press(NEW, **NIGHTLY, ping_url=url).status_code == 303
    address = f"/schedules/{scenes.value('SELECT id FROM spoils_schedules WHERE name IS NOT NULL')}"
    stored = "SELECT ping_url FROM spoils_schedules WHERE name IS NOT NULL"
    form = admin.see(address)
    assert "Now https://hc-ping.com/…." in words(form)
    assert "s3cret" not in form.text
    for sent, kept in (("", url), ("https://x.example/1", "https://x.example/1"), ("-", None)):
        admin.press(address, **NIGHTLY, ping_url=sent)
        assert scenes.value(stored) == kept
    assert "of http or https" in words(admin.press(address, **NIGHTLY, ping_url="ftp://x.example"))


def test_many_schedules_are_shown_a_page_at_a_time(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoils.web.dashboard.schedules.view.PAGE", 2)
    for number in range(5):
        admin.press(NEW, **{**NIGHTLY, "name": f"schedule-{number}"})
    admin.see("/schedules")  # the messages of the forms are shown once
    shown, address = [], "/schedules"
    while address:
        page = admin.see(address)
        shown.append(sorted({name for name in words(page).split() if name.startswith("schedule-")}))
        address = next((link for link in links(page) if "after=" in link), "")
    assert shown == [["schedule-0", "schedule-1"], ["schedule-2", "schedule-3"], ["schedule-4"]]
    assert "cleanup" in words(admin.see("/schedules"))
