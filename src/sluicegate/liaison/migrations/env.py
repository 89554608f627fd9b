"""Run by Alembic: on the connection that `schema.prepare_tables` holds."""

from alembic import context

import sluicegate.desk.tables
import sluicegate.liaison.cases  # noqa: F401 - both add their tables to Base
from sluicegate.liaison.database import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
