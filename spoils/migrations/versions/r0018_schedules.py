"""Schedules made at runtime, in the table of those that classes have."""

from alembic import op

revision = "0018"
down_revision = "0017"

# NULLs are distinct, so a schedule without a class's name never meets the key by which workers find those of classes.
STATEMENTS = (
    "ALTER TABLE spoils_schedules ALTER COLUMN job DROP NOT NULL",
    "ALTER TABLE spoils_schedules ADD COLUMN name VARCHAR",
    "ALTER TABLE spoils_schedules ADD COLUMN runtime_job VARCHAR",
    "ALTER TABLE spoils_schedules ADD COLUMN payload JSONB",
    "ALTER TABLE spoils_schedules ADD COLUMN version INTEGER DEFAULT 1 NOT NULL",
    "ALTER TABLE spoils_schedules ADD COLUMN made_by VARCHAR",
    "ALTER TABLE spoils_schedules ADD COLUMN paused_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE spoils_schedules ADD COLUMN paused_by VARCHAR",
    "ALTER TABLE spoils_schedules ADD COLUMN ping_url VARCHAR",
    "ALTER TABLE spoils_ticks ADD COLUMN pinged_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE spoils_schedules ADD CONSTRAINT spoils_schedules_name_key UNIQUE (name)",
)


def upgrade() -> None:
    """Add the columns; schedules of classes leave them empty."""
    for statement in STATEMENTS:
        op.execute(statement)
