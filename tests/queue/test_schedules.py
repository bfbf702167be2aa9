"""Schedules made at runtime: what is stored, what is refused, and the audit log of each change."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import transaction
from spoils.errors import PayloadError
from spoils.job import Job, Queue
from spoils.job.cron import Cron
from spoils.models import Schedule
from spoils.queue import schedules
from spoils.queue.schedules import ChangedMeanwhile, NameTaken, ScheduleRefused
from spoils.queue.ticks import schedule_progress
from tests.classes import throw_away_classes
from tests.locks import at_once, held, meanwhile
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob

NIGHTLY = Cron("0 2 * * *", "Europe/Berlin")


def made(connection: Connection, name: str = "nightly", number: int = 7, cron: Cron = NIGHTLY) -> Schedule:
    payload = {"number": number}
    return schedules.create(
        connection, name=name, job=SampleJob(number=number), payload=payload, cron=cron, who="ann"
    )


def audited(rows: Rows) -> list[tuple[Any, ...]]:
    return rows.all("SELECT who, verb, about, done FROM spoils_audit ORDER BY id")


def test_a_schedule_is_stored_as_given_and_begins_now(connection: Connection, rows: Rows) -> None:
    before: datetime = rows.value("SELECT clock_timestamp()")
    schedule = made(connection)
    assert (schedule.name, schedule.job_name, schedule.task_type) == ("nightly", "SampleJob", "sample")
    assert (schedule.cron, schedule.zone, schedule.payload) == ("0 2 * * *", "Europe/Berlin", {"number": 7})
    assert before <= schedule.settled_until <= rows.value("SELECT clock_timestamp()")
    assert audited(rows) == [("ann", "add schedule", "nightly", True)]
    assert schedules.find(connection, name="nightly").id == schedule.id  # type: ignore[union-attr]


def test_two_schedules_may_have_one_class_cron_and_zone_beside_that_of_the_class(
    connection: Connection,
) -> None:
    of_class = schedule_progress(
        connection, job="SampleJob", task_type="sample", cron=NIGHTLY.expression, zone=NIGHTLY.zone
    )
    ids = {of_class.schedule_id, made(connection, "a", 1).id, made(connection, "b", 2).id}
    assert len(ids) == 3
    again = schedule_progress(
        connection, job="SampleJob", task_type="sample", cron=NIGHTLY.expression, zone=NIGHTLY.zone
    )
    assert again.schedule_id == of_class.schedule_id


def test_twenty_clients_that_make_one_name_at_once_make_one_schedule(engine: Engine, rows: Rows) -> None:
    def client(number: int) -> bool:
        try:
            with transaction(engine) as connection:
                made(connection, "nightly", number)
        except NameTaken:
            return False
        return True

    assert sum(at_once(20, client)) == 1
    assert rows.value("SELECT count(*) FROM spoils_schedules") == 1
    assert len(audited(rows)) == 1


@pytest.mark.parametrize("name", ["", "two words", "-", ".a", "a" * 101, "straße", "a\n", "a/b"])
def test_a_name_that_fits_no_address_is_refused(connection: Connection, rows: Rows, name: str) -> None:
    with pytest.raises(ScheduleRefused, match="A name has 1 to 100 letters"):
        made(connection, name)
    assert audited(rows) == []


def test_the_name_of_a_class_is_taken(connection: Connection) -> None:
    with pytest.raises(NameTaken, match="is the name of a job class"):
        made(connection, "SampleJob")


def test_a_hidden_class_a_base_class_and_a_job_that_cannot_be_enqueued_are_refused(
    connection: Connection,
) -> None:
    with throw_away_classes():

        class HiddenTickJob(Job):
            hidden = True

            def run(self, queue: Queue) -> None:
                return None

        class BaseTickJob(Job):
            """Has no run."""

        class OddHashJob(Job):
            uniq = True

            def uniq_hash(self) -> str | None:
                return "odd"

            def run(self, queue: Queue) -> None:
                return None

        for job, sentence in (
            (HiddenTickJob(), "HiddenTickJob is the queue's own"),
            (BaseTickJob(), "BaseTickJob is a base class"),
            (OddHashJob(), "must return 64 hex digits"),
        ):
            with pytest.raises(ScheduleRefused, match=sentence):
                schedules.create(connection, name="odd", job=job, payload={}, cron=NIGHTLY, who="ann")
        assert schedules.class_anywhere("BaseTickJob") is BaseTickJob
    assert schedules.class_anywhere("NothingJob") is None


def test_more_schedules_than_workers_read_at_a_look_are_refused(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MOST", 2)
    made(connection, "a")
    made(connection, "b")
    with pytest.raises(ScheduleRefused, match="Delete some"):
        made(connection, "c")


def test_another_cron_goes_on_from_now_and_another_payload_keeps_its_place(
    connection: Connection, rows: Rows
) -> None:
    schedule_id = made(connection).id
    connection.execute(text("UPDATE spoils_schedules SET settled_until = now() - interval '9 days'"))
    place = rows.value("SELECT settled_until FROM spoils_schedules")
    changed = schedules.change(
        connection, schedule_id, who="bob", job=SampleJob(number=8), payload={"number": 8}
    )
    assert changed is not None
    assert (changed.payload, changed.settled_until, changed.version) == ({"number": 8}, place, 2)
    before = rows.value("SELECT clock_timestamp()")
    changed = schedules.change(connection, schedule_id, who="bob", cron=Cron("0 3 * * *", "UTC"))
    assert changed is not None
    assert (changed.cron, changed.zone, changed.version) == ("0 3 * * *", "UTC", 3)
    assert changed.settled_until >= before
    facts = rows.all(
        "SELECT before ->> 'cron', after ->> 'cron' FROM spoils_audit WHERE verb = 'change schedule'"
    )
    assert facts == [("0 2 * * *", "0 2 * * *"), ("0 2 * * *", "0 3 * * *")]


def test_a_change_to_what_it_is_already_changes_and_enters_nothing(
    connection: Connection, rows: Rows
) -> None:
    schedule_id = made(connection).id
    schedules.change(
        connection, schedule_id, who="bob", cron=NIGHTLY, job=SampleJob(number=7), payload={"number": 7}
    )
    assert rows.value("SELECT version FROM spoils_schedules") == 1
    assert len(audited(rows)) == 1


def test_the_second_of_two_people_who_edit_at_once_is_refused(engine: Engine, rows: Rows) -> None:
    with transaction(engine) as connection:
        schedule_id = made(connection).id

    def other(connection: Connection) -> str:
        try:
            schedules.change(connection, schedule_id, who="bob", cron=Cron("0 4 * * *"), version=1)
        except ChangedMeanwhile as exc:
            return str(exc)
        return ""

    with held(engine) as connection:
        schedules.change(connection, schedule_id, who="ann", cron=Cron("0 3 * * *"), version=1)
        with meanwhile(engine, other) as second:
            connection.commit()
        assert "changed by somebody else" in second.result(60)
    assert rows.value("SELECT cron FROM spoils_schedules") == "0 3 * * *"


def test_it_is_paused_and_resumed_once_each_and_the_pause_is_not_made_up_for(
    connection: Connection, rows: Rows
) -> None:
    schedule_id = made(connection).id
    assert schedules.pause(connection, schedule_id, who="ann")
    assert not schedules.pause(connection, schedule_id, who="bob")
    assert rows.value("SELECT paused_by FROM spoils_schedules") == "ann"
    connection.execute(text("UPDATE spoils_schedules SET settled_until = now() - interval '9 days'"))
    before = rows.value("SELECT clock_timestamp()")
    assert schedules.resume(connection, schedule_id, who="bob")
    assert not schedules.resume(connection, schedule_id, who="bob")
    assert rows.value("SELECT settled_until FROM spoils_schedules") >= before
    assert audited(rows)[1:] == [
        ("ann", "pause", "nightly", True),
        ("bob", "pause", "nightly", False),
        ("bob", "resume", "nightly", True),
        ("bob", "resume", "nightly", False),
    ]


def test_a_deleted_schedule_takes_its_ticks_with_it_and_leaves_its_jobs(
    connection: Connection, rows: Rows
) -> None:
    schedule = made(connection)
    task_id = schedules.run_now(connection, schedule, who="ann").id
    connection.execute(
        text(
            "INSERT INTO spoils_ticks (schedule_id, slot, outcome, task_id) VALUES (:s, now(), 'entered', :t)"
        ),
        {"s": schedule.id, "t": task_id},
    )
    assert schedules.remove(connection, schedule.id, who="bob") is not None
    assert schedules.remove(connection, schedule.id, who="bob") is None
    assert schedules.change(connection, schedule.id, who="bob") is None
    assert not schedules.pause(connection, schedule.id, who="bob")
    assert rows.value("SELECT count(*) FROM spoils_ticks") == 0
    assert rows.state(task_id) == "new"
    assert audited(rows)[-1] == ("bob", "delete schedule", "nightly", True)


def test_a_run_now_enqueues_the_payload_and_says_who_did_it(connection: Connection, rows: Rows) -> None:
    enqueued = schedules.run_now(connection, made(connection), who="bob")
    assert rows.one(enqueued.id).metadata == {"type": "SampleJob", "number": 7}
    assert rows.all("SELECT who, about FROM spoils_audit WHERE task_id = :id", id=enqueued.id) == [
        ("bob", "nightly")
    ]
    unique = schedules.create(
        connection, name="alone", job=UniqueSampleJob(), payload={}, cron=NIGHTLY, who="ann"
    )
    assert not schedules.run_now(connection, unique, who="bob").duplicate
    assert schedules.run_now(connection, unique, who="bob").duplicate


def test_a_run_now_of_a_class_that_this_release_lacks_or_that_refuses_the_payload_is_a_sentence(
    connection: Connection, rows: Rows
) -> None:
    schedule_id = made(connection).id
    for change, sentence in (
        ("""payload = '{"number": "x"}'""", "does not fit SampleJob"),
        ("runtime_job = 'GoneJob'", "This release has no job class GoneJob"),
    ):
        connection.execute(text(f"UPDATE spoils_schedules SET {change}"))
        schedule = schedules.get(connection, schedule_id)
        assert schedule is not None
        with pytest.raises(PayloadError, match=sentence):
            schedules.run_now(connection, schedule, who="bob")
    assert rows.value("SELECT count(*) FROM fang_tasks") == 0


def test_secrets_are_masked_in_the_audit_log(connection: Connection, rows: Rows) -> None:
    with throw_away_classes():

        class SecretTickJob(Job):
            api_key: str

            def run(self, queue: Queue) -> None:
                return None

        payload = {"api_key": "s3cret-value"}
        schedules.create(
            connection, name="s", job=SecretTickJob(**payload), payload=payload, cron=NIGHTLY, who="ann"
        )
    assert "s3cret-value" not in rows.value("SELECT after::text FROM spoils_audit")
    assert rows.value("SELECT payload ->> 'api_key' FROM spoils_schedules") == "s3cret-value"
