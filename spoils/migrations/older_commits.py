"""Brings a database of a commit before 0.1.0, at 0001 … 0010, to revision 0011 with every row kept.

The products and analyses in such a database are adopted by the food service's own first revision.
"""

from sqlalchemy import Connection, text

from spoils.migrations.versions import r0011_queue as queue

# Objects may be in a schema that is no longer the first one of the path; new ones go to the same schema.
USE_SCHEMA = text(
    """
    SELECT set_config(
        'search_path', relnamespace::regnamespace::text || ', ' || current_setting('search_path'), true
    )
    FROM pg_class WHERE oid = 'fang_tasks'::regclass
    """
)
SET_QUARTERS_ASIDE = """
ALTER TABLE spoils_quarters RENAME TO spoils_quarters_by_bucket;
ALTER INDEX spoils_quarters_pkey RENAME TO spoils_quarters_by_bucket_pkey;
"""
ROLL_UP_QUARTERS = """
INSERT INTO spoils_quarters
SELECT quarter, task_type, outcome, sum(count), sum(ran_ms),
       array_agg(bucket ORDER BY bucket), array_agg(count ORDER BY bucket)
FROM spoils_quarters_by_bucket GROUP BY quarter, task_type, outcome;
DROP TABLE spoils_quarters_by_bucket;
"""
# The table was made by Spoils: the crate's ids have another default or its types are TEXT, and the guide's times have
# no default. An adopted table keeps its defaults.
ORDER_IDS = """
DO $$
BEGIN
    IF 3 = (
        SELECT count(*) FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'fang_tasks'
          AND (column_name = 'id' AND column_default = 'gen_random_uuid()'
               OR column_name = 'task_type' AND data_type = 'character varying'
               OR column_name = 'created_at' AND column_default = 'now()')
    ) THEN
        ALTER TABLE fang_tasks ALTER COLUMN id SET DEFAULT spoils_new_id();
    END IF;
END $$;
"""
# NULL: whether the table was adopted is not on record.
RECORD_ADOPTION = "ALTER TABLE spoils_version ADD COLUMN adopted BOOLEAN"
STAMP = "UPDATE spoils_version SET version_num = '0011'"


def take_over(connection: Connection, revision: str) -> None:
    """Apply what the database at `revision` lacks of revision 0011; part of the connection's transaction."""
    connection.execute(USE_SCHEMA)
    if revision < "0002":
        _run(connection, queue.PAUSES, queue.QUARTERS, "ALTER TABLE spoils_ticks ADD COLUMN reason VARCHAR")
    elif revision < "0005":
        _run(connection, SET_QUARTERS_ASIDE, queue.QUARTERS, ROLL_UP_QUARTERS)
    if revision < "0003":
        _run(connection, queue.OPERATORS, queue.ATTEMPTS_BY_GROUP)
    if revision < "0004":
        _run(connection, queue.IDEMPOTENCY_KEYS)
    if revision < "0007":
        _run(connection, queue.NEW_ID, ORDER_IDS)
    if revision < "0010":
        queue.create_functions(connection)
        _run(connection, RECORD_ADOPTION)
    if revision < "0011":
        _run(connection, queue.LOGOUTS, STAMP)


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
