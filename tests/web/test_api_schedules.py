"""Schedules through the API: made, read, changed, paused, run and deleted; every mistake is a sentence."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text

from spoils.job import Job, Queue
from spoils.masking import MASK
from tests.classes import throw_away_classes
from tests.rows import Rows
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}
SCHEDULES = "/api/schedules"
NIGHTLY: dict[str, Any] = {
    "name": "nightly-noodles",
    "job": "fetch-product",
    "cron": "0 2 * * *",
    "timezone": "Europe/Berlin",
    "payload": {"barcode": "737628064502"},
}


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="shop:t0ken")


def ask(client: FlaskClient, method: str, path: str, status: int = 200, **given: Any) -> dict[str, Any]:
    response = client.open(path, method=method, headers=DOOR, json=given)
    assert response.status_code == status, response.get_data(as_text=True)
    found: dict[str, Any] = response.get_json()
    return found


def test_a_schedule_is_made_and_read_and_the_audit_log_names_the_token(
    client: FlaskClient, rows: Rows
) -> None:
    response = client.post(SCHEDULES, json=NIGHTLY, headers=DOOR)
    assert response.status_code == 200, response.text
    assert response.headers["Location"] == f"{SCHEDULES}/nightly-noodles"
    made = response.get_json()
    assert made == ask(client, "GET", f"{SCHEDULES}/nightly-noodles")
    assert len(made.pop("next")) == 5
    assert made == {
        "name": "nightly-noodles",
        "source": "runtime",
        "job": "FetchProductJob",
        "cron": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "payload": {"barcode": "737628064502"},
        "paused_at": None,
        "paused_by": None,
        "made_by": "API: shop",
        "ping_url": None,
        "problem": None,
    }
    assert rows.all("SELECT who, verb, about FROM spoils_audit") == [
        ("API: shop", "add schedule", "nightly-noodles")
    ]


def test_those_of_classes_are_listed_beside_it_and_cannot_be_changed(client: FlaskClient) -> None:
    ask(client, "POST", SCHEDULES, **NIGHTLY)
    listed = {each["name"]: each["source"] for each in ask(client, "GET", SCHEDULES)["schedules"]}
    assert listed["nightly-noodles"] == "runtime"
    assert listed["CleanupJob"] == "code"
    for method in ("PATCH", "DELETE"):
        refused = ask(client, method, f"{SCHEDULES}/CleanupJob", 422)
        assert refused["error"] == "This is the schedule of a job class: change `cron` in the class."


def test_a_zone_is_optional_and_spaces_do_not_count(client_with: MakeClient) -> None:
    client = client_with(SPOILS_API_TOKEN="shop:t0ken", SPOILS_CRON_TIMEZONE="Asia/Tokyo")
    given = {name: value for name, value in NIGHTLY.items() if name != "timezone"}
    made = ask(client, "POST", SCHEDULES, **{**given, "cron": " 0  2 * * * "})
    assert (made["cron"], made["timezone"]) == ("0 2 * * *", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"cron": "0 2 * *"}, "cron", "a sixth, of seconds, comes first"),
        ({"cron": "2 30 * * *"}, "cron", 'Did you mean "30 2 * * *"?'),
        ({"cron": "0 0 30 2 *"}, "cron", "is not a cron expression"),
        ({"timezone": "Berlin"}, "timezone", "Did you mean Europe/Berlin?"),
        ({"timezone": "Berlin", "cron": "x"}, "cron", "is not a cron expression"),
        ({"payload": {"barcode": "x"}}, "barcode", "A barcode has digits only"),
        ({"payload": {}}, "barcode", "Field required"),
        ({"payload": {"barcode": "737628064502", "size": 1}}, "size", 'Unknown field "size"'),
        ({"payload": {"barcode": MASK}}, "barcode", "is the mask that is shown instead of a secret"),
        ({"ping_url": "ftp://x.example/"}, "ping_url", "of http or https and without a user name"),
        ({"ping_url": "https://ann:pw@x.example/"}, "ping_url", "without a user name"),
        ({"job": "NothingJob"}, "job", 'Unknown job class "NothingJob"'),
        ({"job": "BulkJob"}, "job", "BulkJob is the queue's own"),
        ({"name": "two words"}, "name", "pattern"),
        ({"name": "CleanupJob"}, "name", "is the name of a job class"),
        ({"nmae": "x"}, "nmae", 'Unknown field "nmae" of a schedule'),
    ],
)
def test_a_mistake_is_a_sentence_beside_its_field(
    client: FlaskClient, rows: Rows, change: dict[str, Any], field: str, sentence: str
) -> None:
    taken = field == "name" and change["name"] == "CleanupJob"
    refused = ask(client, "POST", SCHEDULES, 409 if taken else 422, **{**NIGHTLY, **change})
    assert sentence in refused["error"]
    assert taken or sentence in refused["fields"][field]
    assert rows.value("SELECT count(*) FROM spoils_schedules") == 0
    assert rows.value("SELECT count(*) FROM spoils_audit") == 0


def test_a_base_class_is_refused_and_says_why(client: FlaskClient) -> None:
    with throw_away_classes():

        class ReportBase(Job):
            """Has no run."""

        class ReportJob(ReportBase):
            task_type = "report"

            async def run(self, queue: Queue) -> None:
                return None

        refused = ask(client, "POST", SCHEDULES, 422, **{**NIGHTLY, "job": "ReportBase", "payload": {}})
        assert refused["error"] == "ReportBase is a base class without a `run`: it cannot be scheduled."
        assert ask(client, "POST", SCHEDULES, **{**NIGHTLY, "job": "ReportJob", "payload": {}})


def test_a_name_is_taken_once_and_a_repetition_with_its_key_is_answered_again(
    client: FlaskClient, rows: Rows
) -> None:
    headers = {**DOOR, "Idempotency-Key": "one"}
    first, again = (client.post(SCHEDULES, json=NIGHTLY, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.get_json()["name"] == "nightly-noodles"
    refused = ask(client, "POST", SCHEDULES, 409, **NIGHTLY)
    assert 'A schedule named "nightly-noodles" already exists.' in refused["error"]
    assert rows.value("SELECT count(*) FROM spoils_schedules WHERE name IS NOT NULL") == 1


def test_a_change_keeps_what_it_does_not_name(client: FlaskClient, rows: Rows) -> None:
    ask(client, "POST", SCHEDULES, **NIGHTLY)
    path = f"{SCHEDULES}/nightly-noodles"
    changed = ask(client, "PATCH", path, cron="30 4 * * 1")
    assert (changed["cron"], changed["timezone"]) == ("30 4 * * 1", "Europe/Berlin")
    changed = ask(client, "PATCH", path, timezone="UTC")
    assert (changed["cron"], changed["timezone"]) == ("30 4 * * 1", "UTC")
    changed = ask(client, "PATCH", path, payload={"barcode": "4006381333931"})
    assert changed["payload"] == {"barcode": "4006381333931"}
    for name in ("name", "job"):
        refused = ask(client, "PATCH", path, 422, **{name: "x"})
        assert (
            refused["error"]
            == f"The {name} of a schedule cannot be changed: delete it, and make another one."
        )
    assert "A barcode has digits only" in ask(client, "PATCH", path, 422, payload={"barcode": "x"})["error"]
    assert rows.value("SELECT version FROM spoils_schedules WHERE name IS NOT NULL") == 4


@pytest.mark.parametrize("name", ["nightly-noodles", "CleanupJob"])
def test_it_is_paused_resumed_and_run_now_as_that_of_a_class_is(
    client: FlaskClient, rows: Rows, name: str
) -> None:
    ask(client, "POST", SCHEDULES, **NIGHTLY)
    path = f"{SCHEDULES}/{name}"
    paused = ask(client, "POST", f"{path}/pause")
    assert (paused["paused_by"], paused["next"]) == ("API: shop", [])
    assert paused["paused_at"] == ask(client, "POST", f"{path}/pause")["paused_at"]
    resumed = ask(client, "POST", f"{path}/resume")
    assert (resumed["paused_at"], len(resumed["next"])) == (None, 5)
    first, again = (ask(client, "POST", f"{path}/run-now") for _ in range(2))
    assert (first["duplicate"], again["duplicate"], again["id"]) == (False, True, first["id"])
    assert rows.all("SELECT verb, done FROM spoils_audit WHERE about = :name ORDER BY id", name=name)[
        -4:
    ] == [
        ("pause", True),
        ("pause", False),
        ("resume", True),
        ("enqueue", True),
    ]


def test_a_deleted_schedule_is_gone_and_its_name_is_free(client: FlaskClient) -> None:
    ask(client, "POST", SCHEDULES, **NIGHTLY)
    path = f"{SCHEDULES}/nightly-noodles"
    assert ask(client, "DELETE", path)["message"] == "Deleted nightly-noodles."
    for method in ("GET", "PATCH", "DELETE"):
        sentence = ask(client, method, path, 404)["error"] if method != "GET" else None
        assert sentence in (None, 'There is no schedule "nightly-noodles".')
    ask(client, "POST", SCHEDULES, **NIGHTLY)


def test_a_schedule_that_no_worker_can_run_says_so(
    client: FlaskClient, rows: Rows, connection: Connection
) -> None:
    ask(client, "POST", SCHEDULES, **NIGHTLY)
    path = f"{SCHEDULES}/nightly-noodles"
    rows.worker(job_classes={"CleanupJob": "x"})
    assert "No running worker has the job class FetchProductJob" in ask_get(client, path)["problem"]
    rows.worker(job_classes={"FetchProductJob": "x"})
    assert ask_get(client, path)["problem"] is None
    for change, sentence in (
        ("""payload = '{"barcode": "x"}'""", "this release refuses its payload"),
        ("zone = 'Mars/Olympus'", "This release cannot read its cron"),
    ):
        connection.execute(text(f"UPDATE spoils_schedules SET {change} WHERE name IS NOT NULL"))
        assert sentence in ask_get(client, path)["problem"]


def ask_get(client: FlaskClient, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path, headers=DOOR).get_json()
    return found


def test_secrets_of_a_payload_are_masked(client: FlaskClient, rows: Rows) -> None:
    with throw_away_classes():

        class SecretScheduleJob(Job):
            api_key: str

            def run(self, queue: Queue) -> None:
                return None

        given = {**NIGHTLY, "job": "SecretScheduleJob", "payload": {"api_key": "s3cret-value"}}
        response = client.post(SCHEDULES, json=given, headers=DOOR)
        assert response.get_json()["payload"] == {"api_key": MASK}
        assert "s3cret-value" not in client.get(SCHEDULES, headers=DOOR).text
    assert (
        rows.value("SELECT payload ->> 'api_key' FROM spoils_schedules WHERE name IS NOT NULL")
        == "s3cret-value"
    )


def test_without_a_token_nothing_is_read_or_made(client_with: MakeClient, rows: Rows) -> None:
    client = client_with()
    assert client.get(SCHEDULES).status_code == 401
    assert client.post(SCHEDULES, json=NIGHTLY).status_code == 401
    assert rows.value("SELECT count(*) FROM spoils_schedules") == 0


def test_the_url_to_ping_is_kept_changed_and_removed_and_only_its_host_is_shown(
    client: FlaskClient, rows: Rows
) -> None:
    made = ask(client, "POST", SCHEDULES, **NIGHTLY, ping_url="https://hc-ping.com/s3cret")
    assert made["ping_url"] == "https://hc-ping.com/…"
    path, stored = (
        f"{SCHEDULES}/nightly-noodles",
        "SELECT ping_url FROM spoils_schedules WHERE name IS NOT NULL",
    )
    ask(client, "PATCH", path, cron="0 3 * * *")
    assert rows.value(stored) == "https://hc-ping.com/s3cret"
    ask(client, "PATCH", path, ping_url="https://hc-ping.com/another")
    assert rows.value(stored) == "https://hc-ping.com/another"
    assert ask(client, "PATCH", path, ping_url=None)["ping_url"] is None
    assert rows.value("SELECT count(*) FROM spoils_audit WHERE after::text LIKE '%s3cret%'") == 0
