"""A database for several tests, as if each had its own."""

import psycopg2

from spoils.models import db
from tests.support import eventually

OTHERS = """
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> ''
"""


def emptied(url: str, *, pooled: bool = False) -> None:
    """Make it what it was after its migration. Whoever is still connected is cut off.

    Where it is `pooled` their ends are waited for: a pooler gives a session that it has not seen die yet to whoever
    comes next.
    """
    tables = [table.name for table in reversed(db.metadata.sorted_tables)]
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        # All at once: with a timeout pg_terminate_backend would wait 100 ms for each of them.
        cursor.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")

        def gone() -> None:
            cursor.execute(f"SELECT {OTHERS}")
            assert not cursor.rowcount

        if pooled:
            eventually(gone)
        # Deleting a few rows is faster than truncating a dozen tables; the counts go after their trigger has written.
        emptying = [
            f"DELETE FROM {table}" for table in sorted(tables, key=lambda name: name == "spoils_counts")
        ]
        cursor.execute("; ".join(["DROP TABLE IF EXISTS effects", *emptying]))
    connection.close()
