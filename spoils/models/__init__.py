"""The rows, and the one `db` that web and worker share."""

from spoils.models.base import db
from spoils.models.food import IngredientAnalysis, Product
from spoils.models.ledger import Attempt, Count, Minute, Quarter
from spoils.models.schedule import Pause, PauseKind, Schedule, Tick, TickEnding
from spoils.models.task import ACTIVE, WAITING, Task, TaskState
from spoils.models.worker import Worker

__all__ = [
    "ACTIVE",
    "WAITING",
    "Attempt",
    "Count",
    "IngredientAnalysis",
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
    "Worker",
    "db",
]
