"""Which services the web program shows beside the queue."""

from spoils.config import Settings
from spoils.web.extension import Extension

SHELF = "spoils.jobs"


def extensions(settings: Settings) -> tuple[Extension, ...]:
    """The food service, where SPOILS_JOBS names its jobs; of a deployment without them nothing of it is imported."""
    if not any(name == SHELF or name.startswith(f"{SHELF}.") for name in settings.jobs):
        return ()
    from spoils.food.extension import FOOD  # noqa: PLC0415

    return (FOOD,)
