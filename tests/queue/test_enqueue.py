"""Enqueuing: one row a job, and one active row a unique payload, however many ask at once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from spoils.errors import PayloadError
from spoils.job import Job, Queue, wire
from spoils.job.registry import registry
from spoils.models import TaskState
from spoils.queue.enqueue import Enqueued, enqueue, enqueue_surely, log_enqueued
from spoils.queue.enqueue_many import enqueue_many
from tests.conftest import administration
from tests.locks import at_once, held, meanwhile
from tests.queue.hands import end, heard, take
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually


class AnyJob(Job):
    """Holds what its annotation does not tell."""

    value: Any

    def run(self, queue: Queue) -> None: ...


class UniqueByNameJob(Job):
    """Is unique by its name alone, unless that is empty."""

    name: str
    share: float = 0.0
    uniq = True

    def uniq_hash(self) -> str | None:
        match self.name:
            case "":
                return None
            case "wrong":
                return "no hash"
            case _:
                return wire.uniq_hash({"name": self.name})

    def run(self, queue: Queue) -> None: ...


def test_a_job_becomes_one_row_that_is_due_now(connection: Connection, rows: Rows) -> None:
    task_id = uuid4()
    assert enqueue(connection, SampleJob(number=3), task_id=task_id) == Enqueued(
        str(task_id), TaskState.NEW, False
    )
    (row,) = connection.execute(text("SELECT *, now() >= scheduled_at AS due FROM fang_tasks"))
    assert row.id == task_id
    assert row.metadata == {"type": "SampleJob", "number": 3}
    assert (row.state, row.task_type, row.uniq_hash, row.priority, row.due) == (
        "new",
        "sample",
        None,
        0,
        True,
    )
    assert (row.retries, row.attempts, row.crashes, row.claimed_by, row.error_message) == (
        0,
        0,
        0,
        None,
        None,
    )
    assert row.scheduled_at == row.created_at == row.updated_at


def test_a_job_that_is_not_unique_goes_in_as_often_as_it_is_asked(connection: Connection, rows: Rows) -> None:
    enqueued = {enqueue(connection, SampleJob()).id for _ in range(3)}
    assert len(enqueued) == 3 == rows.value("SELECT count(*) FROM fang_tasks")


@pytest.mark.parametrize("state", ["new", "retried", "in_progress"])
def test_a_unique_job_that_waits_or_runs_is_found_and_left_as_it_is(
    connection: Connection, rows: Rows, state: str
) -> None:
    job = UniqueSampleJob(number=1)
    first = enqueue(connection, job, at=datetime(2100, 1, 1, tzinfo=UTC)).id
    connection.execute(text("UPDATE fang_tasks SET state = CAST(:s AS fang_task_state)"), {"s": state})
    before = rows.one(first)
    assert enqueue(connection, job, priority=2) == Enqueued(str(first), TaskState(state), True)
    assert rows.one(first) == before
    assert not enqueue(connection, UniqueSampleJob(number=2)).duplicate


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_a_unique_job_that_has_ended_goes_in_anew(connection: Connection, rows: Rows, state: str) -> None:
    job = UniqueSampleJob(number=1)
    ended = rows.task(state=state, uniq_hash=job.uniq_hash())
    again = enqueue(connection, job)
    assert not again.duplicate
    assert again.id != ended
    assert rows.state(ended) == state


def test_a_unique_job_s_hash_is_that_of_its_row(connection: Connection, rows: Rows) -> None:
    row = rows.one(enqueue(connection, UniqueSampleJob(number=7)).id)
    assert row.uniq_hash == wire.uniq_hash(row.metadata) == UniqueSampleJob(number=7).uniq_hash()


def test_a_class_may_be_unique_by_a_hash_of_its_own(connection: Connection, rows: Rows) -> None:
    first = enqueue(connection, UniqueByNameJob(name="a", share=0.5))
    assert rows.one(first.id).uniq_hash == wire.uniq_hash({"name": "a"})
    assert enqueue(connection, UniqueByNameJob(name="a", share=0.7)) == first._replace(duplicate=True)
    many = enqueue_many(connection, [UniqueByNameJob(name=name, share=0.8) for name in "abb"])
    assert [one.duplicate for one in many] == [True, False, True]
    assert not any(one.duplicate for one in enqueue_many(connection, [UniqueByNameJob(name="")] * 2))
    with pytest.raises(PayloadError, match="must return 64 hex digits"):
        enqueue(connection, UniqueByNameJob(name="wrong"))
    assert rows.value("SELECT count(*) FROM fang_tasks") == 4


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (date(2026, 1, 1), "would not come back from its row as it was enqueued: value."),
        ((1, 2), "would not come back from its row as it was enqueued: value."),
        (b"\xff\x00", "holds bytes that are not UTF-8."),
        (object(), "has no JSON form: Unable to serialize unknown type: <class 'object'>"),
        (float("inf"), "a number that cannot be stored: NaN, infinity"),
        ("a\0b", "holds a NUL character"),
        ("a\ud800b", "half a character"),
    ],
)
def test_a_payload_that_would_not_come_back_is_refused(
    connection: Connection, rows: Rows, value: object, sentence: str
) -> None:
    for put in (lambda job: enqueue(connection, job), lambda job: enqueue_many(connection, [job])):
        with pytest.raises(PayloadError) as refused:
            put(AnyJob(value=value))
        assert sentence in str(refused.value)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_what_is_changed_beside_its_validators_is_refused(connection: Connection) -> None:
    with pytest.raises(PayloadError, match="The payload does not fit SampleJob: number: "):
        enqueue(connection, SampleJob.model_construct(number=None))


def test_in_production_no_enqueue_reads_its_payload_again(
    connection: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "compares_payloads", False)
    row = rows.one(enqueue(connection, AnyJob(value=date(2026, 1, 1))).id)
    assert row.metadata["value"] == "2026-01-01"
    with pytest.raises(PayloadError, match="holds bytes that are not UTF-8"):
        enqueue(connection, AnyJob(value=b"\xff"))


def test_two_hundred_clients_that_enqueue_one_unique_job_at_once_make_one_row(
    engine: Engine, rows: Rows
) -> None:
    def client(_: int) -> Enqueued:
        with engine.connect() as connection:
            return enqueue(connection, UniqueSampleJob(number=1))

    answers = [answer for _ in range(8) for answer in at_once(25, client)]
    assert [answer.duplicate for answer in answers].count(False) == 1
    assert len({answer.id for answer in answers}) == 1
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_duplicate_whose_transaction_is_open_is_waited_for(engine: Engine, rows: Rows, ending: str) -> None:
    job = UniqueSampleJob(number=1)
    with held(engine) as first:
        duplicate = enqueue(first, job)
        with meanwhile(engine, lambda connection: enqueue(connection, job)) as second:
            getattr(first, ending)()
        assert second.result().duplicate is (ending == "commit")
    assert (second.result().key == duplicate.key) is (ending == "commit")
    assert rows.all("SELECT id FROM fang_tasks") == [(second.result().id,)]


def test_a_duplicate_that_ends_while_we_wait_for_it_does_not_stand_in_the_way(
    engine: Engine, rows: Rows
) -> None:
    job = UniqueSampleJob(number=1)
    worker_id = rows.worker()
    duplicate = enqueue(rows.connection, job).id
    (claim,) = take(rows.connection, worker_id)
    with held(engine) as ending:
        end(ending, worker_id, claim)
        with meanwhile(engine, lambda connection: enqueue(connection, job)) as second:
            ending.commit()
        assert not second.result().duplicate
    assert rows.state(duplicate) == "finished"
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'new'") == 1


def test_a_moment_to_come_is_kept_to_the_microsecond_and_one_that_has_passed_means_now(
    connection: Connection, rows: Rows
) -> None:
    moment = datetime(2100, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    elsewhere = moment.astimezone(datetime.now().astimezone().tzinfo)
    for at in (moment, elsewhere):
        assert rows.one(enqueue(connection, SampleJob(), at=at).id).scheduled_at == moment
    for at in (datetime(1999, 1, 1, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        row = rows.one(enqueue(connection, SampleJob(), at=at).id)
        assert row.scheduled_at == row.created_at
    with pytest.raises(PayloadError, match="needs its time zone"):
        enqueue(connection, SampleJob(), at=datetime(2100, 1, 1))  # noqa: DTZ001


def test_a_priority_from_minus_2_to_2_is_kept_and_anything_else_refused(
    connection: Connection, rows: Rows
) -> None:
    for priority in (-2, -1, 0, 1, 2):
        assert rows.one(enqueue(connection, SampleJob(), priority=priority).id).priority == priority
    others: list[Any] = [-3, 3, 10**20, True, 0.5, 1.0, "1", None]
    for other in others:
        with pytest.raises(PayloadError, match="whole number from -2 to 2"):
            enqueue(connection, SampleJob(), priority=other)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 5


def test_a_transaction_that_is_rolled_back_takes_it_back(engine: Engine, rows: Rows) -> None:
    with held(engine) as connection:
        enqueue(connection, SampleJob())
        enqueue(connection, UniqueSampleJob())
        connection.rollback()
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    assert not enqueue(rows.connection, UniqueSampleJob()).duplicate


def test_a_task_s_id_that_is_put_in_twice_is_one_row(connection: Connection, rows: Rows) -> None:
    """An enqueue whose answer was lost is asked about by its id, never repeated blindly."""
    task_id = uuid4()
    enqueue(connection, SampleJob(), task_id=task_id)
    with pytest.raises(Exception, match="fang_tasks_pkey"):
        enqueue(connection, SampleJob(), task_id=task_id)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1


def test_idle_workers_are_notified_of_when_it_falls_due(connection: Connection, direct: Engine) -> None:
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        enqueue(connection, SampleJob())
        # Beyond the workers' look-ahead: their beats see it in time.
        enqueue(connection, SampleJob(), at=datetime.now(UTC) + timedelta(seconds=100))
        moment = connection.scalar(text("SELECT clock_timestamp() + interval '2.5 s'"))
        enqueue(connection, SampleJob(), at=moment)
        now, later = heard(listening, 2)
    assert -0.5 < float(now) <= 0
    assert 0 < float(later) <= 2.5


def test_of_inserts_within_some_milliseconds_one_notifies(connection: Connection) -> None:
    put = """INSERT INTO fang_tasks (metadata, task_type) VALUES ('{"type": "SampleJob"}', 'sample')"""
    notified = "SELECT last_value FROM spoils_notified INTO"

    def once() -> None:  # a machine that stalls between the two makes it two
        connection.execute(
            text(
                f"DO $$ DECLARE first bigint; second bigint; BEGIN {put}; {notified} first; {put}; {notified} second; "
                "ASSERT first > 1, 'the first notifies'; ASSERT first = second, 'the second does not'; END $$"
            )
        )

    eventually(once)


def ended_at_each_use(engine: Engine, url: str, times: int) -> list[int]:
    """End the session of the next connections, so many of them, after they were looked at and before they are used."""
    ended: list[int] = []

    @event.listens_for(engine, "checkout")
    def end_it(connection: Any, *_: object) -> None:
        if len(ended) < times:
            ended.append(connection.info.backend_pid)
            with administration(url) as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": ended[-1]})

    return ended


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_job_whose_session_ends_is_put_in_once_all_the_same(
    direct: Engine, database_url: str, rows: Rows, times: int
) -> None:
    ended = ended_at_each_use(direct, database_url, times)
    found = enqueue_surely(direct, SampleJob(number=5), priority=1)
    assert (found.state, found.duplicate) == (TaskState.NEW, False)
    assert rows.all("SELECT id, priority FROM fang_tasks") == [(found.id, 1)]
    assert len(ended) == times


def test_a_job_whose_sessions_end_again_and_again_is_refused_at_the_third(
    direct: Engine, database_url: str, rows: Rows
) -> None:
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0
    ended = ended_at_each_use(direct, database_url, 10)
    with pytest.raises(DBAPIError):
        enqueue_surely(direct, SampleJob())
    assert len(ended) == 3
    ended.extend([0] * 10)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_a_duplicate_is_found_for_sure_and_other_errors_are_not_tried_again(
    engine: Engine, rows: Rows
) -> None:
    duplicate = enqueue(rows.connection, UniqueSampleJob(number=1)).key
    assert enqueue_surely(engine, UniqueSampleJob(number=1)) == Enqueued(duplicate, TaskState.NEW, True)
    rows.connection.execute(text("ALTER TABLE fang_tasks ADD CHECK (priority <> 2) NOT VALID"))
    try:
        with pytest.raises(IntegrityError):
            enqueue_surely(engine, SampleJob(), priority=2)
        rows.connection.execute(text("ALTER TABLE fang_tasks RENAME TO away"))
        try:
            with pytest.raises(ProgrammingError):
                enqueue_surely(engine, SampleJob())
        finally:
            rows.connection.execute(text("ALTER TABLE away RENAME TO fang_tasks"))
    finally:
        rows.connection.execute(text("ALTER TABLE fang_tasks DROP CONSTRAINT fang_tasks_priority_check1"))


@pytest.mark.parametrize(
    ("duplicate", "words"), [(True, "Already enqueued SampleJob"), (False, "Enqueued SampleJob")]
)
def test_what_was_enqueued_is_told(caplog: pytest.LogCaptureFixture, duplicate: bool, words: str) -> None:
    caplog.set_level("INFO", "spoils")
    log_enqueued(SampleJob(), Enqueued(str(uuid4()), TaskState.NEW, duplicate))
    assert [record.message for record in caplog.records] == [words]


@pytest.fixture
def undone(rows: Rows) -> Iterator[str]:
    """The trigger that lets only the third and the fourth insert pass: a sequence counts failed statements too."""
    rows.connection.exec_driver_sql(
        """
        CREATE SEQUENCE undone;
        CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('undone') NOT IN (3, 4) THEN
                RAISE EXCEPTION 'injected' USING ERRCODE = TG_ARGV[0];
            END IF;
            RETURN NEW;
        END $$;
        """
    )
    yield "CREATE TRIGGER undo BEFORE INSERT ON fang_tasks FOR EACH ROW EXECUTE FUNCTION undo('{code}')"
    rows.connection.exec_driver_sql("DROP FUNCTION undo CASCADE; DROP SEQUENCE undone")


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_an_enqueue_that_the_server_rolled_back_is_tried_three_times(
    direct: Engine, rows: Rows, undone: str, code: str
) -> None:
    rows.connection.exec_driver_sql(undone.format(code=code))
    for number in (1, 2):
        assert not enqueue_surely(direct, UniqueSampleJob(number=number)).duplicate
    with pytest.raises(DBAPIError):
        enqueue_surely(direct, UniqueSampleJob(number=3))
    assert rows.value("SELECT last_value FROM undone") == 7
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2
