"""For tests of an application's own jobs: run one job alone, run all that are due, look at what waits.

The fixture `spoils_database` of the pytest plugin (`pytest_spoils.py`) gives a test a database of its own.
"""

from spoils.testing.one_job import perform
from spoils.testing.recorder import Performed
from spoils.testing.whole_queue import drain, enqueued

__all__ = ["Performed", "drain", "enqueued", "perform"]
