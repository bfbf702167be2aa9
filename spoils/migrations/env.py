"""Run by Alembic: brings one database to the newest revision on the connection that `spoils.db.migrate` hands over."""

from alembic import context

from spoils.models import db

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=db.metadata,
    version_table="spoils_version",
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
