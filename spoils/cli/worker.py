"""The worker program. Without the web's modules, which would stay in each worker's memory."""

import argparse
import logging
import sys

from spoils.cli import lifeline
from spoils.cli.start import (
    await_schema,
    begin,
    check_worker_settings,
    guarded,
    ready_url,
    refuse_rest,
    starting_engine,
)
from spoils.job.registry import registry
from spoils.worker.attempt import interrupt_at_line
from spoils.worker.processes import PARENT_OPTION, WorkerProcesses
from spoils.worker.supervisor import Supervisor


def worker_program() -> int:
    """`python worker.py`: one worker process, or a parent and its children, until told to stop. The exit code."""
    parser = argparse.ArgumentParser(description="Performs jobs until it is told to stop.")
    parser.add_argument(PARENT_OPTION, dest="parent", type=int, help=argparse.SUPPRESS)
    lifeline.add_to(parser)
    given, rest = parser.parse_known_args()
    refuse_rest(parser, rest)
    parent: int | None = given.parent
    if given.lifeline is not None and parent is None:  # the children of a family end with their own parent
        lifeline.watch(given.lifeline)

    def program() -> int:
        settings = begin(development=given.lifeline is not None)
        for handler in logging.getLogger().handlers:
            handler.addFilter(interrupt_at_line)
        check_worker_settings(settings)
        url = ready_url(settings)
        engine = starting_engine(url)
        await_schema(engine, parent=parent)
        engine.dispose()
        if parent is None and settings.worker_processes > 1:
            return WorkerProcesses(
                processes=settings.worker_processes,
                command=[sys.executable, *sys.argv],
                shutdown_seconds=settings.shutdown_seconds,
            ).run()
        return Supervisor(settings=settings, registry=registry, database_url=url, parent=parent).run()

    return guarded(program)
