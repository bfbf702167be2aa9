"""Which tables this deployment has beside the queue's."""

from collections.abc import Sequence

from spoils.config import Settings
from spoils.db.migrate import Branch

FOOD = Branch("spoils.food.migrations", "spoils_food_version")
SHELF = "spoils.jobs"


def branches(settings: Settings) -> Sequence[Branch]:
    """The food service's tables come with its jobs, which are on the shelf."""
    return [FOOD] if any(f"{name}.".startswith(f"{SHELF}.") for name in settings.jobs) else []
