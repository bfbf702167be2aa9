"""New ids are ordered by time, so that what is new stands together in the primary key, however long the history is."""

from alembic import op

revision = "0007"
down_revision = "0006"

# Version 7 of RFC 9562: 48 bits of milliseconds since 1970, then the noise of a version-4 id, with its version changed.
# No search path of its own, with which the server could not put it in the place of its call.
NEW_ID = """
CREATE FUNCTION spoils_new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid
$$;
GRANT EXECUTE ON FUNCTION spoils_new_id() TO PUBLIC;
"""

# A table that fang or the guide made keeps its defaults: the crate's ids have another one or its types are TEXT, and
# the guide's moments have none.
MADE_HERE = """
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


def upgrade() -> None:
    """Change what a row without an id gets. Rows that are there keep theirs, and any id may be given."""
    op.execute(NEW_ID)
    op.execute(MADE_HERE)
