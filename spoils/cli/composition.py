"""What this deployment has beside the queue: the food service, where SPOILS_JOBS names its jobs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spoils.config import Settings
from spoils.db.migrate import Branch

if TYPE_CHECKING:
    from spoils.web.extension import Extension

FOOD_TABLES = Branch("spoils.food.migrations", "spoils_food_version")
FOOD_JOBS = "spoils.jobs"


def branches(settings: Settings) -> Sequence[Branch]:
    """The lines of migrations beside the queue's own."""
    return [FOOD_TABLES] if _has_food(settings) else []


def extensions(settings: Settings) -> "tuple[Extension, ...]":
    """What the web program shows beside the queue. A worker imports none of it."""
    if not _has_food(settings):
        return ()
    from spoils.food.extension import FOOD  # noqa: PLC0415 - only where it is used

    return (FOOD,)


def _has_food(settings: Settings) -> bool:
    return any(f"{name}.".startswith(f"{FOOD_JOBS}.") for name in settings.jobs)
