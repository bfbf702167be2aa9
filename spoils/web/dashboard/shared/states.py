"""The words and glyphs of the five states."""

from dataclasses import dataclass

from spoils.models import TaskState

ORDER = (TaskState.NEW, TaskState.IN_PROGRESS, TaskState.RETRIED, TaskState.FAILED, TaskState.FINISHED)


@dataclass(frozen=True, slots=True)
class StateView:
    """A state as a page names it: `name` for URLs, classes and glyphs, `word` to read."""

    name: str
    word: str


VIEWS = {state: StateView(state.value, state.value.replace("_", " ")) for state in ORDER}
