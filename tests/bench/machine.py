"""What is measured on."""

import os
import platform
from pathlib import Path

from tests.bench.server import ask


def description(server_url: str) -> str:
    """One line: processor, cores, memory, Python, PostgreSQL."""
    models = [
        line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")
    ]
    kilobytes = next(
        (int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0
    )
    version = ask(server_url, "SHOW server_version")[0].split()[0]
    return (
        f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, {kilobytes / 2**20:.0f} GiB, "
        f"Python {platform.python_version()}, PostgreSQL {version} with its default settings"
    )


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
