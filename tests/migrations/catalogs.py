"""What a schema consists of, as PostgreSQL's catalogs have it."""

from sqlalchemy import Connection, text

CATALOGS = {
    "columns": r"""
        SELECT table_name, column_name, data_type, udt_name, character_maximum_length, is_nullable,
               is_identity, regexp_replace(column_default, '^''(.*)''::smallint$', '\1')
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '%\_version'
    """,
    "indexes": r"SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename NOT LIKE '%\_version'",
    "constraints": r"""
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
          AND conrelid::regclass::text NOT LIKE '%\_version'
          AND contype NOT IN ('n', 't') -- PostgreSQL 18 names each NOT NULL; triggers are code
    """,
}
CODE = {
    "options": """
        SELECT relname, relkind, reloptions FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND (reloptions IS NOT NULL OR relkind = 'S')
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    """,
    "functions": r"""
        SELECT pg_get_functiondef(oid), proacl::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'spoils\_%'
    """,
}


def tables(connection: Connection) -> set[tuple[object, ...]]:
    """Columns, indexes and constraints: what models describe."""
    return _rows(connection, CATALOGS)


def everything(connection: Connection) -> set[tuple[object, ...]]:
    """Tables, storage options, sequences, triggers and functions."""
    return _rows(connection, CATALOGS | CODE)


def _rows(connection: Connection, catalogs: dict[str, str]) -> set[tuple[object, ...]]:
    return {
        (kind, *(tuple(value) if isinstance(value, list) else value for value in row))
        for kind, statement in catalogs.items()
        for row in connection.execute(text(statement))
    }
