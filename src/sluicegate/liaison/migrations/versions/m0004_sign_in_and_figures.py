"""Lock-out by address, sign-in through a provider, sealed secrets, indexes for figures."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INDEXES = {
    "cases_by_time_and_rank": ("received_at", "rank", "top_pattern"),
    "cases_by_decision": ("decided_at", "received_at", "top_pattern", "outcome"),
    "cases_by_urgency": (
        *("queue", "state", "queued_s", "weight", "id"),
        *("at_risk_minor", "top_pattern", "measure", "assignee", "escalated_at", "account"),
    ),
}


def upgrade() -> None:
    """To this version."""
    for name, columns in INDEXES.items():
        op.drop_index(name, "cases")
        op.create_index(name, "cases", list(columns))
    with op.batch_alter_table("desk_people") as people:
        people.alter_column(
            "totp_secret", type_=sa.String(length=255), existing_type=sa.String(length=64)
        )
        people.add_column(sa.Column("oidc_subject", sa.String(length=64), nullable=True))
        people.drop_column("failures")
        people.drop_column("locked_until")
    op.create_table(
        "desk_attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_good", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["desk_people.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("desk_attempts_by_person", "desk_attempts", ["person_id", "at"], unique=False)
