"""The fitted model that an alert was judged with."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """To this version."""
    op.add_column("alerts", sa.Column("model_version", sa.String(length=64), nullable=True))
