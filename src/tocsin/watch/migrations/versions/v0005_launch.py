"""Which account is whose, of people who come from a record system."""

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    op.create_table(
        "launch_accounts",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.name"], name=op.f("fk_launch_accounts_account")
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_launch_accounts")),
        sa.UniqueConstraint("account", name=op.f("uq_launch_accounts_account")),
    )
