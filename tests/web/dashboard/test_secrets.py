"""A secret in each form and place that one has: on no page, in no answer, in no form, and found by no search."""

import json
import logging
import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from pydantic import BaseModel, Field

from spoils.job import Job, Queue
from tests.classes import throw_away_classes
from tests.sample_jobs import RaisingJob
from tests.test_masking import PLACES, SECRET, TEXTS
from tests.web.dashboard.conftest import ADMIN, LOCKED, VIEWER, MakeApp
from tests.web.dashboard.pages import Visitor, links, words
from tests.web.dashboard.routes import routes
from tests.web.dashboard.scenes import TRACEBACK, Scenes

TOKEN = f"shop:token-{SECRET}"
BEARER = {"Authorization": f"Bearer token-{SECRET}"}
SETTINGS = {
    "SPOILS_ADMIN_PASSWORD": f"admin-{SECRET}",
    "SPOILS_VIEWER_PASSWORD": f"viewer-{SECRET}",
    "SECRET_KEY": f"key-{SECRET}-key-key",
    "SPOILS_API_TOKEN": TOKEN,
    "SPOILS_NOTIFY_URL_EMAIL": f"mailtos://someone:{SECRET}@mail.example",
}
OTHER = "Quarkbrot-0x7y"
"""As long as the secret, and stored nowhere."""


def forms() -> dict[str, object]:
    """Payloads by the form that the secret has in them: texts, and values of JSON."""
    named = {place: make("smtpPass") for place, make in PLACES.items()}
    texts = {f"text {number}": text for number, text in enumerate(TEXTS)}
    return {**named, **texts}


def place(scenes: Scenes) -> list[UUID]:
    """A failed job of another system for each form, with the secret in its payload and its error."""
    found = []
    for number, value in enumerate(forms().values()):
        text = value if isinstance(value, str) else f"bad payload: {json.dumps(value)}"
        fields = value if isinstance(value, dict) else {"what": value}
        task_id = scenes.task(
            state="failed",
            task_type="sample",
            metadata={"type": "RaisingJob", **fields},
            attempts=1,
            error_message=text,
        )
        if number % 2:
            told = {"error_class": "ValueError", "message": text, "traceback": f"{TRACEBACK}{text}\n"}
            scenes.attempt(task_id, 1, "failed", **told)
        found.append(task_id)
    return found


def told(client: FlaskClient, path: str) -> str:
    response = client.get(path, headers=BEARER)
    assert response.status_code < 500, path
    return f"{response.headers}\n{response.text}"


def found(client: FlaskClient, path: str, asked: str) -> str:
    """What a search answers, without its question and the time."""
    response = client.get(path)
    told = f"{response.status} {words(response)} {links(response)}"
    return re.sub(r"[0-9.:]+( ms)?", "", told.replace(asked, "?"))


