"""Identity queries, handovers of shifts, and an index for the figures."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """To this version."""
    op.create_index("cases_by_decision", "cases", ["decided_at"], unique=False)
    op.create_table(
        "desk_holders",
        sa.Column("account", sa.String(length=34), nullable=False),
        sa.Column("holder_id", sa.String(length=64), nullable=True),
        sa.Column("holder_kind", sa.String(length=16), nullable=True),
        sa.Column("birth_year", sa.Integer(), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("branch", sa.String(length=64), nullable=True),
        sa.Column("region", sa.String(length=64), nullable=True),
        sa.Column("documents_expire_on", sa.Date(), nullable=True),
        sa.Column("enterprise_status", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_index(op.f("ix_desk_holders_holder_id"), "desk_holders", ["holder_id"], unique=False)
    op.create_table(
        "desk_identity_queries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("case_number", sa.String(length=64), nullable=False),
        sa.Column("document_kind", sa.String(length=2), nullable=False),
        sa.Column("document_number", sa.String(length=64), nullable=False),
        sa.Column("file_name", sa.String(length=128), nullable=False),
        sa.Column("file_type", sa.String(length=64), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("file_content", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["desk_people.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "desk_identity_queries_by_person",
        "desk_identity_queries",
        ["person_id", "at"],
        unique=False,
    )
    op.create_table(
        "desk_handovers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("shift_began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("given_by", sa.Integer(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_by", sa.Integer(), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["given_by"], ["desk_people.id"]),
        sa.ForeignKeyConstraint(["taken_by"], ["desk_people.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_desk_handovers_given_at"), "desk_handovers", ["given_at"], unique=False
    )
