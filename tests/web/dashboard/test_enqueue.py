"""Enqueueing by hand: a form from the class, errors beside the field, and the same again."""

from collections.abc import Iterator
from enum import StrEnum
from uuid import UUID

import pytest
from playwright.sync_api import expect
from pydantic import Field
from sqlalchemy import text

from spoils.job import Job, Queue
from spoils.models import LIMITED
from spoils.web.dashboard.shared.curl import curl
from tests.classes import throw_away_classes
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.scenes import MARKUP, Scenes
from tests.web.dashboard.windows import Windows


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


@pytest.fixture
def every_kind() -> Iterator[type[Job]]:
    """A class that has a field of each kind."""
    with throw_away_classes():

        class EveryKindJob(Job):
            """Has a field of each kind.

            Not part of the summary.
            """

            name: str
            letter: str = Field("Dear all", max_length=5_000, description="What it says")
            number: int = Field(ge=1, le=1_000_000)
            share: float = 0.5
            urgent: bool = False
            size: Size = Size.SMALL
            tags: list[str] = Field(default_factory=list)
            limit: int | None = None
            api_key: str = ""

            def run(self, queue: Queue) -> None:
                return None

        yield EveryKindJob


def payload(scenes: Scenes) -> dict[str, object]:
    (found,) = scenes.all("SELECT metadata FROM fang_tasks")[0]
    return dict(found)


def test_every_class_is_listed_with_its_docstring_and_policy_but_not_the_queue_s_own(admin: Visitor) -> None:
    page = admin.see("/enqueue")
    assert "fetch_product Fetches a product from Open Food Facts" in words(page)
    assert "FetchProductJob · unique, 3 retries" in words(page)
    assert "/enqueue/fetch-product" in links(page)
    assert "BulkJob" not in words(page)
    admin.see("/enqueue/bulk", 404)
    admin.see("/enqueue/nothing", 404)


def test_a_form_enqueues_its_values_and_the_audit_log_says_who(admin: Visitor, scenes: Scenes) -> None:
    response = admin.press("/enqueue/fetch-product", **{"field.barcode": "737628064502"})
    assert response.status_code == 303
    page = words(admin.see(response.location))
    assert "Enqueued fetch_product." in page
    assert "admin enqueued it. none → new" in page
    assert payload(scenes) == {"type": "FetchProductJob", "barcode": "737628064502"}


def test_a_wrong_field_has_its_error_beside_it_and_keeps_its_text(admin: Visitor, scenes: Scenes) -> None:
    response = admin.press("/enqueue/fetch-product", **{"field.barcode": "30176Z0422003", "priority": "1"})
    assert response.status_code == 422
    page = words(response)
    assert "Nothing was enqueued. 1 field needs a correction: Barcode" in page
    assert 'A barcode has digits only. The 6th character is "Z".' in page
    assert 'value="30176Z0422003"' in response.text
    assert 'aria-describedby="f-barcode-hint f-barcode-wrong"' in response.text
    assert "#f-barcode" in links(response)
    assert '<option value="1" selected>' in response.text
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0


def test_a_duplicate_is_linked_and_nothing_is_enqueued(admin: Visitor, scenes: Scenes) -> None:
    first = admin.press("/enqueue/fetch-product", **{"field.barcode": "737628064502"}).location
    second = admin.press("/enqueue/fetch-product", **{"field.barcode": "737628064502"}).location
    assert first == second
    assert "The same unique job already exists." in words(admin.see(second))
    assert scenes.value("SELECT count(*) FROM spoils_audit") == 1


def test_each_kind_of_field_has_its_control_and_its_value(
    admin: Visitor, scenes: Scenes, every_kind: type[Job]
) -> None:
    page = admin.see("/enqueue/every-kind")
    assert "Has a field of each kind." in words(page)
    assert "Not part" not in words(page)
    assert "1 to 1,000,000." in words(page)
    assert "What it says. Optional." in words(page)
    for default in ("Dear all</textarea>", 'value="0.5"', "<option selected>small</option>"):
        assert default in page.text
    given = {
        "name": "Ärger",
        "letter": "one\r\ntwo",
        "number": " 7 ",
        "share": "0.25",
        "urgent": "1",
        "size": "large",
        "tags": '["a", "b"]',
        "limit": "",
    }
    response = admin.press("/enqueue/every-kind", **{f"field.{name}": value for name, value in given.items()})
    assert response.status_code == 303, words(response)
    assert payload(scenes) == {
        "type": "EveryKindJob",
        "name": "Ärger",
        "letter": "one\ntwo",
        "number": 7,
        "share": 0.25,
        "urgent": True,
        "size": "large",
        "tags": ["a", "b"],
        "limit": None,
        "api_key": "",
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("number", ""), "This field is required."),
        (("number", "seven"), "Enter a number."),
        (("number", "9" * 50), "This number is too long."),
        (("number", "0"), "Input should be greater than or equal to 1."),
        (("number", "1.5"), "Input should be a valid integer"),
        (("share", "nan"), "a number that cannot be stored"),
        (("tags", "[1"), "This is not valid JSON"),
        (("tags", "[" * 2_000), "This is not valid JSON"),
        (("tags", "[1]"), "Input should be a valid string."),
        (("size", "huge"), "Input should be 'small' or 'large'."),
        (("name", "\0"), "a NUL character"),
    ],
)
def test_an_invalid_value_is_refused_with_a_message(
    admin: Visitor, scenes: Scenes, every_kind: type[Job], given: tuple[str, str], sentence: str
) -> None:
    sent = {"field.name": "x", "field.number": "1", f"field.{given[0]}": given[1]}
    response = admin.press("/enqueue/every-kind", **sent)
    assert response.status_code == 422
    assert sentence in words(response)
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0


