"""The commands, and how the programs are put together."""

from spoils.cli.commands import main
from spoils.cli.programs import development_app, production_app, worker_program

__all__ = ["development_app", "main", "production_app", "worker_program"]
