"""The worker program. Without the web's modules, which would stay in each worker's memory."""

import logging
import sys

import click

from spoils.cli import lifeline
from spoils.cli.command import Command
from spoils.cli.composition import branches
from spoils.cli.start import (
    await_schema,
    begin,
    check_worker_settings,
    ready_url,
    starting_engine,
)
from spoils.job.registry import registry
from spoils.worker.attempt import interrupt_at_line
from spoils.worker.probes import Probes
from spoils.worker.processes import PARENT_OPTION, WorkerProcesses
from spoils.worker.supervisor import Supervisor


@click.command(cls=Command)
@click.option(PARENT_OPTION, "parent", type=int, hidden=True)
@lifeline.option
def worker_program(parent: int | None, descriptor: int | None) -> int:
    """Perform jobs until a signal stops it: one worker process, or a parent and its children."""
    if descriptor is not None and parent is None:  # the children of a family end with their own parent
        lifeline.watch(descriptor)
    settings = begin(development=descriptor is not None)
    for handler in logging.getLogger().handlers:
        handler.addFilter(interrupt_at_line)
    check_worker_settings(settings)
    url = ready_url(settings)
    engine = starting_engine(url)
    await_schema(engine, branches(settings), parent=parent)
    engine.dispose()
    recycled = settings.worker_jobs_max is not None or settings.worker_mb_max is not None
    if parent is None and (settings.worker_processes > 1 or recycled):
        program: WorkerProcesses | Supervisor = WorkerProcesses(
            processes=settings.worker_processes,
            command=[sys.executable, *sys.orig_argv[1:]],
            shutdown_seconds=settings.shutdown_seconds,
        )
    else:
        program = Supervisor(settings=settings, registry=registry, database_url=url, parent=parent)
    if parent is None and settings.probe_port is not None:
        Probes(settings.probe_port, program.is_ready)
    return program.run()


if __name__ == "__main__":
    worker_program()
