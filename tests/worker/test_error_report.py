"""What went wrong, whatever it was: storable, bounded, and grouped with its like."""

import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.job import RetryLater
from spoils.job.outcome import Report
from spoils.worker.error_report import MAX_MESSAGE, MAX_TRACEBACK, report_of, storable


class MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


class OddTextError(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class BadAttributesError(Exception):
    def __getattribute__(self, name: str) -> object:
        if name == "__notes__":
            raise RuntimeError("no notes")
        return super().__getattribute__(name)


def raised(error: BaseException) -> Report:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return report_of(caught)


def raised_elsewhere(error: BaseException) -> Report:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return report_of(caught)


def fits_postgresql(report: Report) -> bool:
    text = json.dumps([report.message, report.traceback], ensure_ascii=False)
    text.encode()
    return "\\u0000" not in text and "\0" not in text


def test_a_report_is_stored_with_its_secrets_masked() -> None:
    report = raised(ValueError("login failed: password=hunter2 user=me"))
    assert "hunter2" not in f"{report.message}{report.traceback}"
    assert "user=me" in report.message


@pytest.mark.parametrize("cut", range(20, 40))
def test_a_secret_in_which_a_text_is_cut_is_masked_too(cut: int) -> None:
    assert "hunter2" not in storable("postgresql://someone:hunter2hunter2@db.example/x", cut)


def test_a_report_has_the_class_the_text_and_the_traceback() -> None:
    report = raised(ValueError("boom"))
    assert (report.error_class, report.message) == ("ValueError", "boom")
    assert report.traceback is not None
    assert report.traceback.startswith("Traceback (most recent call last):\n")
    assert report.traceback.endswith("ValueError: boom\n")
    assert "in raised\n" in report.traceback


def test_an_error_without_a_text_has_its_class_as_one() -> None:
    assert raised(KeyboardInterrupt()).message == "KeyboardInterrupt"


@pytest.mark.parametrize("error", [MuteError(), OddTextError(), BadAttributesError("x")])
def test_an_error_whose_text_cannot_be_had_is_reported_all_the_same(error: Exception) -> None:
    report = raised(error)
    assert report.error_class == type(error).__name__
    assert report.message
    assert report.traceback
    assert fits_postgresql(report)


def test_an_error_that_causes_itself_is_reported() -> None:
    error = ValueError("loop")
    error.__cause__ = error
    assert raised(error).message == "loop"


def test_nul_and_half_characters_are_written_out() -> None:
    report = raised(ValueError("a\0b\ud800c\udfffd"))
    assert report.message == "a\\x00b\\ud800c\\udfffd"
    assert fits_postgresql(report)


def test_fifty_megabytes_are_cut_and_it_is_told() -> None:
    report = raised(ValueError("é" * 50_000_000))
    assert report.message.startswith("é" * MAX_MESSAGE)
    assert report.message.endswith("… (50,000,000 characters)")
    assert report.traceback is not None
    assert len(report.traceback) < MAX_TRACEBACK + 100


def test_a_recursion_without_end_is_a_short_report() -> None:
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        report = report_of(error)
    assert report.error_class == "RecursionError"
    assert report.traceback is not None
    assert len(report.traceback) < 20_000


def test_a_group_with_a_thousand_errors_is_bounded() -> None:
    report = raised(ExceptionGroup("many", [ValueError(str(number)) for number in range(1000)]))
    assert report.traceback is not None
    assert len(report.traceback) < MAX_TRACEBACK + 100


@given(st.text(st.characters(codec=None)), st.integers(0, 50))
def test_any_text_becomes_storable(text: str, limit: int) -> None:
    stored = storable(text, limit)
    stored.encode()
    assert "\0" not in stored


def test_failures_that_differ_in_numbers_ids_and_quotes_only_have_one_fingerprint() -> None:
    texts = [
        f"product {number} at 0x{number:x} ({uuid4()}): 'name {number}' is not \"{number}\""
        for number in (1, 23, 456)
    ]
    assert len({raised(ValueError(text)).fingerprint for text in texts}) == 1
    assert len({raised(ValueError(f"boom\nand then {number}")).fingerprint for number in range(3)}) == 1


def test_failures_that_differ_in_class_place_or_words_have_fingerprints_of_their_own() -> None:
    reports = [
        raised(ValueError("boom")),
        raised(TypeError("boom")),
        raised(ValueError("bang")),
        raised_elsewhere(ValueError("boom")),
    ]
    assert len({report.fingerprint for report in reports}) == 4


def test_retry_later_is_reported_as_what_it_was_raised_from() -> None:
    def later() -> None:
        try:
            raise ConnectionError("refused")
        except ConnectionError as exc:
            raise RetryLater(60, "The upstream is busy.") from exc

    try:
        later()
    except RetryLater as error:
        report = report_of(error)
    assert (report.error_class, report.message) == ("ConnectionError", "The upstream is busy.")
    assert raised(RetryLater(60)).error_class == "RetryLater"
