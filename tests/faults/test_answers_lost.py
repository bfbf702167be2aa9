"""Statements whose answer is lost, or that arrive long after their sender has given up."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine

from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.job.discovery import load as load_jobs
from spoils.models import db
from spoils.queue.enqueue import enqueue_surely
from spoils.web import create_app
from tests.faults import invariants
from tests.faults.proxy import Proxy
from tests.faults.workers import all_end, enqueue_all, work, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually

pytestmark = pytest.mark.process

CLAIM = r"^EXECUTE spoils_claim"
SETTLE = r"\bsettled AS|EXECUTE spoils_finish"
HEARTBEAT = r"^EXECUTE spoils_heartbeat"
ENTER = r"INSERT INTO spoils_workers"
TICK = r"INSERT INTO spoils_ticks"
COMMIT = r"^COMMIT"
FINISH = r"EXECUTE spoils_finish_one"
IN_PROGRESS = "SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'"


@pytest.mark.parametrize("job", [SampleJob(), UniqueSampleJob()], ids=lambda job: type(job).__name__)
@pytest.mark.parametrize("statement", [r"INSERT INTO fang_tasks", COMMIT])
@pytest.mark.parametrize("fate", ["lost", "cut", "late"])
def test_a_job_enqueued_over_a_lost_answer_is_there_once(
    proxy: Proxy, rows: Rows, job: SampleJob | UniqueSampleJob, statement: str, fate: str
) -> None:
    engine = make_engine(proxy.url, connections=2, application_name="tests")
    match fate:
        case "lost":
            rule = proxy.lose_reply_to(statement)
        case "cut":
            rule = proxy.cut_before(statement)
        case _:
            rule = proxy.deliver_late(statement, 0.5)
    enqueued = enqueue_surely(engine, job)
    rule.await_meeting()
    engine.dispose()
    assert not enqueued.duplicate
    assert rows.all("SELECT id FROM fang_tasks") == [(enqueued.id,)]
    invariants.check(rows, [enqueued.id])


@pytest.fixture
def client(proxy: Proxy) -> Iterator[FlaskClient]:
    """A client of the web application behind the proxy."""
    load_jobs()
    app = create_app(Settings.from_env({"DATABASE_URL": proxy.url}))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize("times", [1, 2])
def test_a_client_whose_commit_was_not_answered_gets_its_task_s_id_and_there_is_one_task(
    proxy: Proxy, client: FlaskClient, rows: Rows, times: int
) -> None:
    rule = proxy.lose_reply_to(COMMIT, times)
    answer = client.post("/api/jobs/fetch-product", json={"barcode": "737628064502"})
    assert (answer.status_code, answer.json["duplicate"]) == (200, False)
    again = client.post("/api/jobs/fetch-product", json={"barcode": "737628064502"})
    assert (again.json["id"], again.json["duplicate"]) == (answer.json["id"], True)
    assert rule.meetings == 1 or times > 1
    assert rows.all("SELECT CAST(id AS text) FROM fang_tasks") == [(answer.json["id"],)]


def test_a_client_of_a_database_that_goes_away_gets_503_and_no_traceback(
    proxy: Proxy, client: FlaskClient, rows: Rows
) -> None:
    proxy.refuse()
    for answer in (
        client.post("/api/jobs/fetch-product", json={"barcode": "737628064502"}),
        client.get("/api/jobs/status"),
        client.get("/health"),
    ):
        assert answer.status_code == 503
        assert "Traceback" not in answer.text
        assert answer.json["error"]
    proxy.heal()
    assert client.post("/api/jobs/fetch-product", json={"barcode": "737628064502"}).status_code == 200
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


def test_every_statement_of_a_worker_s_may_go_unanswered(
    proxy: Proxy, connection: Connection, rows: Rows
) -> None:
    entering = proxy.lose_reply_to(ENTER)
    with worker(proxy.url, WORKER_THREADS="4") as program:
        entering.await_meeting()
        workers_run(rows, 1)
        accepted = []
        for statement in (
            CLAIM, SETTLE, HEARTBEAT, TICK, COMMIT, FINISH, CLAIM, SETTLE, COMMIT, FINISH,
        ):  # fmt: skip
            rule = proxy.lose_reply_to(statement)
            accepted += enqueue_all(connection, work(6, chains=1, first=len(accepted)))
            rule.await_meeting()
            all_end(rows, accepted, timeout=40)
        assert program.process.poll() is None
        eventually(lambda: rows.value(IN_PROGRESS) == 0, 30)
    invariants.check(rows, accepted)
    assert rows.value("SELECT max(retries) + max(crashes) FROM fang_tasks") == 0


@pytest.mark.parametrize(
    "statement",
    [CLAIM, SETTLE, COMMIT, FINISH],
    ids=["claim", "settle", "commit", "finish"],
)
def test_a_statement_that_arrives_after_its_sender_gave_it_up_leaves_no_task_behind(
    proxy: Proxy, connection: Connection, rows: Rows, statement: str
) -> None:
    with worker(proxy.url, WORKER_THREADS="4"):
        workers_run(rows, 1)
        rule = proxy.deliver_late(statement, 2.0)
        accepted = enqueue_all(connection, work(6, chains=1))
        rule.await_meeting()
        all_end(rows, accepted, timeout=40)
        # What the late claim took was given back by then, and performed.
        accepted += enqueue_all(connection, [SampleJob(number=number) for number in range(5)])
        all_end(rows, accepted, timeout=40)
        eventually(lambda: rows.value(IN_PROGRESS) == 0, 30)
    invariants.check(rows, accepted)


def test_an_answer_lost_to_a_dying_worker_s_last_words_changes_nothing(
    proxy: Proxy, engine: Engine, connection: Connection, rows: Rows
) -> None:
    rule = proxy.lose_reply_to(r"UPDATE spoils_workers SET .*ended_how")
    with worker(proxy.url) as program:
        workers_run(rows, 1)
        program.stop()
    rule.await_meeting()
    assert rows.all("SELECT ended_how FROM spoils_workers") == [("clean",)]
