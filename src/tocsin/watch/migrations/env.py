"""Runs the migrations on the connection that `migrate.upgrade` hands in."""

from alembic import context

from tocsin.watch.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
