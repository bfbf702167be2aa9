"""The rows, and the one `db` that web and worker share."""

from spoils.models.base import DbSession, db
from spoils.models.batch import Batch
from spoils.models.history import Attempt, BacklogSample, Count, Minute, Output, Quarter, Step, Total
from spoils.models.idempotency import IdempotencyKey
from spoils.models.limits import Hold, HoldKind, Limit, LimitPlace, Parked
from spoils.models.operators import Alert, ApiToken, Audit, Bulk, BulkItem, Logout, Trash
from spoils.models.schedule import Pause, PauseKind, Schedule, Tick, TickEnding
from spoils.models.task import ACTIVE, LIMITED, WAITING, Task, TaskState, is_limited, own_priority
from spoils.models.unique_window import UniqueWindow
from spoils.models.worker import Worker

__all__ = [
    "ACTIVE",
    "LIMITED",
    "WAITING",
    "Alert",
    "ApiToken",
    "Attempt",
    "Audit",
    "BacklogSample",
    "Batch",
    "Bulk",
    "BulkItem",
    "Count",
    "DbSession",
    "Hold",
    "HoldKind",
    "IdempotencyKey",
    "Limit",
    "LimitPlace",
    "Logout",
    "Minute",
    "Output",
    "Parked",
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
    "is_limited",
    "own_priority",
]
