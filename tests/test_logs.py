"""A log line cannot be forged, split or lost, whatever the event holds."""

import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.logs import LineFormatter, one_line, set_up, tell, write


class Heard(logging.Handler):
    """Keeps what it is given, as a handler or as a filter."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def filtered(self, record: logging.LogRecord) -> bool:
        self.records.append(record)
        return True


STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "


def told(
    message: str, *arguments: object, level: int = logging.INFO, error: bool = False, **fields: object
) -> str:
    """What a handler writes of one event, to a stream that is strict about UTF-8."""
    raw = io.BytesIO()
    handler = logging.StreamHandler(
        io.TextIOWrapper(raw, "utf-8", "strict", newline="\n", write_through=True)
    )
    handler.setFormatter(LineFormatter())
    # No logger: what pytest captures goes from process to process, and half a character cannot.
    record = logging.makeLogRecord(
        {
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": message,
            "args": arguments,
            "exc_info": sys.exc_info() if error else None,
            **fields,
        }
    )
    handler.handle(record)
    return raw.getvalue().decode()


def test_an_event_is_its_moment_its_level_its_message_and_its_fields() -> None:
    line = told("Finished %s", "CleanupJob", ran_ms=12, action="settle", task_type="cleanup")
    assert re.fullmatch(STAMP + "INFO Finished CleanupJob action=settle task_type=cleanup ran_ms=12\n", line)


def test_a_field_that_is_not_ours_is_not_told() -> None:
    assert "hunter2" not in told("Hello", password="hunter2")


@pytest.mark.parametrize(
    "mark",
    ["\r", "\n", "\r\n", "\x1b[2J", "\u2028", "\u2029", "\x85", "\0", "\x7f", "\v", "\f", "\ud800"],
    ids=ascii,
)
def test_control_characters_and_half_characters_are_written_out(mark: str) -> None:
    for line in (
        told(f"a{mark}b"),
        told("%s", f"a{mark}b"),
        told("a", task_type=f"x{mark}y", worker_id=f"{mark}z"),
    ):
        assert line.endswith("\n")
        assert len(line.splitlines()) == 1
        assert not any(character in line[:-1] for character in mark if not character.isprintable())
    assert re.search(r"a\\x[0-9a-f]{2,4}", told(f"a{mark}b"))


@given(st.text(st.characters(codec=None)))
def test_any_text_is_one_line(text: str) -> None:
    line = told("%s", text, task_id=text)
    assert len(line.splitlines()) == 1
    assert one_line(text) == one_line(one_line(text))


def test_text_of_any_script_and_tabs_stay_as_they_are() -> None:
    assert one_line("Süßwaren\t食品 🥕") == "Süßwaren\t食品 🥕"


def test_a_traceback_follows_on_lines_that_cannot_be_taken_for_events() -> None:
    try:
        raise ValueError("first\n2026-11-24T02:00:00.123Z INFO forged\r\x1b[2Jlast")
    except ValueError:
        text = told("It broke", level=logging.ERROR, error=True, action="error")
    head, *trace = text.removesuffix("\n").split("\n")
    assert re.fullmatch(STAMP + "ERROR It broke action=error", head)
    assert all(line.startswith("    | ") for line in trace)
    assert any("forged" in line for line in trace)
    assert "\x1b" not in text
    assert "\r" not in text


@contextmanager
def root_logger() -> Iterator[logging.Logger]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_everything_at_the_level_and_above_goes_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with root_logger():
        set_up("WARNING")
        set_up("WARNING")  # once more is still one handler
        logging.getLogger("somewhere").info("quiet")
        logging.getLogger("somewhere").warning("loud")
    written = capsys.readouterr()
    assert re.fullmatch(STAMP + "WARNING loud\n", written.out)
    assert written.err == ""


def test_a_line_without_a_record_is_what_one_with_a_record_is(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("spoils.somewhere")
    fields = {"action": "settle", "task_type": "a b", "password": "hunter2"}
    with root_logger():
        set_up("INFO")
        tell(log, "50 % of\nit", fields)
        log.info("%s", "50 % of\nit", extra=fields)
        log.setLevel("WARNING")
        tell(log, "quiet", {})
        log.setLevel("NOTSET")
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(STAMP + r'INFO 50 % of\\x0ait action=settle task_type="a b"', first)
    assert re.sub(STAMP, "", first) == re.sub(STAMP, "", second)


def listened_to(log: logging.Logger, heard: Heard) -> None:
    log.addHandler(heard)


def filtered(log: logging.Logger, heard: Heard) -> None:
    log.addFilter(heard.filtered)


def beside_another(_log: logging.Logger, heard: Heard) -> None:
    logging.getLogger().addHandler(heard)


def by_its_parent(_log: logging.Logger, heard: Heard) -> None:
    logging.getLogger("spoils").addHandler(heard)


def at_the_handler(_log: logging.Logger, heard: Heard) -> None:
    logging.getLogger().handlers[0].addFilter(heard.filtered)


def in_another_form(_log: logging.Logger, heard: Heard) -> None:
    class Form(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            heard.emit(record)
            return super().format(record)

    logging.getLogger().handlers[0].setFormatter(Form())


@pytest.mark.parametrize(
    "hear", [listened_to, filtered, beside_another, by_its_parent, at_the_handler, in_another_form]
)
def test_who_listens_for_records_gets_one(hear: Callable[[logging.Logger, Heard], None]) -> None:
    log, heard = logging.getLogger("spoils.elsewhere"), Heard()
    with root_logger():
        set_up("INFO")
        hear(log, heard)
        tell(log, "Finished CleanupJob", {"action": "settle"})
        for one in (log, logging.getLogger("spoils")):
            one.handlers.clear()
            one.filters.clear()
    [record] = heard.records
    assert (record.getMessage(), vars(record)["action"]) == ("Finished CleanupJob", "settle")


def test_a_logger_that_keeps_to_itself_is_not_overheard(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("spoils.aloof")
    log.propagate = False
    with root_logger():
        set_up("INFO")
        tell(log, "to nobody", {})
    assert capsys.readouterr().out == ""


def test_a_line_that_nobody_reads_any_more_stops_nothing_and_is_complained_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    handler = logging.StreamHandler(os.fdopen(writer, "w"))
    write(handler, "lost")
    assert "BrokenPipeError" in capsys.readouterr().err
    with pytest.raises(BrokenPipeError):
        handler.stream.close()
    write(handler, "lost too")
    assert "closed file" in capsys.readouterr().err


def test_a_secret_in_a_warning_or_a_traceback_is_masked() -> None:
    line = told("The database said: password=hunter2", level=logging.WARNING)
    assert "hunter2" not in line
    assert "password=" in line
    try:
        raise ValueError("Authorization: Bearer hunter2hunter2")
    except ValueError:
        assert "hunter2" not in told("It broke", level=logging.ERROR, error=True)


def test_a_secret_in_an_address_is_masked_for_a_developer_too() -> None:
    line = told('127.0.0.1 "GET /jobs?token=hunter2 HTTP/1.1" 200 -', name="werkzeug")
    assert "hunter2" not in line
    assert "GET /jobs?token=" in line


def test_a_value_that_looks_like_more_fields_stands_in_quotes() -> None:
    line = told("Hello", task_type='x action=forged "y"')
    assert 'task_type="x action=forged \\"y\\""' in line
