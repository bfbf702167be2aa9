"""The five states in the order of the pages, and their labels."""

from dataclasses import dataclass

from spoils.models import TaskState

ORDER = (TaskState.NEW, TaskState.IN_PROGRESS, TaskState.RETRIED, TaskState.FAILED, TaskState.FINISHED)


@dataclass(frozen=True, slots=True)
class StateView:
    """A state as a page shows it: `name` for URLs, classes and glyphs, `word` to read."""

    name: str
    word: str


VIEWS = {state: StateView(state.value, state.value.replace("_", " ")) for state in ORDER}
