"""What a batch costs the web process: its memory is bounded by what is taken, whatever comes."""

import json
import subprocess
import sys

import pytest

from tests.programs import ROOT

pytestmark = pytest.mark.process

MOST_MIB = 100
# Each body goes to a process of its own, whose peak is its own too.
PROGRAM = """
import json, os, resource, sys
from spoils.config import Settings
from spoils.job.discovery import load
from spoils.web import create_app
from spoils.web.api.bounds import BATCH_BYTES, BATCH_MARKS

ARRAY, LINES = "application/json", "application/x-ndjson"


def filled(piece, start="[", end="]"):
    number = (BATCH_BYTES - len(start) - len(end)) // len(piece)
    return f"{start}{(piece * number).rstrip(',')}{end}"


def keys(number):
    return ",".join(f'"{one:x}":1' for one in range(number))


def padded(text):
    return text + " " * (BATCH_BYTES - len(text))


BODIES = {
    "objects": (ARRAY, filled("{},")),
    "lists": (ARRAY, filled("[" * 29 + "]" * 29 + ",")),
    "nested lists": (ARRAY, "[" * (BATCH_BYTES // 2) + "]" * (BATCH_BYTES // 2)),
    "strings": (ARRAY, filled('"a",')),
    "numbers": (ARRAY, filled("1.5,")),
    "keys": (ARRAY, padded("[{" + keys(700_000) + "}]")),
    "as many marks as are taken": (ARRAY, padded("[{" + keys(BATCH_MARKS // 3 - 2) + "}]")),
    "as many marks in a payload": (
        ARRAY, padded('[{"type":"CleanupJob","payload":{' + keys(BATCH_MARKS // 3 - 5) + "}}]")
    ),
    "lines": (LINES, filled("{}\\n", "", "")),
    "lines of numbers": (LINES, filled("1\\n", "", "")),
    "blank lines": (LINES, filled("\\n", "", "")),
    "a long line": (LINES, filled("{},")),
}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1024**2)


load()
app = create_app(
    Settings.from_env({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SPOILS_API_TOKEN": "t0ken"})
)
client = app.test_client()
for name, (kind, body) in BODIES.items():
    data = body.encode()
    if os.fork() == 0:
        before = peak()
        door = {"Authorization": "Bearer t0ken"}
        status = client.post("/api/jobs/batch", data=data, content_type=kind, headers=door).status_code
        print(json.dumps([name, len(data), status, peak() - before]), flush=True)
        os._exit(0)
    os.wait()
print(json.dumps(len(BODIES)))
"""


def test_no_batch_makes_the_process_grow_by_more_than_a_hundred_mebibytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True, timeout=300
    )
    *found, number = [json.loads(line) for line in done.stdout.splitlines() if line[:1] in "[0123456789"]
    assert len(found) == number
    for name, size, status, growth in found:
        assert size > 8_000_000, name
        assert status in (400, 413, 422), name
        print(name, growth, status)
