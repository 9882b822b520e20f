"""Cards shown in record systems, what became of them, and the signed tokens that were used."""

import sqlalchemy as sa
from alembic import op

revision = "2cds"
down_revision = "1"

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cds_cards",
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("scale", sa.Text(), nullable=True),
        sa.Column("grade", sa.SmallInteger(), nullable=True),
        sa.Column("up_to", sa.SmallInteger(), nullable=True),
        sa.Column("indicator", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=True),
        sa.Column("given", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_cds_cards")),
    )
    op.create_index(op.f("ix_cds_cards_patient_id"), "cds_cards", ["patient_id"], unique=False)
    op.create_index(op.f("ix_cds_cards_given"), "cds_cards", ["given"], unique=False)
    op.create_table(
        "cds_feedback",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("card", sa.String(length=36), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("display", sa.Text(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cds_feedback")),
        sa.UniqueConstraint("hash", name=op.f("uq_cds_feedback_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_cds_feedback_card"), "cds_feedback", ["card"], unique=False)
    op.create_index(op.f("ix_cds_feedback_patient_id"), "cds_feedback", ["patient_id"], unique=False)
    op.create_table(
        "cds_seen",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_cds_seen")),
    )
    op.create_index(op.f("ix_cds_seen_expires"), "cds_seen", ["expires"], unique=False)
