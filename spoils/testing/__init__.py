"""For tests of an application's own jobs: run one job alone, run all that are due, look at what waits.

The fixture `spoils_database` of the pytest plugin (`pytest_spoils.py`) gives a test a database of its own.
"""

from spoils.testing.performing import Performed, drain, enqueued, perform

__all__ = ["Performed", "drain", "enqueued", "perform"]
