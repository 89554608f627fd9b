"""The desk: people, sessions, audit, work on cases, measures, lists, outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """To this version."""
    _widen_cases()
    _make_tables()
    _seal_audit()


def _widen_cases() -> None:
    op.add_column(
        "cases", sa.Column("came_in_minor", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "cases", sa.Column("went_out_minor", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "cases", sa.Column("at_risk_minor", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("cases", sa.Column("weight", sa.Float(), nullable=False, server_default="0"))
    op.add_column(
        "cases", sa.Column("top_pattern", sa.String(length=64), nullable=False, server_default="")
    )
    op.add_column(
        "cases", sa.Column("queued_s", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "cases",
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default="1970-01-01 00:00:00+00:00",
        ),
    )
    op.add_column(
        "cases", sa.Column("state", sa.String(length=16), nullable=False, server_default="waiting")
    )
    op.add_column("cases", sa.Column("assignee", sa.Integer(), nullable=True))
    op.add_column("cases", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("cases", sa.Column("outcome", sa.String(length=32), nullable=True))
    op.add_column("cases", sa.Column("escalated_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "UPDATE cases SET at_risk_minor = amount_minor, changed_at = received_at, "
        "weight = rank * CASE WHEN amount_minor > 100 THEN amount_minor ELSE 100 END"
    )
    seconds = {
        "sqlite": "CAST(strftime('%s', received_at) AS INTEGER)",
        "postgresql": "CAST(extract(epoch FROM received_at) AS BIGINT)",
    }
    name = op.get_context().dialect.name
    if name in seconds:
        op.execute(f"UPDATE cases SET queued_s = {seconds[name]}")  # noqa: S608 - of the two above
    op.create_index(
        "cases_by_lateness", "cases", ["queue", "escalated_at", "state", "queued_s"], unique=False
    )
    op.create_index("cases_by_assignee", "cases", ["assignee", "state"], unique=False)
    op.create_index(
        "cases_by_urgency",
        "cases",
        [
            *("queue", "state", "queued_s", "weight", "id"),
            *("at_risk_minor", "top_pattern", "measure", "assignee", "escalated_at"),
        ],
    )
    op.create_index(op.f("ix_cases_changed_at"), "cases", ["changed_at"], unique=False)


def _make_tables() -> None:
    op.create_table(
        "desk_audit",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index(op.f("ix_desk_audit_subject"), "desk_audit", ["subject"], unique=False)
    op.create_table(
        "desk_audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "desk_outbox",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=16), nullable=False),
        sa.Column("account", sa.String(length=34), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index(op.f("ix_desk_outbox_sent_at"), "desk_outbox", ["sent_at"], unique=False)
    op.create_table(
        "desk_people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("full_name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("is_password_temporary", sa.Boolean(), nullable=False),
        sa.Column("totp_secret", sa.String(length=64), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "desk_unmaskings",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "case_id"),
    )
    op.create_table(
        "desk_attachments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=2), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("media_type", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["cases.id"],
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["desk_people.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_desk_attachments_case_id"), "desk_attachments", ["case_id"], unique=False
    )
    op.create_table(
        "desk_listings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=34), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("counterparty", sa.String(length=34), nullable=True),
        sa.Column("patterns", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("proposed_by", sa.Integer(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["cases.id"],
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"],
            ["desk_people.id"],
        ),
        sa.ForeignKeyConstraint(
            ["proposed_by"],
            ["desk_people.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_desk_listings_account"), "desk_listings", ["account"], unique=False)
    op.create_index(op.f("ix_desk_listings_case_id"), "desk_listings", ["case_id"], unique=False)
    op.create_index(op.f("ix_desk_listings_state"), "desk_listings", ["state"], unique=False)
    op.create_table(
        "desk_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["cases.id"],
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["desk_people.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_desk_notes_case_id"), "desk_notes", ["case_id"], unique=False)
    op.create_table(
        "desk_sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["desk_people.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_desk_sessions_person_id"), "desk_sessions", ["person_id"], unique=False
    )
    op.create_table(
        "desk_views",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("query", sa.String(length=512), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["desk_people.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("person_id", "name"),
    )
    op.create_table(
        "desk_measures",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(length=34), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("measure", sa.String(length=32), nullable=False),
        sa.Column("of_id", sa.String(length=32), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("basis", sa.String(length=16), nullable=False),
        sa.Column("ground", sa.String(length=16), nullable=True),
        sa.Column("whole_because", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("document_kind", sa.String(length=2), nullable=True),
        sa.Column("document_number", sa.String(length=64), nullable=True),
        sa.Column("attachment_id", sa.Integer(), nullable=True),
        sa.Column("police_code", sa.String(length=4), nullable=True),
        sa.Column("hours", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("proposed_by", sa.Integer(), nullable=True),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Integer(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("warned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.String(length=16), nullable=True),
        sa.Column("answer_detail", sa.Text(), nullable=True),
        sa.Column("answer_code", sa.String(length=4), nullable=True),
        sa.Column("held_minor", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["attachment_id"],
            ["desk_attachments.id"],
        ),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["cases.id"],
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"],
            ["desk_people.id"],
        ),
        sa.ForeignKeyConstraint(
            ["proposed_by"],
            ["desk_people.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "desk_measures_by_expiry", "desk_measures", ["state", "expires_at"], unique=False
    )
    op.create_index(op.f("ix_desk_measures_account"), "desk_measures", ["account"], unique=False)
    op.create_index(op.f("ix_desk_measures_case_id"), "desk_measures", ["case_id"], unique=False)
    op.create_index(op.f("ix_desk_measures_of_id"), "desk_measures", ["of_id"], unique=False)
    op.create_index(op.f("ix_desk_measures_state"), "desk_measures", ["state"], unique=False)


def _seal_audit() -> None:
    """The chain begins; the database itself refuses changes of what was added."""
    op.execute(f"INSERT INTO desk_audit_head (id, seq, hash) VALUES (1, 0, '{'0' * 64}')")  # noqa: S608 - a constant
    match op.get_context().dialect.name:
        case "sqlite":
            for change in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER desk_audit_no_{change.lower()} BEFORE {change} ON desk_audit "
                    "BEGIN SELECT RAISE(ABORT, 'rows are only ever added'); END"
                )
        case "postgresql":
            op.execute(
                "CREATE FUNCTION desk_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
                "BEGIN RAISE EXCEPTION 'rows are only ever added'; END $$"
            )
            op.execute(
                "CREATE TRIGGER desk_audit_refuse "
                "BEFORE UPDATE OR DELETE OR TRUNCATE ON desk_audit "
                "FOR EACH STATEMENT EXECUTE FUNCTION desk_audit_refuse()"
            )
