"""Who may open a patient's own page from home, and the sessions of their browsers."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    op.create_table(
        "home_access",
        sa.Column("id", sa.String(length=22), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("link", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("devices", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_home_access")),
        sa.UniqueConstraint("link", name=op.f("uq_home_access_link")),
    )
    op.create_index(op.f("ix_home_access_patient_id"), "home_access", ["patient_id"], unique=False)
    op.create_table(
        "home_sessions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("access", sa.String(length=22), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["access"], ["home_access.id"], name=op.f("fk_home_sessions_access"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_home_sessions")),
    )
    op.create_index(op.f("ix_home_sessions_access"), "home_sessions", ["access"], unique=False)
