"""FHIR resources as they were sent."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.create_table(
        "fhir_resources",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fhir_resources")),
        sa.UniqueConstraint("kind", "id", "version", name=op.f("uq_fhir_resources_kind_id_version")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_fhir_resources_patient", "fhir_resources", ["patient_id", "kind"])


def downgrade() -> None:
    op.drop_table("fhir_resources")
