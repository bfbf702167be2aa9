"""A backend of `django.tasks`: functions with Django's `@task` run in Spoils' worker.

Django 6 has `django.tasks`; for Django 4.2 to 5.2 the package `django-tasks` is the same.
"""

import importlib.util
import json
import os
import re
import socket
from datetime import datetime
from typing import Any
from uuid import UUID

import django
from django.apps import apps
from django.core import checks
from django.db import close_old_connections, connections
from django.utils import timezone
from django.utils.module_loading import import_string
from pydantic import Field

from spoils.client.client import enqueue_on
from spoils.job import Cancel, Done, Job, Queue, Snooze

_TASKS = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
tasks: Any = importlib.import_module(_TASKS)
_base: Any = importlib.import_module(f"{_TASKS}.base")
_signals: Any = importlib.import_module(f"{_TASKS}.signals")
_exceptions: Any = importlib.import_module(f"{_TASKS}.exceptions")
_BaseTaskBackend: Any = importlib.import_module(f"{_TASKS}.backends.base").BaseTaskBackend

_STATUS = {
    "new": "READY",
    "retried": "READY",
    "in_progress": "RUNNING",
    "finished": "SUCCESSFUL",
    "failed": "FAILED",
}
_SELECT_TASK = """
    SELECT metadata::text, state::text, created_at, claimed_at, claimed_by, updated_at, result::text
    FROM fang_tasks
    WHERE id = %s
"""
_SELECT_ATTEMPTS = """
    SELECT worker_id, claimed_at, outcome, error_class, message, traceback
    FROM spoils_attempts
    WHERE task_id = %s
    ORDER BY attempt, id
"""
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)


class DjangoTask(Job):  # type: ignore[no-redef] # kwargs, says the plugin of pydantic
    """Runs a function that has Django's `@task`.

    A subclass may set other policies, such as `max_retries`, `timeout` or `cron`; the backend's option `job` names it.
    """

    function: str
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    queue_name: str = "default"
    backend: str = "default"

    def run(self, queue: Queue) -> Done | None:
        """Call the function. Django's connections are closed as around a request."""
        task = _task(self.function)
        if task is None:
            raise Cancel(f"{self.function} is no function with Django's @task.")
        result = _running(self, task, queue)
        close_old_connections()
        try:
            _signals.task_started.send(Backend, task_result=result)
            context = [tasks.TaskContext(task_result=result)] if task.takes_context else []
            returned = task.call(*context, *self.args, **self.kwargs)
        except Exception as exc:
            if _is_final(exc, self, queue):
                _end(result, "FAILED")
            raise
        finally:
            close_old_connections()
        _end(result, "SUCCESSFUL")
        return None if returned is None else Done(returned)


