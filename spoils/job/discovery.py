"""Finding job classes: imports the modules that SPOILS_JOBS names, and refuses what looks like a mistake."""

import difflib
import importlib.util
import inspect
import pkgutil
import traceback
from collections.abc import Sequence
from types import ModuleType

from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from spoils.errors import JobDefinitionError
from spoils.job.base import Job
from spoils.job.definition import wrong
from spoils.job.registry import registry

BUILTIN = "spoils.builtin"


def load(names: Sequence[str] = ("spoils.jobs",)) -> None:
    """Import these modules, and every module of those that are packages, so that their job classes are known; with them
    the queue's own jobs.

    Raises JobDefinitionError.
    """
    _modules(BUILTIN)
    modules = [module for name in names for module in _modules(name)]
    for module in modules:  # after all of them: a base may be in one, and its subclass in another
        for value in vars(module).values():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                _check(value) if issubclass(value, Job) else _check_no_job(value)


def _modules(name: str) -> list[ModuleType]:
    module = _imported(name)
    beside = pkgutil.iter_modules(getattr(module, "__path__", ()))
    return [module, *(_imported(f"{name}.{each.name}") for each in beside)]


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except JobDefinitionError:
        raise
    except (Exception, SystemExit) as exc:
        if isinstance(exc, ModuleNotFoundError) and f"{name}.".startswith(f"{exc.name}."):
            raise JobDefinitionError(
                f"SPOILS_JOBS is wrong: there is no module {name}. Name the modules or packages of your job classes, "
                "as in SPOILS_JOBS=shop.jobs."
            ) from exc
        message = (str(getattr(exc, "msg", exc)) or "no message").splitlines()[0].rstrip(".")
        raise JobDefinitionError(
            f"{_place(name, exc)}: {type(exc).__name__}: {message}. "
            f'Its traceback is that of: python -c "import {name}"'
        ) from exc


def _place(name: str, error: BaseException) -> str:
    """The file and line of jobs at which its import ended."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    spec = importlib.util.find_spec(name)
    file = (spec and spec.origin) or name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def _check(job_class: type[Job]) -> None:
    try:
        job_class.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as exc:
        raise wrong(
            job_class,
            f"an annotation cannot be read: {exc.message.splitlines()[0].rstrip('.')}. "
            "What a field refers to must be imported when the program runs, not under TYPE_CHECKING alone.",
        ) from exc
    is_job = registry.get(job_class.__name__) is job_class
    if not is_job and not inspect.isabstract(job_class) and not job_class.__subclasses__():
        methods = [name for name, value in vars(job_class).items() if inspect.isfunction(value)]
        meant = difflib.get_close_matches("run", methods, n=1)
        raise wrong(
            job_class,
            f"it has no run(self, queue){f', but a method {meant[0]}: rename that' if meant else ''}. "
            "A base that no class extends yet needs an abstract run (@abc.abstractmethod).",
        )


def _check_no_job(other: type) -> None:
    """Raise JobDefinitionError where a class looks like a job whose base was forgotten; else nothing would find it."""
    if other.__name__.endswith("Job") and hasattr(other, "run") and not other.__subclasses__():
        raise wrong(other, f"it does not extend Job: write class {other.__name__}(Job).")
