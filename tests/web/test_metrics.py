"""`GET /metrics`, read as Prometheus reads it: every figure is that of the reports, and labels are bounded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest
import requests
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, event, text
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from spoils.db.engine import make_engine, transaction
from spoils.job.registry import registry
from spoils.models import PauseKind, TaskState, db
from spoils.queue import pauses
from spoils.queue.prune import prune_minutes
from spoils.queue.total_rollups import roll_up_totals
from spoils.reports import attempt_stats
from tests.programs import ROOT, Web
from tests.roles import a_role, as_role
from tests.rows import Rows
from tests.support import PATIENCE
from tests.web.conftest import MakeClient

DOOR = {"Authorization": "Bearer t0ken"}
WITHOUT = """
import json, sys
sys.modules["prometheus_client"] = None
from spoils.web import create_app
client = create_app({"SPOILS_API_TOKEN": "t0ken"}, database_url=sys.argv[1]).test_client()
door = {"Authorization": "Bearer t0ken"}
answers = [client.get("/health"), client.get("/metrics"), client.get("/metrics", headers=door)]
print(json.dumps([(one.status_code, one.get_json()) for one in answers]))
"""
Samples = dict[tuple[str, ...], float]


@pytest.fixture
def client(client_with: MakeClient) -> FlaskClient:
    return client_with(SPOILS_API_TOKEN="t0ken")


def scraped(client: FlaskClient, path: str = "/metrics") -> Samples:
    """The value of each sample, by its name and the values of its labels in the order of their names."""
    response = client.get(path, headers=DOOR)
    assert response.status_code == 200, response.text
    assert response.mimetype == "text/plain"
    return parsed(response.text)


def parsed(exposition: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(exposition):
        assert family.name.startswith("spoils_")
        assert family.documentation.endswith(".")
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def of(found: Samples, name: str) -> Samples:
    """The samples of one name, by their labels."""
    return {key[1:]: value for key, value in found.items() if key[0] == name}


def test_the_figures_are_those_of_the_stats_and_the_lists(client: FlaskClient, rows: Rows) -> None:
    worker = rows.worker()
    rows.connection.execute(text("UPDATE spoils_workers SET running = 2"))
    rows.worker(silent_for=3600)
    for due_in in (-100, -50, 3600):
        rows.task(task_type="mail", due_in=due_in)
    rows.task(task_type="mail", state="retried", due_in=60)
    for _ in range(2):
        rows.task(task_type="mail", state="in_progress", claimed_by=worker)
    rows.task(task_type="mail", state="failed")
    rows.task(task_type="report", state="finished")
    rows.ended(98, ran_ms=5, task_type="mail")
    rows.ended(2, ran_ms=1_200, task_type="mail", outcome="failed")
    rows.ended(3, ran_ms=0, task_type="report", outcome="timed_out")
    pauses.pause(rows.connection, PauseKind.TASK_TYPE, "report", by="a test")

    found = scraped(client)
    stats = client.get("/api/jobs/stats", headers=DOOR).get_json()["types"]
    status = client.get("/api/jobs/status", headers=DOOR).get_json()
    for name in ("mail", "report"):
        jobs = {state: found["spoils_jobs", state, name] for state in TaskState}
        assert jobs == status["counts_by_type"][name]
        listed = client.get(f"/api/jobs?type={name}&limit=200", headers=DOOR).get_json()["jobs"]
        assert sum(jobs.values()) == len(listed)
        assert jobs["new"] + jobs["retried"] == stats[name]["waiting"]
        assert jobs["in_progress"] == stats[name]["running"]
        outcomes = {
            key[0]: value for key, value in of(found, "spoils_attempts_total").items() if key[1] == name
        }
        uncounted = {"released": 0, "snoozed": 0}
        assert outcomes | uncounted == stats[name]["outcomes"]
        count, seconds = found["spoils_run_seconds_count", name], found["spoils_run_seconds_sum", name]
        assert count == sum(outcomes.values())
        assert seconds / count * 1000 == pytest.approx(stats[name]["average_ms"], abs=0.1)
    assert 100 <= found["spoils_oldest_due_seconds", "mail"] < 160
    assert found["spoils_oldest_due_seconds", "report"] == 0
    assert of(found, "spoils_task_type_paused")["report",] == 1
    assert of(found, "spoils_task_type_paused")["mail",] == 0
    assert found["spoils_workers",] == len(status["workers"]) == 1
    assert found["spoils_worker_capacity_jobs",] == status["workers"][0]["threads"] == 5
    assert found["spoils_worker_running_jobs",] == status["workers"][0]["running"] == 2


def test_the_histogram_counts_the_attempts_that_took_less_than_each_edge(
    client: FlaskClient, rows: Rows
) -> None:
    took = {0: 1, 1: 2, 3: 4, 900: 8, 1_023: 16, 1_024: 32, 4_194_303: 64, 10**9: 128}
    for ran_ms, count in took.items():
        rows.ended(count, ran_ms=ran_ms, task_type="mail")
    buckets = {
        float(le): value
        for (le, name), value in of(scraped(client), "spoils_run_seconds_bucket").items()
        if name == "mail"
    }
    assert len(buckets) == 24
    for le, value in buckets.items():
        assert value == sum(count for ran_ms, count in took.items() if ran_ms / 1000 < le), le


def test_of_150_types_the_last_50_are_summed_up_as_other(client: FlaskClient, rows: Rows) -> None:
    known = sorted({job_class.task_type for job_class in registry})
    types = [f"type_{number:03d}" for number in range(150)]
    for number, name in enumerate(types, start=1):
        rows.task(task_type=name, due_in=-number)
        rows.ended(number, ran_ms=10, task_type=name)
    pauses.pause(rows.connection, PauseKind.TASK_TYPE, types[-1], by="a test")
    found = scraped(client)
    own = types[: 100 - len(known)]
    rest = range(len(own) + 1, 151)
    by_type = of(found, "spoils_run_seconds_count")
    assert {name for (name,) in by_type} == {*known, *own, "other"}
    assert by_type["other",] == sum(rest)
    assert found["spoils_jobs", "new", "other"] == len(rest)
    assert 150 <= found["spoils_oldest_due_seconds", "other"] < 210
    assert found["spoils_task_type_paused", "other"] == 1
    assert found["spoils_attempts_total", "finished", own[-1]] == len(own)
    assert len(found) < 101 * 40
    stats = client.get("/api/jobs/stats", headers=DOOR).get_json()["types"]
    assert sum(by_type.values()) == sum(one["outcomes"]["finished"] for one in stats.values())


def test_a_class_has_its_counters_before_its_first_attempt(client: FlaskClient) -> None:
    found = scraped(client)
    assert found["spoils_attempts_total", "finished", "cleanup"] == 0
    assert found["spoils_jobs", "new", "cleanup"] == 0


def test_no_counter_decreases_when_statistics_are_rolled_up_and_pruned_or_types_are_added(
    client: FlaskClient, engine: Engine, rows: Rows
) -> None:
    for number in range(120):
        rows.ended(1, minutes_ago=5_000, task_type=f"type_{number:03d}")
    rows.task(task_type="aaa")
    before = counters(scraped(client))
    with transaction(engine) as connection:
        roll_up_totals(connection)
    assert prune_minutes(rows.connection, days=1) == 120
    rows.connection.execute(text("DELETE FROM fang_tasks"))
    assert counters(scraped(client)) == before
    rows.ended(1, task_type="type_000_new")
    after = counters(scraped(client))
    for key, value in before.items():
        # One that is now summed up with the others is gone, which is no decrease.
        assert after.get(key, value) >= value, key


def test_the_minutes_that_are_in_the_totals_are_not_read(client: FlaskClient) -> None:
    with client.application.app_context():
        connection = db.session.connection()
        compiled = attempt_stats._EVER.compile(dialect=connection.dialect)
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params).scalars())
    assert "Index Cond: (minute >= " in plan, plan


def counters(found: Samples) -> Samples:
    names = ("spoils_attempts_total", "spoils_run_seconds")
    return {key: value for key, value in found.items() if key[0].startswith(names)}


def test_all_figures_are_of_one_moment(client: FlaskClient, rows: Rows) -> None:
    with client.application.app_context():
        engine = db.engine
    calls = iter([True])

    @event.listens_for(engine, "after_cursor_execute")
    def executed(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        # After the first read of the scrape somebody enqueues, and an attempt ends.
        if "SELECT" in statement and next(calls, False):
            rows.task(task_type="mail", due_in=-100)
            rows.ended(1, ran_ms=1, task_type="mail")

    found = scraped(client)
    assert next(calls, None) is None
    assert not [key for key in found if "mail" in key]
    assert scraped(client)["spoils_attempts_total", "finished", "mail"] == 1


def test_odd_names_of_types_are_escaped(client: FlaskClient, rows: Rows) -> None:
    odd = 'a "quoted"\\ näme\nof two lines {x="y"}'
    rows.task(task_type=odd)
    assert scraped(client)["spoils_jobs", "new", odd] == 1


def test_connections_are_counted_by_program_whatever_their_role(
    client: FlaskClient, database_url: str, rows: Rows
) -> None:
    with a_role(rows.connection) as role:
        names = ("spoils:client", f"spoils:{uuid4()}", f"spoils:{uuid4()}", "spoils:testing", "psql")
        engines = [
            make_engine(as_role(database_url, role), connections=1, application_name=name) for name in names
        ]
        connections = [engine.connect() for engine in engines]
        found = of(scraped(client), "spoils_database_connections")
        for connection, engine in zip(connections, engines, strict=True):
            connection.close()
            engine.dispose()
    assert found == {("client",): 1, ("start",): 0, ("web",): 1, ("worker",): 2, ("other",): 1}


def test_without_the_package_the_program_starts_and_says_what_to_install(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, database_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60 * PATIENCE,
    )
    sentence = (
        "Metrics need the package prometheus-client, which is not installed: pip install 'spoils[metrics]'."
    )
    token = "A token is required. Send it as Authorization: Bearer <token>."
    assert json.loads(done.stdout) == [
        [200, {"status": "ok"}],
        [401, {"error": token}],
        [501, {"error": sentence}],
    ]


def test_it_is_served_under_a_prefix(client: FlaskClient) -> None:
    app = client.application
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/queue": app.wsgi_app})  # type: ignore[method-assign]
    assert ("spoils_workers",) in scraped(client, "/queue/metrics")
    assert client.get("/queue/metrics").get_json() == {
        "error": "A token is required. Send it as Authorization: Bearer <token>."
    }


def test_the_document_has_it_as_text(client: FlaskClient) -> None:
    document = client.get("/openapi.json", headers=DOOR).get_json()
    responses = document["paths"]["/metrics"]["get"]["responses"]
    assert list(responses["200"]["content"]) == ["text/plain"]
    assert list(responses["501"]["content"]) == ["application/json"]


@pytest.fixture
def web(database_url: str) -> Iterator[Web]:
    with Web(database_url, SPOILS_API_TOKEN="t0ken") as web:
        yield web


@pytest.mark.process
def test_it_is_scraped_over_http_as_prometheus_does(web: Web, rows: Rows) -> None:
    rows.task(task_type="mail")
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2"
    response = requests.get(f"{web.url}/metrics", headers={**DOOR, "Accept": accept}, timeout=15)
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = parsed(response.text)
    assert found["spoils_jobs", "new", "mail"] == 1
    assert found["spoils_database_connections", "web"] >= 1
