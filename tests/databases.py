"""A database for several tests, as if each had its own."""

import psycopg2

from spoils.models import db


def emptied(url: str) -> None:
    """Make it what it was after its migration. Whoever is still connected is cut off."""
    tables = [table.name for table in reversed(db.metadata.sorted_tables)]
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> ''"
        )
        cursor.execute("DROP TABLE IF EXISTS effects")
        # Deleting a few rows is faster than truncating a dozen tables; the counts go after their trigger has written.
        for table in sorted(tables, key=lambda name: name == "spoils_counts"):
            cursor.execute(f"DELETE FROM {table}")
    connection.close()
