"""The rows, and the one `db` that web and worker share."""

from spoils.models.base import db
from spoils.models.food import IngredientAnalysis, Product
from spoils.models.idempotency import IdempotencyKey
from spoils.models.ledger import Attempt, Count, Minute, Quarter
from spoils.models.operators import Alert, Audit, Bulk, BulkItem, Logout, Trash
from spoils.models.schedule import Pause, PauseKind, Schedule, Tick, TickEnding
from spoils.models.task import ACTIVE, WAITING, Task, TaskState
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
    "IdempotencyKey",
    "IngredientAnalysis",
    "Logout",
    "Minute",
    "Pause",
    "PauseKind",
    "Product",
    "Quarter",
    "Schedule",
    "Task",
    "TaskState",
    "Tick",
    "TickEnding",
    "Trash",
    "Worker",
    "db",
]
