"""Loading the files of jobs: whatever is wrong with one is said in a sentence that names it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoils import jobs
from spoils.errors import JobDefinitionError
from spoils.job.discovery import load as load_jobs
from spoils.job.registry import registry

Shelf = Callable[..., None]
RUN = "    def run(self, queue): pass\n"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """Load files of these names and texts as those of `spoils/jobs`."""

    def load(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        load_jobs()

    monkeypatch.setattr(jobs, "__path__", [str(tmp_path)])
    yield load
    for name in [name for name in sys.modules if name.startswith("spoils.jobs.shelf_")]:
        del sys.modules[name]
        delattr(jobs, name.rpartition(".")[2])


IMPORT = "from spoils.job import Job\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import nothere\n", "line 1: ModuleNotFoundError: No module named 'nothere'."),
        ("\nfrom spoils.job import Jobs\n", "line 2: ImportError: cannot import name 'Jobs'"),
        ("\n\nclass Broken(Job:\n", "line 3: SyntaxError: "),
        ("\n1 / 0\n", "line 2: ZeroDivisionError: division by zero."),
        ("\nraise ValueError\n", "line 2: ValueError: no message."),
        ("def f():\n    1 / 0\nf()\n", "line 2: ZeroDivisionError: division by zero."),
        ("import json\njson.loads('{')\n", "line 2: JSONDecodeError: Expecting property name"),
        ("import sys\nsys.exit()\n", "line 2: SystemExit: "),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    shelf: Shelf, tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        shelf(shelf_a=text)
    assert str(refused.value).startswith(f"{tmp_path / 'shelf_a.py'}, {sentence}")
    assert str(refused.value).endswith('Its traceback is that of: python -c "import spoils.jobs.shelf_a"')
    assert "\n" not in str(refused.value)


def test_a_file_with_a_nul_is_named(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(JobDefinitionError, match=r"shelf_a\.py.*null bytes"):
        shelf(shelf_a="'\0'\n")


def test_a_class_that_is_refused_at_its_definition_is_named_with_its_file(
    shelf: Shelf, tmp_path: Path
) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        shelf(shelf_a=f"{IMPORT}class ShelfJob(Job):\n    max_retires = 3\n{RUN}")
    assert str(refused.value).startswith(f"ShelfJob ({tmp_path / 'shelf_a.py'}): max_retires is not a policy")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("    max_retries = 3\n", "it has no run(self, queue). A base that no class extends yet"),
        ("    number: int\n", "it has no run(self, queue)."),
        ("    def runn(self, queue): pass\n", "it has no run(self, queue), but a method runn: rename that."),
        ("    def Run(self, queue): pass\n", "but a method Run: rename that."),
    ],
)
def test_a_class_that_is_neither_a_job_nor_a_base_is_refused(
    shelf: Shelf, tmp_path: Path, body: str, sentence: str
) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        shelf(shelf_a=f"{IMPORT}class ShelfJob(Job):\n{body}")
    assert str(refused.value).startswith(f"ShelfJob ({tmp_path / 'shelf_a.py'}): ")
    assert sentence in str(refused.value)


def test_bases_stay_bases(shelf: Shelf) -> None:
    shelf(
        shelf_a=f"{IMPORT}class ShelfBase(Job):\n    max_retries = 3\n",
        shelf_b=f"from spoils.jobs.shelf_a import ShelfBase\nclass ShelfJob(ShelfBase):\n{RUN}",
        shelf_c=f"import abc\n{IMPORT}class ShelfAbstract(Job):\n    @abc.abstractmethod\n{RUN}",
    )
    found = registry.get("ShelfJob")
    assert found is not None
    assert found.max_retries == 3
    assert registry.get("ShelfBase") is None is registry.get("ShelfAbstract")


LATER = (
    "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nfrom pydantic import BaseModel\n"
)


def test_an_annotation_that_only_a_type_checker_can_read_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        shelf(
            shelf_a=f"{LATER}{IMPORT}if TYPE_CHECKING:\n    from datetime import datetime\n"
            f"class ShelfJob(Job):\n    when: datetime\n{RUN}"
        )
    assert str(refused.value).startswith(
        f"ShelfJob ({tmp_path / 'shelf_a.py'}): an annotation cannot be read: name 'datetime' is not defined."
    )


def test_an_annotation_of_what_is_defined_below_is_checked_once_it_can_be(shelf: Shelf) -> None:
    text = (
        f"{LATER}{IMPORT}class Shelf{{0}}Job(Job):\n    uniq = True\n    part: Part\n{RUN}"
        "class Part(BaseModel):\n    of: {1}\n"
    )
    shelf(shelf_a=text.format("Whole", "int"))
    with pytest.raises(JobDefinitionError, match=r"ShelfFloatJob \(.*\): part may hold a float"):
        shelf(shelf_b=text.format("Float", "float"))