class Backend(_BaseTaskBackend):  # type: ignore[misc]
    """`TASKS = {"default": {"BACKEND": "spoils.django.Backend"}}`.

    Options: `job`, the import path of a subclass of DjangoTask; `database`, the alias of the database with the queue.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Enqueue as part of the transaction of Django's connection."""
        self.validate_task(task)
        result = _result(self.alias, task, args, kwargs)
        job = self._job_class()(
            function=task.module_path,
            args=result.args,
            kwargs=result.kwargs,
            queue_name=task.queue_name,
            backend=self.alias,
        )
        at = _aware(task.run_after)
        (enqueued,) = enqueue_on(self._connection, [job], at=at, priority=_level(task.priority))
        _set(result, id=str(enqueued.id), enqueued_at=timezone.now())
        _signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Read a task's row and its attempts."""
        row, attempts = self._read(result_id)
        payload = json.loads(row[0]) if row else {}
        task = _task(payload["function"]) if payload.get("backend") == self.alias else None
        if row is None or task is None:
            raise _exceptions.TaskResultDoesNotExist(result_id)
        _, state, created_at, claimed_at, claimed_by, updated_at, returned = row
        task = task.using(queue_name=payload["queue_name"], backend=self.alias)
        result = _result(self.alias, task, payload["args"], payload["kwargs"])
        starts = [attempt[1] for attempt in attempts]
        workers = [attempt[0] for attempt in attempts]
        if state in ("in_progress", "finished"):  # the attempts beside it are those that did not finish
            starts.append(claimed_at)
            workers.append(claimed_by)
        _set(
            result,
            id=result_id,
            status=tasks.TaskResultStatus(_STATUS[state]),
            enqueued_at=created_at,
            started_at=starts[0] if starts else None,
            last_attempted_at=starts[-1] if starts else None,
            finished_at=updated_at if state in ("finished", "failed") else None,
            worker_ids=[str(worker) for worker in workers],
            errors=[_error(*attempt[2:]) for attempt in attempts if attempt[4]],
            _return_value=None if returned is None else json.loads(returned),
        )
        return result

    def check(self, **_: Any) -> list[checks.CheckMessage]:
        """For `manage.py check`: the options are right, and the database is PostgreSQL."""
        problems = []
        try:
            job_class = self._job_class()
            if not (isinstance(job_class, type) and issubclass(job_class, DjangoTask)):
                problems.append(f"{job_class!r} is no subclass of spoils.django.DjangoTask")
        except ImportError as exc:
            problems.append(str(exc))
        database = self.options.get("database", "default")
        if database not in connections or self._connection.vendor != "postgresql":
            problems.append(f'there is no PostgreSQL database "{database}"')
        return [checks.Error(f"TASKS[{self.alias!r}]: {one}.", id="spoils.E001") for one in problems]

    def _read(self, result_id: str) -> tuple[tuple[Any, ...] | None, list[tuple[Any, ...]]]:
        try:
            key = str(UUID(result_id))
        except ValueError:
            return None, []
        with self._connection.cursor() as cursor:
            cursor.execute(_SELECT_TASK, [key])
            row = cursor.fetchone()
            cursor.execute(_SELECT_ATTEMPTS, [key])
            return row, cursor.fetchall()

    @property
    def _connection(self) -> Any:
        return connections[self.options.get("database", "default")]

    def _job_class(self) -> Any:
        path = self.options.get("job")
        return import_string(path) if path else DjangoTask


def _task(path: str) -> Any:
    """The task of this path; None where there is something else: a payload must not name any function."""
    found = import_string(path)
    return found if isinstance(found, _base.Task) else None


def _result(alias: str, task: Any, args: Any, kwargs: Any) -> Any:
    return tasks.TaskResult(
        task=task,
        id="",
        status=tasks.TaskResultStatus.READY,
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=args,
        kwargs=kwargs,
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def _running(job: DjangoTask, task: Any, queue: Queue) -> Any:
    """The result as the task's context and the signals have it, without a query. Workers of earlier attempts are not
    known.
    """
    result = _result(job.backend, task, job.args, job.kwargs)
    now = timezone.now()
    workers = ["unknown"] * queue.attempt + [f"{socket.gethostname()}:{os.getpid()}"]
    status = tasks.TaskResultStatus.RUNNING
    _set(
        result,
        id=str(queue.task_id),
        status=status,
        started_at=now,
        last_attempted_at=now,
        worker_ids=workers,
    )
    return result


def _end(result: Any, status: str) -> None:
    _set(result, status=tasks.TaskResultStatus(status), finished_at=timezone.now())
    _signals.task_finished.send(Backend, task_result=result)


def _set(result: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(result, name, value)  # as Django's own backends do: it is frozen


def _is_final(error: Exception, job: Job, queue: Queue) -> bool:
    """Whether the task fails for good."""
    if isinstance(error, Snooze | Done):
        return False
    return isinstance(error, Cancel) or queue.attempt >= job.max_retries


def _error(outcome: str, error_class: str, message: str, traceback: str | None) -> Any:
    """An attempt's error. Django wants the path of its class, which the last line of its traceback has."""
    raised = [path for path in _RAISED.findall(traceback or "") if path.rpartition(".")[2] == error_class]
    path = raised[-1] if raised else error_class
    if not error_class:
        path = "spoils.Cancel" if outcome == "cancelled" else "spoils.PayloadError"
    elif "." not in path:
        path = f"builtins.{path}"
    return _base.TaskError(exception_class_path=path, traceback=traceback or message)


def _level(priority: int) -> int:
    """Spoils has five levels of priority, Django has 201."""
    return (priority > 0) - (priority < 0) + (priority > 50) - (priority < -50)


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or timezone.is_aware(moment) else timezone.make_aware(moment)


# In a worker this module is the first of Django's. In Django's own processes its setup may be under way.
if not (apps.ready or apps.loading):
    django.setup()