def test_no_page_and_no_response_of_the_api_contains_a_secret(
    make_app: MakeApp, scenes: Scenes, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [*scenes.full().values(), *place(scenes)]
    app = make_app(**SETTINGS)
    viewer = Visitor(app.test_client()).log_in(SETTINGS["SPOILS_VIEWER_PASSWORD"]).client
    pages = [
        *(route.path for route in routes(app, jobs[-1]) if not route.writes),
        *("/jobs?state=failed", "/errors?window=all", "/api/jobs?limit=200", "/api/jobs?state=failed&limit=200"),
        *(f"/jobs/{one}" for one in jobs),
        *(f"/enqueue/raising?again={one}" for one in jobs[::3]),
        *(f"/api/jobs/{one}" for one in jobs[::3]),
    ]  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        seen = {path: told(viewer, path) for path in pages}
        groups = {found for page in seen.values() for found in re.findall(r"/errors/([\w:-]+)", page)}
        seen |= {path: told(viewer, path) for path in (f"/errors/{one}" for one in groups)}
    assert [path for path, page in seen.items() if SECRET in page] == []
    assert SECRET not in caplog.text
    assert len(groups) > 10


def test_a_viewer_cannot_find_a_secret_by_search(make_app: MakeApp, scenes: Scenes) -> None:
    place(scenes)
    viewer = Visitor(make_app(**LOCKED).test_client()).log_in(VIEWER).client
    pieces = [
        (begin, begin + length) for length in (5, len(SECRET)) for begin in range(len(SECRET) - length + 1)
    ]
    assert len(OTHER) >= len(SECRET)
    for begin, end in pieces:
        for form in (
            "/jobs?q={}",
            "/jobs?q=what:{}",
            "/jobs?q=value:{}",
            "/jobs?q=old:{}",
            "/jobs?state=failed&q={}",
        ):
            right, wrong = (
                found(viewer, form.format(word[begin:end]), word[begin:end]) for word in (SECRET, OTHER)
            )
            assert right == wrong, form


def test_what_a_page_hides_does_not_shorten_a_search_or_lead_on_from_it(
    make_app: MakeApp, scenes: Scenes
) -> None:
    shown = [scenes.task(state="failed", error_message="hunter is away") for _ in range(60)]
    for _ in range(120):
        scenes.task(state="failed", error_message="connect failed: password=hunter2")
    shown += [scenes.task(state="failed", error_message="hunter is away") for _ in range(45)]
    viewer = Visitor(make_app(**LOCKED).test_client()).log_in(VIEWER).client
    found: list[str] = []
    path = "/jobs?state=failed&q=hunter"
    while path:
        page = viewer.get(path).text
        here = re.findall(r'href="/jobs/([0-9a-f-]{36})"', page)
        found += dict.fromkeys(here)
        onward = re.search(r'href="(/jobs\?[^"]*older=[^"]*)"', page)
        path = onward[1].replace("&amp;", "&") if onward else ""
    assert sorted(found) == sorted(map(str, shown))
    assert ";older=" not in viewer.get("/jobs?state=failed&q=hunter2").text


def test_neither_the_key_of_a_group_nor_the_hash_of_a_job_can_be_compared_with_guesses(
    make_app: MakeApp, scenes: Scenes
) -> None:
    for guess in ("hunter2", "4071", "correct"):
        scenes.task(state="failed", error_message=f"connect failed: password={guess} host=db")
    task_id = scenes.task(metadata={"type": "X", "pin": 4071}, uniq_hash="ab" * 32)
    viewer = Visitor(make_app(**LOCKED).test_client()).log_in(VIEWER).client
    assert len(set(re.findall(r"words:\w+", viewer.get("/errors").text))) == 1
    assert "abababab" not in viewer.get(f"/jobs/{task_id}").text


def test_a_form_that_is_wrong_carries_nothing_back(make_app: MakeApp) -> None:
    admin = Visitor(make_app(**LOCKED).test_client()).log_in(ADMIN)
    assert "what" in RaisingJob.model_fields
    for value in [*forms().values()][::4]:
        text = value if isinstance(value, str) else json.dumps(value)
        page = admin.press("/enqueue/raising", **{"field.what": text, "at": "never"})
        assert page.status_code == 422
        assert SECRET not in page.text


@pytest.fixture
def setting_job() -> Iterator[type[Job]]:
    with throw_away_classes():

        class Login(BaseModel):
            password: str = SECRET

        class SettingJob(Job):
            """Sets something."""

            name: str
            value: str
            number: int = 1
            api_token: str = SECRET
            database: str = Field(
                f"postgresql://me:{SECRET}@db/x", examples=[f"postgresql://me:{SECRET}@db/y"]
            )
            login: Login = Login()

            def run(self, queue: Queue) -> None:
                return None

        yield SettingJob


def test_the_defaults_of_secret_fields_are_shown_nowhere(make_app: MakeApp, setting_job: type[Job]) -> None:
    admin = Visitor(make_app(**LOCKED, SPOILS_API_TOKEN=TOKEN).test_client()).log_in(ADMIN).client
    for path in ("/openapi.json", "/api/docs", f"/enqueue/{setting_job.endpoint}"):
        page = told(admin, path)
        assert "api_token" in page
        assert SECRET not in page


def test_a_field_that_another_one_names_as_a_secret_is_neither_copied_nor_shown_again(
    make_app: MakeApp, scenes: Scenes, setting_job: type[Job]
) -> None:
    admin = Visitor(make_app(**LOCKED).test_client()).log_in(ADMIN)
    payload = {"type": "SettingJob", "name": "DB_PASSWORD", "value": SECRET}
    page = admin.see(f"/enqueue/{setting_job.endpoint}?again={scenes.task(metadata=payload)}")
    assert "DB_PASSWORD" in page.text
    assert SECRET not in page.text
    fields = {"field.name": "DB_PASSWORD", "field.value": SECRET, "field.number": "x"}
    page = admin.press(f"/enqueue/{setting_job.endpoint}", **fields)
    assert page.status_code == 422
    assert "DB_PASSWORD" in page.text
    assert SECRET not in page.text