def test_not_before_is_read_in_the_zone_of_the_page(admin: Visitor, scenes: Scenes) -> None:
    given = {"field.barcode": "737628064502", "at": "2096-07-01T12:00", "priority": "-2"}
    assert admin.press("/enqueue/fetch-product", **given).status_code == 303
    assert scenes.value("SELECT scheduled_at = '2096-07-01T12:00Z' FROM fang_tasks")
    assert scenes.value("SELECT priority FROM fang_tasks") == -2 - LIMITED
    other = {"field.barcode": "4006381333931", "at": "2096-07-02T11:59+23:59"}
    assert admin.press("/enqueue/fetch-product", **other).status_code == 303
    assert scenes.value("SELECT count(*) FROM fang_tasks WHERE scheduled_at = '2096-07-01T12:00Z'") == 2


@pytest.mark.parametrize(
    ("zone", "due_at"),
    [
        ("Asia/Tokyo", "2096-07-01T03:00Z"),
        ("../etc", "2096-07-01T12:00Z"),
        ("Nowhere/X", "2096-07-01T12:00Z"),
    ],
)
def test_not_before_is_read_in_the_zone_of_the_browser(
    admin: Visitor, scenes: Scenes, zone: str, due_at: str
) -> None:
    given = {"field.barcode": "737628064502", "at": "2096-07-01T12:00", "zone": zone}
    assert admin.press("/enqueue/fetch-product", **given).status_code == 303
    assert scenes.value("SELECT scheduled_at = CAST(:due_at AS timestamptz) FROM fang_tasks", due_at=due_at)


def test_a_preview_shows_the_command_with_secrets_masked_and_enqueues_nothing(
    admin: Visitor, scenes: Scenes, every_kind: type[Job]
) -> None:
    given = {"field.name": "Ada", "field.number": "x", "field.api_key": "hunter2", "preview": "1"}
    page = admin.press("/enqueue/every-kind", **given)
    assert page.status_code == 200
    assert '"name": "Ada"' in words(page)
    assert '"api_key": "••••••"' in words(page)
    assert "hunter2" not in page.text
    assert "Enter a number." not in words(page)
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0


def test_a_required_field_has_an_example(admin: Visitor, every_kind: type[Job]) -> None:
    page = words(admin.see("/enqueue/send-notification"))
    assert "Example: email." in page
    assert "Example: Your product scan is ready!" in page
    page = words(admin.see("/enqueue/every-kind"))
    assert "Example: some text." in page
    assert "1 to 1,000,000. Example: 1." in page


@pytest.mark.browser
def test_the_form_takes_the_zone_of_the_browser_and_the_command_follows_the_fields(
    windows: Windows, scenes: Scenes
) -> None:
    page = windows.open("/enqueue/fetch-product", zone="Asia/Tokyo")
    expect(page.locator("#f-at-hint")).to_contain_text("In Asia/Tokyo.")
    page.get_by_label("Barcode").fill("4006381333931")
    expect(page.locator("[data-curl]")).to_contain_text('"barcode": "4006381333931"')
    page.get_by_label("Not before").fill("2096-07-01T12:00")
    page.get_by_role("button", name="Enqueue fetch_product").click()
    expect(page.get_by_role("status")).to_contain_text("Enqueued fetch_product.")
    assert scenes.value("SELECT scheduled_at = '2096-07-01T03:00Z' FROM fang_tasks")


@pytest.mark.parametrize("at", ["tomorrow", "0001-01-01T00:00", "9999-12-31T23:59", "\0"])
def test_an_invalid_time_is_refused(admin: Visitor, scenes: Scenes, at: str) -> None:
    response = admin.press("/enqueue/fetch-product", **{"field.barcode": "737628064502", "at": at})
    assert response.status_code == 422
    assert 'id="f-at-wrong"' in response.text
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0


