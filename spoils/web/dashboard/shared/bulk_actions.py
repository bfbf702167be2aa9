"""The actions that a list of jobs offers: on the selected jobs, and on all that match its filter."""

from collections.abc import Mapping
from dataclasses import dataclass

from spoils.models import TaskState
from spoils.web.dashboard.shared import formats
from spoils.web.dashboard.shared.filters import Filters


@dataclass(frozen=True, slots=True)
class BulkAction:
    """An action with the words of its buttons and messages; a `destructive` one is styled as such."""

    name: str
    word: str
    done: str
    doing: str
    meaning: str = ""
    destructive: bool = False


ACTIONS: Mapping[str, BulkAction] = {
    each.name: each
    for each in (
        BulkAction(
            "retry",
            "Retry",
            "Retried",
            "Retrying",
            "The jobs become new and due now, with 0 retries used. Their failures stay on record. "
            "Of several that are the same unique job, only the one that failed last is retried.",
        ),
        BulkAction(
            "run_now",
            "Run now",
            "Made due now:",
            "Making due now:",
            "The jobs become due now, all at once. Nothing else about them changes.",
        ),
        BulkAction(
            "cancel",
            "Cancel",
            "Cancelled",
            "Cancelling",
            "Waiting jobs become failed and can be retried. Running jobs are asked to stop.",
            destructive=True,
        ),
        BulkAction(
            "delete",
            "Delete",
            "Deleted",
            "Deleting",
            "Deleted jobs are kept for a day, and the delete can be undone until then. What the jobs produced stays. "
            "Jobs in progress are not deleted.",
            destructive=True,
        ),
        BulkAction("restore", "Restore", "Restored", "Restoring"),
        BulkAction("mend", "Change", "Changed", "Changing"),
        BulkAction("revert", "Change back", "Changed back", "Changing back"),
    )
}
_ALLOWED: Mapping[TaskState | None, tuple[str, ...]] = {
    None: ("retry", "run_now", "cancel", "delete"),
    TaskState.NEW: ("run_now", "cancel", "delete"),
    TaskState.RETRIED: ("run_now", "cancel", "delete"),
    TaskState.IN_PROGRESS: ("cancel",),
    TaskState.FAILED: ("retry", "delete"),
    TaskState.FINISHED: ("delete",),
}


@dataclass(frozen=True, slots=True)
class OfferOnAll:
    """The actions offered on all jobs that match, how many those are, and the filter that finds them."""

    actions: tuple[BulkAction, ...] = ()
    count: str = ""
    filter: Mapping[str, str] | None = None
    hint: str = ""


def actions_on_selected(filters: Filters) -> tuple[BulkAction, ...]:
    """The actions offered on selected jobs of a list."""
    state = TaskState.NEW if filters.waiting else filters.state
    return tuple(ACTIONS[name] for name in _ALLOWED[state])


def offer_on_all(filters: Filters, matching: int, failed: int) -> OfferOnAll:
    """The actions offered on all `matching` jobs; of a list of all states only a retry of the `failed` ones."""
    if filters.narrowed:
        return OfferOnAll(hint="To act on all matching jobs, remove the time range and the error.")
    of_type = {"type": filters.task_type} if filters.task_type else {}
    if filters.batch:
        of_type["batch"] = str(filters.batch)
    if filters.state:
        if not matching:
            return OfferOnAll()
        kept = {"state": filters.state.value, **of_type}
        return OfferOnAll(actions_on_selected(filters), formats.number(matching), kept)
    hint = "Choose a state to act on all its jobs." if matching else ""
    if filters.waiting or not failed:
        return OfferOnAll(hint=hint)
    # A retry means the same, whatever else matches.
    kept = {"state": TaskState.FAILED.value, **of_type}
    return OfferOnAll((ACTIONS["retry"],), f"{formats.number(failed)} failed", kept, hint)
