"""The worker program. Without the web's modules, which would stay in each worker's memory."""

import argparse
import logging
import sys

from spoils.cli.start import await_schema, begin, check_worker_settings, guarded, ready_url, starting_engine
from spoils.job.registry import registry
from spoils.worker.attempt import interrupt_at_line
from spoils.worker.family import PARENT_OPTION, Family
from spoils.worker.supervisor import Supervisor


def worker_program() -> int:
    """`python worker.py`: one worker process, or a parent and its children, until told to stop. The exit code."""
    parser = argparse.ArgumentParser(description="Performs jobs until it is told to stop.")
    parser.add_argument(PARENT_OPTION, dest="parent", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--development", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    parent: int | None = given.parent

    def program() -> int:
        settings = begin(development=given.development)
        for handler in logging.getLogger().handlers:
            handler.addFilter(interrupt_at_line)
        check_worker_settings(settings)
        url = ready_url(settings)
        engine = starting_engine(url)
        await_schema(engine, parent=parent)
        engine.dispose()
        if parent is None and settings.worker_processes > 1:
            return Family(
                processes=settings.worker_processes,
                command=[sys.executable, *sys.argv],
                shutdown_seconds=settings.shutdown_seconds,
            ).run()
        return Supervisor(settings=settings, registry=registry, database_url=url, parent=parent).run()

    return guarded(program)
