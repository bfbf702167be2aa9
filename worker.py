"""The worker program: `python worker.py`."""

from spoils.cli.worker import worker_program

if __name__ == "__main__":
    worker_program()
