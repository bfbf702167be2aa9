"""A log line cannot be forged, split or lost, whatever the event holds."""

import io
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils import log_format
from spoils.log_format import TRACEBACKS, LineFormatter, LineHandler, one_line, set_up
from tests.programs import ROOT

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


def test_a_traceback_that_comes_as_text_follows_masked_on_such_lines_too() -> None:
    text = told("Failed X", traceback="Traceback:\n  token=hunter2\n\x1b[2J")
    assert text.split("\n")[1:] == ["    | Traceback:", "    |   token=••••••", r"    | \x1b[2J", ""]


def test_what_others_call_a_traceback_may_be_anything() -> None:
    assert told("Failed X", traceback=["a", 1]).split("\n")[1:] == ["    | ['a', 1]", ""]


@pytest.mark.parametrize(
    ("level", "tracebacks", "logged"),
    [("INFO", False, False), ("DEBUG", False, True), ("INFO", True, True), ("ERROR", True, True)],
)
def test_tracebacks_of_jobs_are_logged_in_development_and_at_debug(
    level: str, tracebacks: bool, logged: bool
) -> None:
    with root_logger():
        set_up(level, tracebacks=tracebacks)
        assert TRACEBACKS.isEnabledFor(logging.DEBUG) is logged
        set_up("INFO")


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
    capfd: pytest.CaptureFixture[str],
) -> None:
    with root_logger():
        set_up("WARNING")
        set_up("WARNING")  # once more is still one handler
        logging.getLogger("somewhere").info("quiet")
        logging.getLogger("somewhere").warning("loud")
        log_format.flush()
    written = capfd.readouterr()
    assert re.fullmatch(STAMP + "WARNING loud\n", written.out)
    assert written.err == ""


def test_a_line_that_cannot_be_made_is_complained_of_and_stops_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with root_logger():
        set_up("INFO")
        logging.getLogger("somewhere").info("%d", "no number")
        logging.getLogger("somewhere").info("next")
        log_format.flush()
    written = capfd.readouterr()
    assert re.fullmatch(STAMP + "INFO next\n", written.out)
    assert "TypeError" in written.err


def test_a_handler_passes_on_what_its_filters_let_pass(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LineHandler(LineFormatter())
    handler.addFilter(lambda record: record.msg != "secret")
    for message in ("secret", "fine"):
        handler.handle(logging.makeLogRecord({"msg": message, "levelno": 20, "levelname": "INFO"}))
    handler.flush()
    assert re.fullmatch(STAMP + "INFO fine\n", capfd.readouterr().out)


def test_a_handler_has_no_lock_that_a_thread_could_leave_locked(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LineHandler(LineFormatter())
    for act in (handler.acquire, lambda: handler.handle(logging.makeLogRecord({"msg": "on", "levelno": 20}))):
        thread = threading.Thread(target=act)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    handler.flush()
    assert capfd.readouterr().out.endswith(" on\n")


def program(text: str) -> subprocess.Popen[bytes]:
    """A program of its own that sets up its log, and then does what `text` says."""
    begin = (
        "import logging, os, sys\nfrom spoils import log_format\n"
        "log_format.set_up('INFO')\nlog = logging.getLogger('x')\n"
    )
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", f"{begin}{text}\n"], stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT
    )


def messages(output: bytes) -> list[str]:
    return [line.split(" INFO ")[1] for line in output.decode().splitlines() if " INFO " in line]


def test_a_program_that_ends_at_once_has_written_all_its_lines_in_their_order() -> None:
    with program("for number in range(9000): log.info('%d', number)") as ended:
        output, errors = ended.communicate(timeout=60)
    assert messages(output) == [str(number) for number in range(9000)]
    assert (ended.returncode, errors) == (0, b"")


def test_a_forked_child_writes_its_own_lines_and_none_of_its_parent_s() -> None:
    text = """
for number in range(100): log.info('parent %d', number)
if os.fork() == 0:
    log.info('child')
    os._exit(0)
os.wait()
log.info('end')
"""
    with program(text) as ended:
        output, _ = ended.communicate(timeout=60)
    told = messages(output)
    assert told.count("child") == 1
    assert [one for one in told if one != "child"] == [*(f"parent {number}" for number in range(100)), "end"]


LINES = log_format.MOST_CHARACTERS // 40
FLOOD = f"for number in range({LINES}): log.info('%d %s', number, 'x' * 100)"


def test_while_nobody_reads_standard_output_lines_are_dropped_and_counted_and_the_program_works_on() -> None:
    text = f"""
{FLOOD}
print('done', file=sys.stderr, flush=True)
sys.stdin.read()
for _ in range(60): log_format.flush()
log.info('and on')
"""
    with program(text) as working:
        assert working.stderr is not None
        assert working.stderr.readline() == b"done\n"
        output, _ = working.communicate(timeout=60)
    *told, last = messages(output)
    (dropped,) = re.findall(r"WARNING Dropped (\d+) log lines", output.decode())
    assert int(dropped) > 0
    assert [one.split()[0] for one in told] == [str(number) for number in range(len(told))]
    assert len(told) + int(dropped) == LINES
    assert last == "and on"


@pytest.mark.parametrize("closed", [False, True], ids=["unread", "closed"])
def test_a_program_ends_though_nobody_reads_its_standard_output(closed: bool) -> None:
    with program(f"sys.stdin.read()\n{FLOOD}") as ended:
        assert ended.stdin is not None
        assert ended.stdout is not None
        assert ended.stderr is not None
        if closed:
            ended.stdout.close()
        ended.stdin.close()
        assert ended.wait(60) == 0
        assert ended.stderr.read() == b""


def test_standard_output_that_does_not_block_is_waited_for() -> None:
    text = "os.set_blocking(1, False)\nfor number in range(5000): log.info('%d %s', number, 'x' * 100)"
    with program(f"{text}\nfor _ in range(60): log_format.flush()") as ended:
        output, errors = ended.communicate(timeout=60)
    assert errors == b""
    assert [one.split()[0] for one in messages(output)] == [str(number) for number in range(5000)]


def test_a_secret_in_a_warning_or_a_traceback_is_masked() -> None:
    line = told("The database said: password=hunter2", level=logging.WARNING)
    assert "hunter2" not in line
    assert "password=" in line
    try:
        raise ValueError("Authorization: Bearer hunter2hunter2")
    except ValueError:
        assert "hunter2" not in told("It broke", level=logging.ERROR, error=True)


def test_a_secret_that_a_job_or_a_library_logs_is_masked_at_each_level() -> None:
    for name in ("spoils.job", "requests", "shop.jobs"):
        record = logging.LogRecord(name, logging.INFO, "", 0, "login with token=hunter2", None, None)
        assert "hunter2" not in LineFormatter().format(record)


def test_a_secret_in_an_address_is_masked_for_a_developer_too() -> None:
    line = told('127.0.0.1 "GET /jobs?token=hunter2 HTTP/1.1" 200 -', name="werkzeug")
    assert "hunter2" not in line
    assert "GET /jobs?token=" in line


def test_a_value_that_looks_like_more_fields_stands_in_quotes() -> None:
    line = told("Hello", task_type='x action=forged "y"')
    assert 'task_type="x action=forged \\"y\\""' in line
