"""The adapter of the neutral benchmark, driven as the harness drives it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.programs import ENDS_WITHIN, ROOT
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

FINISHED = "SELECT count(*) FROM fang_tasks WHERE state = 'finished'"


def test_the_adapter_enqueues_what_the_harness_asks_for_and_reports_each_metric_of_the_contract(
    database_url: str, rows: Rows, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    settings = {
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "PRODUCER_PACING": "harness",
        "SAMPLE_EVERY_S": "1",
        "WORKER_COUNT": "2",
    }
    with said.open("w") as output:
        adapter = subprocess.Popen(
            [sys.executable, str(ROOT / "bench" / "neutral" / "adapter.py")],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=output,
            text=True,
        )
    assert adapter.stdin is not None

    def records() -> list[dict[str, Any]]:
        return [json.loads(line) for line in said.read_text().splitlines()]

    def highest(metric: str) -> float:
        return max(record["value"] for record in records() if record.get("metric") == metric)

    try:
        with adapter.stdin as harness:
            eventually(lambda: records()[0]["kind"] == "descriptor", 30)
            eventually(lambda: highest("queue_depth") == 0, 30)
            harness.write("ENQUEUE 20\nENQUEUE 30\n")
            harness.flush()
            eventually(lambda: rows.value(FINISHED) == 50, 30)
            eventually(lambda: highest("completion_rate") > 0, 30)
    finally:
        adapter.send_signal(signal.SIGTERM)
        code = adapter.wait(ENDS_WITHIN)

    assert code == 0
    assert highest("enqueue_rate") > 0
    assert 0 < highest("claim_p50_ms") < highest("end_to_end_p99_ms")


def test_the_adapter_s_child_ends_when_the_harness_kills_the_worker(database_url: str) -> None:
    adapter = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "neutral" / "adapter.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT), "DATABASE_URL": database_url, "PRODUCER_RATE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with adapter:
        assert adapter.stdout is not None
        assert json.loads(adapter.stdout.readline())["kind"] == "descriptor"
        adapter.kill()
        adapter.stdout.read()  # ends when the child, which holds the other end, does
    assert adapter.returncode == -signal.SIGKILL
