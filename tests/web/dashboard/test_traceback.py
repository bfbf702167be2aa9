"""A traceback taken apart loses nothing, and folds what is not ours."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.web.dashboard.shared.traceback import Frame, parse
from tests.web.dashboard.scenes import TRACEBACK


def test_ours_stands_open_and_libraries_are_folded() -> None:
    ours, libraries, last = parse(TRACEBACK)
    call = "product = openfoodfacts.fetch(self.barcode)"
    assert ours.frames == (Frame("spoils/jobs/fetch_product.py", "41", "run", (call,)),)
    assert ours.folded == ""
    assert libraries.folded == "2 frames of requests and urllib3"
    assert libraries.frames[0].path == "requests/sessions.py"
    assert last.words == "spoils.food.openfoodfacts.Unavailable: 503 from Open Food Facts"


def test_a_real_chain_of_errors_keeps_its_words_and_its_order() -> None:
    found = parse(_chained())
    told = [part.words for part in found if part.words]
    assert told[0].startswith("ZeroDivisionError")
    assert "During handling of the above exception" in told[0]
    assert told[-1] == "ValueError: two\nlines"
    assert [frame.function for part in found for frame in part.frames] == ["_chained", "_chained"]


def test_what_is_no_traceback_comes_as_it_is() -> None:
    (only,) = parse("exit code 137\n  killed")
    assert only.words == "exit code 137\n  killed"


@pytest.mark.parametrize("text", [None, "", " \n "])
def test_nothing_has_no_parse(text: str | None) -> None:
    assert parse(text) == ()


@given(st.text(st.sampled_from('  File "a", line 1, in f\n^~x'), max_size=200))
def test_any_text_is_taken(text: str) -> None:
    parse(text)


def test_a_long_line_takes_no_long_time() -> None:
    head = '  File "/app/spoils/a.py", line 1, in f'
    (part,) = parse(f"{head}\n    {' ' * 200_000}x")
    assert part.frames[0].code == ("x",)


def _chained() -> str:
    try:
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            raise ValueError("two\nlines")  # noqa: B904
    except ValueError as exc:
        return "".join(traceback.format_exception(exc))
