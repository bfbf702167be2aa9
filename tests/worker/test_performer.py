"""Performing in process, against a real database: the transactional promise, and an outcome for whatever happens."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import current_app, g
from flask.ctx import AppContext
from pydantic import field_validator
from sqlalchemy import Connection, Engine, Row, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

import spoils
from spoils.db.engine import transaction
from spoils.job import Cancel, Job, Outcome, Queue
from spoils.job.outcome import Ending, TimedOut
from spoils.log_format import TRACEBACKS, LineFormatter
from spoils.models import Worker, db
from spoils.queue import finish
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.tasks import uncounted_failures
from spoils.worker.worker_application import application_name
from tests.faults.jobs import PickyJob
from tests.locks import held
from tests.queue.hands import take
from tests.rows import Rows
from tests.sample_jobs import EffectJob, RaisingJob, ResultJob, SampleJob, UniqueSampleJob
from tests.support import eventually
from tests.worker.performing import Hands


def effects(rows: Rows) -> int:
    return int(rows.value("SELECT count(*) FROM effects"))


def test_a_job_that_opens_no_session_is_handed_over_and_takes_no_connection(hands: Hands, rows: Rows) -> None:
    claim = hands.perform(SampleJob())
    settlement = hands.settlement
    assert (settlement.key, settlement.attempts, settlement.verdict.ending) == (
        claim.key,
        1,
        Ending.FINISHED,
    )
    assert rows.state(claim.id) == "in_progress"
    assert hands.engine.pool.checkedin() == 0  # type: ignore[attr-defined]
    assert hands.settle() == {claim.id}


def test_writes_and_notes_and_the_completion_are_committed_as_one(hands: Hands, rows: Rows) -> None:
    claim = hands.perform(EffectJob(name="a", then="enqueue"))
    assert hands.settlements == []
    assert hands.dropped == [claim.token]
    # xmin is the transaction that wrote a row, or the savepoint in it, whose number follows.
    writers = [
        int(str(xmin))
        for (xmin,) in rows.all("SELECT xmin FROM effects UNION ALL SELECT xmin FROM fang_tasks")
    ]
    assert len(writers) == 3
    assert max(writers) - min(writers) <= 1
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'sample'") == 1
    assert rows.one(claim.id).state == "finished"


@pytest.mark.parametrize("then", ["finish", "enqueue"])
def test_a_job_whose_task_stays_locked_at_its_end_is_given_back_uncounted_and_frees_its_connection(
    *, hands: Hands, engine: Engine, rows: Rows, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    soon = finish._FINISH_ONE._executing_alone.replace(
        f"lock_timeout = {finish.LOCK_TIMEOUT_MS}", "lock_timeout = 50"
    )
    monkeypatch.setattr(finish._FINISH_ONE, "_executing_alone", soon)
    claim = hands.take(EffectJob(name="a", then=then))
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks FOR UPDATE"))
        hands.perform_claim(claim)
        assert hands.idle
        assert hands.ending is Ending.RELEASED
        assert hands.settle() == set()
    assert hands.settle() == {claim.id}
    assert (rows.state(claim.id), rows.one(claim.id).retries, effects(rows)) == ("new", 0, 0)


def test_a_job_that_waits_for_its_own_locked_task_finishes_once_it_is_free(
    hands: Hands, engine: Engine, rows: Rows
) -> None:
    claim = hands.take(EffectJob(name="a"))
    with held(engine) as other, ThreadPoolExecutor(1) as thread:
        other.execute(text("SELECT FROM fang_tasks FOR UPDATE"))
        performing = thread.submit(hands.perform_claim, claim)
        eventually(
            lambda: rows.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 1
        )
        other.rollback()
        performing.result(60)
    assert rows.state(claim.id) == "finished"
    assert hands.settlements == []


def test_a_job_that_deallocates_prepared_statements_is_given_back_and_its_connection_finishes_others(
    hands: Hands, rows: Rows
) -> None:
    hands.perform(EffectJob(name="a"))  # the statement that finishes it is prepared now
    claim = hands.perform(EffectJob(name="b", then="deallocate"))
    assert hands.ending is Ending.RELEASED
    others = [
        hands.perform(EffectJob(name=name, then=then))
        for name, then in (("c", "deallocate"), ("d", "finish"))
    ]
    assert [rows.state(one.id) for one in (claim, *others)] == ["in_progress", "finished", "finished"]
    assert hands.settle() == {claim.id}
    assert rows.one(claim.id).retries == 0


@pytest.mark.parametrize(
    "lose",
    [
        "DELETE FROM fang_tasks",
        "UPDATE fang_tasks SET state = 'new', claimed_by = NULL",
        "UPDATE fang_tasks SET attempts = 2",
        "UPDATE fang_tasks SET claimed_by = gen_random_uuid()",
        "UPDATE fang_tasks SET state = 'finished'",
    ],
)
@pytest.mark.parametrize("noting", [False, True])
def test_a_claim_that_was_lost_takes_the_job_s_writes_with_it(
    hands: Hands, rows: Rows, lose: str, noting: bool
) -> None:
    class LosingJob(Job):
        def run(self, queue: Queue) -> None:
            queue.session.execute(
                text("INSERT INTO effects (name, task_id) VALUES ('x', :id)"), {"id": queue.task_id}
            )
            if noting:
                queue.enqueue(SampleJob())
            rows.connection.execute(text(lose))

    claim = hands.perform(LosingJob())
    assert effects(rows) == 0
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'sample'") == 0
    assert hands.settlements == []
    assert hands.dropped == [claim.token]


def test_a_deferred_constraint_that_fails_at_the_commit_is_a_failure(hands: Hands, rows: Rows) -> None:
    rows.connection.execute(
        text("ALTER TABLE effects ADD CONSTRAINT once UNIQUE (name) DEFERRABLE INITIALLY DEFERRED")
    )
    rows.connection.execute(text("INSERT INTO effects (name, task_id) VALUES ('a', gen_random_uuid())"))
    claim = hands.perform(EffectJob(name="a"))
    assert hands.ending is Ending.RETRIED
    assert hands.error.startswith("IntegrityError: ")
    assert rows.state(claim.id) == "in_progress"
    assert effects(rows) == 1


@pytest.mark.parametrize("way", ["session", "flush"])
def test_a_job_that_meets_a_dead_connection_at_its_beginning_is_given_back_uncounted(
    hands: Hands, rows: Rows, way: str
) -> None:
    class FlushingJob(Job):
        def run(self, queue: Queue) -> None:
            if way == "session":
                queue.session.execute(text("SELECT 1"))
            else:
                db.session.add(Worker(id=uuid4(), host="h", pid=1, release="v", task_types=[], threads=1))
                db.session.commit()

    hands.perform(EffectJob(name="a"))  # a connection lies in the pool
    rows.connection.execute(
        text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = :name"),
        {"name": application_name(hands.worker_id)},
    )
    hands.perform(FlushingJob())
    assert hands.ending is Ending.RELEASED


@pytest.mark.parametrize("noting", [False, True])
def test_a_job_may_read_by_and_by_through_a_cursor_of_the_server(
    hands: Hands, rows: Rows, noting: bool
) -> None:
    class ReadingJob(Job):
        def run(self, queue: Queue) -> None:
            numbers = queue.session.execute(
                text("SELECT * FROM generate_series(1, 1000)").execution_options(yield_per=100)
            )
            for number in numbers.scalars():
                if number % 500 == 0:
                    queue.session.execute(
                        text("INSERT INTO effects (name, task_id) VALUES ('x', :id)"), {"id": queue.task_id}
                    )
            if noting:
                queue.enqueue(SampleJob())

    claim = hands.perform(ReadingJob())
    assert (rows.state(claim.id), effects(rows), hands.settlements) == ("finished", 2, [])
    hands.perform(EffectJob(name="a", then="raise"))
    assert effects(rows) == 2


def test_a_note_that_cannot_be_enqueued_is_a_failure(hands: Hands, rows: Rows) -> None:
    class BadNoteJob(Job):
        def run(self, queue: Queue) -> None:
            queue.session.execute(
                text("INSERT INTO effects (name, task_id) VALUES ('x', :id)"), {"id": queue.task_id}
            )
            queue.enqueue(SampleJob(), priority=9)

    hands.perform(BadNoteJob())
    assert effects(rows) == 0
    assert hands.ending is Ending.RETRIED


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), SystemExit(3), RecursionError()])
def test_a_validator_that_breaks_is_an_outcome_too(hands: Hands, rows: Rows, error: BaseException) -> None:
    class BreaksLaterJob(Job):
        number: int = 0

        @field_validator("number")
        @classmethod
        def _check(cls, number: int) -> int:
            if number == 13:
                raise error
            return number

        def run(self, queue: Queue) -> None:
            return None

    claim = hands.take(BreaksLaterJob())
    hands.perform_claim(_with_metadata(claim, '{"type": "BreaksLaterJob", "number": 13}'))
    assert hands.ending is Ending.FAILED
    assert hands.error.startswith(type(error).__name__)
    assert hands.settle() == {claim.id}


def _with_metadata(claim: Claim, metadata: str, kind: str | None = None) -> Claim:
    return claim._replace(metadata=metadata, kind=kind or claim.kind)


@pytest.mark.parametrize("metadata", [{"type": "EffectJob"}, {"type": PickyJob.__name__, "how": "raise"}])
def test_a_row_that_cannot_be_read_here_is_released_while_another_release_runs_that_may_read_it(
    hands: Hands, rows: Rows, metadata: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    kind = metadata["type"]
    sentence = "KeyError" if kind == "PickyJob" else "The payload does not fit EffectJob: name: "
    task_id = rows.task(metadata=metadata, retries=1, state="retried")
    other = rows.worker(job_classes={kind: "another"})

    def perform() -> Row[Any]:
        rows.connection.execute(text("UPDATE fang_tasks SET scheduled_at = now()"))
        (claim,) = take(hands.connection, hands.worker_id, kinds=[kind])
        hands.perform_claim(claim)
        assert hands.settle() == {task_id}
        hands.settlements.clear()
        return rows.one(task_id)

    before = rows.value("SELECT now()")
    for attempts in (1, 2):
        row = perform()
        assert (row.state, row.retries, row.attempts, row.claimed_by) == ("retried", 1, attempts, None)
        assert row.scheduled_at - before > timedelta(seconds=0.9)
    # It is no failure of the database's, of which only some are uncounted.
    assert uncounted_failures(rows.connection, task_id) == 0
    released = [record for record in caplog.records if "Released" in record.message]
    assert [record.message for record in released] == [
        f"Released {kind}, whose payload may fit another release that is running"
    ]
    rows.connection.execute(text("UPDATE spoils_workers SET ended_at = now() WHERE id = :id"), {"id": other})
    row = perform()
    assert (row.state, row.error_message[: len(sentence)]) == ("failed", sentence)


def test_a_job_sees_its_task_and_a_cancel_reaches_it(hands: Hands, rows: Rows) -> None:
    seen: dict[str, Any] = {}

    class LookingJob(Job):
        def run(self, queue: Queue) -> Outcome | None:
            seen.update(
                id=queue.task_id, attempt=queue.attempt, stopping=queue.stopping, cancelled=queue.cancelled
            )
            hands.performer.ask_to_stop(frozenset({queue.task_id, UUID(int=1)}))
            hands.stopping.set()
            queue.log.info("seen")
            assert queue.stopping
            return Cancel("asked") if queue.cancelled else None

    rows.task(metadata={"type": "LookingJob"}, task_type="looking", retries=2)
    (claim,) = take(hands.connection, hands.worker_id, task_types=["looking"], kinds=["LookingJob"])
    hands.perform_claim(claim)
    assert seen == {"id": claim.id, "attempt": 2, "stopping": False, "cancelled": False}
    assert hands.ending is Ending.CANCELLED


def test_db_session_and_queue_session_are_one_in_a_job_and_another_outside(hands: Hands, rows: Rows) -> None:
    pids: list[int] = []

    class SessionJob(Job):
        def run(self, queue: Queue) -> None:
            assert queue.session is db.session()
            pids.extend(
                session.execute(text("SELECT pg_backend_pid()")).scalar_one()
                for session in (queue.session, db.session)
            )
            with db.engine.connect() as other:
                pids.append(other.execute(text("SELECT pg_backend_pid()")).scalar_one())

    claim = hands.perform(SessionJob())
    assert pids[0] == pids[1] != pids[2]
    assert rows.state(claim.id) == "finished"


def test_a_thread_s_next_job_finds_nothing_of_the_last_one(hands: Hands, rows: Rows) -> None:
    found: list[object] = []

    class LeavingJob(Job):
        def run(self, queue: Queue) -> None:
            found.append((g.get("left"), len(db.session.new)))
            g.left = "something"
            db.session.add(Worker(id=uuid4()))

    first, second = hands.take(LeavingJob()), hands.take(LeavingJob())
    with hands.performer.at_work():
        hands.performer.perform(first)
        hands.performer.perform(second)
    assert found == [(None, 0), (None, 0)]
    assert rows.value("SELECT count(*) FROM spoils_workers") == 1


def test_a_thread_s_next_job_finds_nothing_in_a_context_that_the_last_one_pushed(hands: Hands) -> None:
    found: list[object] = []
    pushed: list[AppContext] = []

    class PushingJob(Job):
        def run(self, queue: Queue) -> None:
            found.append(g.get("left"))
            if not pushed:
                pushed.append(current_app.app_context())
                pushed[0].push()
            g.left = "something"

    first, second = hands.take(PushingJob()), hands.take(PushingJob())
    with hands.performer.at_work():
        hands.performer.perform(first)
        hands.performer.perform(second)
        pushed[0].pop()
    assert found == [None, None]


def test_the_job_s_own_rollback_touches_a_savepoint_only(hands: Hands, rows: Rows) -> None:
    class SavepointJob(Job):
        def run(self, queue: Queue) -> None:
            insert = text("INSERT INTO effects (name, task_id) VALUES (:name, :id)")
            queue.session.execute(insert, {"name": "committed", "id": queue.task_id})
            db.session.commit()
            queue.session.execute(insert, {"name": "rolled back", "id": queue.task_id})
            db.session.rollback()
            queue.session.execute(insert, {"name": "last", "id": queue.task_id})
            assert effects(rows) == 0, "others see nothing before the end"

    hands.perform(SavepointJob())
    assert rows.all("SELECT name FROM effects ORDER BY name") == [("committed",), ("last",)]


def test_what_the_session_could_not_write_fails_the_attempt_though_the_job_hid_it(
    hands: Hands, rows: Rows
) -> None:
    class HidingJob(Job):
        def run(self, queue: Queue) -> None:
            queue.session.execute(
                text("INSERT INTO effects (name, task_id) VALUES ('lost', :id)"), {"id": queue.task_id}
            )
            queue.session.add(Worker(id=hands.worker_id))  # whose row there is already
            with suppress(IntegrityError):
                queue.session.flush()

    hands.perform(HidingJob())
    assert [item.verdict.ending for item in hands.settlements] == [Ending.RETRIED]
    assert effects(rows) == 0


def test_what_listens_for_a_commit_of_the_job_s_session_hears_it(hands: Hands, rows: Rows) -> None:
    heard: list[str] = []

    def before_commit(session: Session) -> None:
        heard.append("before")
        session.execute(text("INSERT INTO effects VALUES ('in the last moment', gen_random_uuid())"))

    class HeardJob(Job):
        def run(self, queue: Queue) -> None:
            session = queue.session
            event.listen(session, "before_commit", before_commit)
            event.listen(session, "after_commit", lambda _: heard.append("after"))
            session.execute(text("SELECT 1"))

    claim = hands.perform(HeardJob())
    assert (rows.state(claim.id), heard, effects(rows)) == ("finished", ["before", "after"], 1)


def test_an_attempt_that_fails_for_the_database_s_sake_holds_one_connection_at_a_time(hands: Hands) -> None:
    class ConflictJob(Job):
        def run(self, queue: Queue) -> None:
            queue.session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

    held: list[int] = []
    event.listen(hands.engine, "checkout", lambda *_: held.append(hands.engine.pool.checkedout()))  # type: ignore[attr-defined]
    hands.perform(ConflictJob())
    assert hands.ending is Ending.RELEASED
    # Else as many that fail at once as there are connections wait for each other, for as long as the pool lets them.
    assert held == [1, 1]


def test_a_session_that_cannot_be_closed_for_its_connection_is_gone_is_part_of_the_outage(
    hands: Hands, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    class DyingAndRaisingJob(Job):
        def run(self, queue: Queue) -> None:
            pid = queue.session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            rows.connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            raise ValueError

    hands.perform(DyingAndRaisingJob())
    assert "Database unavailable (performer): " in caplog.text
    assert [record.message for record in caplog.records if record.exc_info] == [
        "Failed DyingAndRaisingJob, will be retried: ValueError: ValueError"
    ]


def test_a_function_around_the_job_runs_within_the_attempt(hands: Hands, rows: Rows) -> None:
    @spoils.around
    def tenant(job: Job, queue: Queue, call: Callable[[], Any]) -> Any:
        queue.session.execute(text("INSERT INTO effects VALUES ('around', :id)"), {"id": queue.task_id})
        returned = call()
        if type(job).__name__ == "EffectJob":
            raise LookupError("after the job")
        return returned

    finished = hands.perform(ResultJob(value=1))
    assert (rows.one(finished.id).result, effects(rows)) == (1, 1)
    hands.perform(EffectJob(name="a"))
    assert hands.error.startswith("LookupError: ")
    assert effects(rows) == 1


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG], ids=logging.getLevelName)
def test_the_line_of_a_failed_job_has_its_traceback_where_tracebacks_are_logged(
    hands: Hands, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    class SpillingJob(Job):
        def run(self, queue: Queue) -> None:
            raise LookupError("token=hunter2")

    with caplog.at_level(logging.INFO), caplog.at_level(level, logger=TRACEBACKS.name):
        hands.perform(SpillingJob())
    (record,) = [record for record in caplog.records if record.message.startswith("Failed SpillingJob")]
    line = LineFormatter().format(record)
    assert ("\n    | LookupError" in line) is (level == logging.DEBUG)
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("job", "logged"),
    [
        (RaisingJob(), ["ValueError"]),
        (RaisingJob(what="later"), ["RetryLater"]),
        (RaisingJob(what="cancel"), []),
        (RaisingJob(what="snooze"), []),
        (SampleJob(), []),
    ],
)
def test_a_failing_attempt_is_logged_once_with_its_error_and_kept_without_it(
    hands: Hands, caplog: pytest.LogCaptureFixture, job: Job, logged: list[str]
) -> None:
    with caplog.at_level(logging.INFO):
        hands.perform(job)
    raised = [record.exc_info for record in caplog.records if record.exc_info]
    assert [kind.__name__ for kind, _, _ in raised if kind] == logged
    for _, _, trace in raised:
        assert trace is not None
        assert trace.tb_frame.f_code.co_name == "run"
    assert hands.settlements[0].verdict.error is None


def test_a_job_that_raises_because_its_session_was_cut_has_timed_out(hands: Hands, rows: Rows) -> None:
    class SwallowingJob(Job):
        def run(self, queue: Queue) -> None:
            try:
                queue.session.execute(text("SELECT pg_sleep(60)"))
            except DBAPIError as exc:
                raise LookupError("What I asked for is not there.") from exc

    claim = hands.take(SwallowingJob())
    performing = threading.Thread(target=hands.perform_claim, args=(claim,))
    performing.start()

    eventually(lambda: rows.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1)
    (attempt,) = hands.performer.running()
    attempt.interrupt(TimedOut)
    performing.join(60)
    assert not performing.is_alive()
    assert (hands.ending, hands.error) == (Ending.TIMED_OUT, "TimedOut: It took longer than its timeout.")
    report = hands.settlement.verdict.report
    assert report is not None
    assert "What I asked for is not there." in (report.traceback or "")


def test_a_duplicate_that_is_being_put_in_makes_the_note_wait_and_then_find_it(
    hands: Hands, engine: Engine, rows: Rows
) -> None:
    class WaitingNoteJob(Job):
        def run(self, queue: Queue) -> None:
            queue.enqueue(UniqueSampleJob(number=5))

    with transaction(engine) as other:
        twin = enqueue(other, UniqueSampleJob(number=5)).id
        claim = hands.take(WaitingNoteJob())
        performing = threading.Thread(target=hands.perform_claim, args=(claim,))
        performing.start()
    performing.join(60)
    assert rows.state(claim.id) == "finished"
    assert rows.all("SELECT id FROM fang_tasks WHERE task_type = 'unique_sample'") == [(twin,)]


def test_an_attempt_that_is_given_up_is_settled_and_not_heard_any_more(hands: Hands, rows: Rows) -> None:
    class IgnoringJob(Job):
        def run(self, queue: Queue) -> None:
            insert = text("INSERT INTO effects (name, task_id) VALUES ('lost', :id)")
            queue.session.execute(insert, {"id": queue.task_id})
            (attempt,) = hands.performer.running()
            hands.performer.give_up(attempt, TimedOut())
            assert hands.performer.running() == []

    claim = hands.perform(IgnoringJob())
    assert hands.ending is Ending.TIMED_OUT
    assert hands.settle() == {claim.id}
    assert (rows.state(claim.id), rows.one(claim.id).retries) == ("retried", 1)
    assert effects(rows) == 0


def test_a_fault_of_the_worker_s_own_is_an_outcome_too(hands: Hands) -> None:
    class TimedJob(Job):
        timeout = 60

        def run(self, queue: Queue) -> None:
            raise AssertionError("it does not come to that")

    def broken() -> None:
        raise RuntimeError("of our own")

    hands.performer._on_deadline = broken
    hands.perform(TimedJob())
    assert hands.ending is Ending.FAILED
    assert hands.error == "RuntimeError: of our own"


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("transactional", [False, True])
def test_a_result_is_written_with_the_completion(
    hands: Hands, rows: Rows, transactional: bool, raises: bool
) -> None:
    claim = hands.perform(ResultJob(value={"receipt": [7, None]}, transactional=transactional, raises=raises))
    hands.settle()
    assert rows.state(claim.id) == "finished"
    assert rows.value("SELECT result FROM fang_tasks") == {"receipt": [7, None]}
    assert effects(rows) == transactional


def test_a_lost_claim_writes_no_result(hands: Hands, rows: Rows, connection: Connection) -> None:
    for transactional in (False, True):
        claim = hands.take(ResultJob(value=1, transactional=transactional))
        connection.execute(text("UPDATE fang_tasks SET attempts = attempts + 1"))
        hands.perform_claim(claim)
        hands.settle()
    assert rows.all("SELECT state::text, result FROM fang_tasks") == [("in_progress", None)] * 2
    assert effects(rows) == 0