def test_enqueue_again_fills_the_form_and_is_entered_as_such(admin: Visitor, scenes: Scenes) -> None:
    task_id = scenes.task(
        state="failed",
        task_type="send_notification",
        metadata={
            "type": "SendNotificationJob",
            "user_id": 5,
            "notification_type": "email",
            "message": f"{MARKUP} a\nb",
        },
    )
    again = f"/enqueue/send-notification?again={task_id}"
    assert again in links(admin.see(f"/jobs/{task_id}"))
    page = admin.see(again)
    assert 'value="5"' in page.text
    assert MARKUP not in page.text
    assert f"Filled with the payload of {str(task_id)[-8:]}" in words(page)
    given = {"field.user_id": "5", "field.notification_type": "email", "field.message": "x"}
    where = admin.press("/enqueue/send-notification", again=str(task_id), **given).location
    assert f"admin enqueued it again. {str(task_id)[-8:]}" in words(admin.see(where))


def test_enqueue_again_is_not_offered_while_the_unique_job_waits(admin: Visitor, scenes: Scenes) -> None:
    jobs = {
        state: scenes.task(
            state=state,
            uniq_hash=f"{n:064}",
            metadata={"type": "FetchProductJob", "barcode": f"7376280645{n:02}"},
        )
        for n, state in enumerate(("new", "failed"))
    }
    assert "Enqueue again" not in words(admin.see(f"/jobs/{jobs['new']}"))
    assert "Enqueue again" in words(admin.see(f"/jobs/{jobs['failed']}"))
    unknown = scenes.task(state="failed", metadata={"type": "GoneJob"})
    assert "Enqueue again" not in words(admin.see(f"/jobs/{unknown}"))


@pytest.mark.parametrize("again", ["nonsense", str(UUID(int=7))])
def test_again_of_nothing_is_an_empty_form(admin: Visitor, again: str) -> None:
    assert 'value=""' in admin.see(f"/enqueue/fetch-product?again={again}").text


def test_the_command_quotes_what_a_shell_would_read(every_kind: type[Job]) -> None:
    command = curl(every_kind, {"type": "x", "name": "$(rm) 'x'"}, root_url="http://h/", with_token=True)
    assert command == (
        "curl -X POST http://h/api/jobs/every-kind \\\n  -H 'Content-Type: application/json' \\\n"
        "  -H 'Authorization: Bearer …' \\\n  -d '{\"name\": \"$(rm) '\\''x'\\''\"}'"
    )


def test_a_class_without_fields_has_an_empty_form(admin: Visitor, scenes: Scenes) -> None:
    assert "This job has no fields." in words(admin.see("/enqueue/cleanup"))
    assert admin.press("/enqueue/cleanup").status_code == 303
    assert payload(scenes) == {"type": "CleanupJob"}


def failed_job(scenes: Scenes, **more: object) -> UUID:
    metadata = {"type": "EveryKindJob", "name": "Ann", "number": 7, "api_key": "hunter2", **more}
    return scenes.task(state="failed", task_type="every_kind", metadata=metadata, retries=3)


def test_a_failed_job_is_edited_in_the_form_of_its_class_and_retried_and_that_is_undone(
    every_kind: type[Job], admin: Visitor, scenes: Scenes
) -> None:
    task_id = failed_job(scenes)
    assert f"/jobs/{task_id}/edit" in links(admin.see(f"/jobs/{task_id}"))
    form = admin.see(f"/jobs/{task_id}/edit")
    assert 'value="Ann"' in form.text
    assert "hunter2" not in form.text
    given = {"field.name": "Ben", "field.number": "8", "field.api_key": ""}
    assert admin.press(f"/jobs/{task_id}/edits", **given).location == f"/jobs/{task_id}"
    page = admin.see(f"/jobs/{task_id}")
    assert "The job has its new payload." in words(page)
    assert f"/jobs/{task_id}/reversions" in page.text
    assert "edited it" in words(page)
    changed = payload(scenes)
    assert (changed["name"], changed["number"]) == ("Ben", 8)
    assert changed["api_key"] == "hunter2", "a secret that is left empty is kept"
    assert scenes.state(task_id) == "new"
    admin.press(f"/jobs/{task_id}/reversions")
    assert scenes.state(task_id) == "failed"
    assert payload(scenes) == {"type": "EveryKindJob", "name": "Ann", "number": 7, "api_key": "hunter2"}


def test_an_edit_that_the_class_refuses_is_shown_beside_its_field(
    every_kind: type[Job], admin: Visitor, scenes: Scenes
) -> None:
    task_id = failed_job(scenes)
    response = admin.press(f"/jobs/{task_id}/edits", **{"field.name": "Ben", "field.number": "0"})
    assert response.status_code == 422
    assert "Nothing was changed. 1 field needs a correction: Number" in words(response)
    assert "hunter2" not in response.text
    assert payload(scenes)["number"] == 7
    assert scenes.state(task_id) == "failed"


def test_a_job_that_runs_cannot_be_edited(every_kind: type[Job], admin: Visitor, scenes: Scenes) -> None:
    task_id = failed_job(scenes)
    scenes.connection.execute(text("UPDATE fang_tasks SET state = 'in_progress'"))
    assert f"/jobs/{task_id}/edit" not in links(admin.see(f"/jobs/{task_id}"))
    assert admin.press(f"/jobs/{task_id}/edits").status_code == 303
    assert "Refused: the job is in progress." in words(admin.see(f"/jobs/{task_id}"))
