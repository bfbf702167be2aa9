"""The rows, and the one `db` that web and worker share."""

from spoils.models.base import DbSession, db
from spoils.models.history import Attempt, Count, Minute, Quarter, Step, Total
from spoils.models.idempotency import IdempotencyKey
from spoils.models.operators import Alert, Audit, Bulk, BulkItem, Logout, Trash
from spoils.models.schedule import Pause, PauseKind, Schedule, Tick, TickEnding
from spoils.models.task import ACTIVE, WAITING, Task, TaskState
from spoils.models.unique_window import UniqueWindow
from spoils.models.worker import Worker

__all__ = [
    "ACTIVE",
    "WAITING",
    "Alert",
    "Attempt",
    "Audit",
    "Bulk",
    "BulkItem",
    "Count",
    "DbSession",
    "IdempotencyKey",
    "Logout",
    "Minute",
    "Pause",
    "PauseKind",
    "Quarter",
    "Schedule",
    "Step",
    "Task",
    "TaskState",
    "Tick",
    "TickEnding",
    "Total",
    "Trash",
    "UniqueWindow",
    "Worker",
    "db",
]
