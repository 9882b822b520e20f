"""Hashes of facts begin with the minute of the fact, so that the index of them grows at its end.

What was stored before is called anew, so that a fact sent again is still known. Rows that withdraw a mark
(their hash ends in `w`) are named after the mark, and stay.
"""

from alembic import op

revision = "6"
down_revision = "5"

SQLITE = (
    "drop trigger facts_update",
    "update facts set hash ="
    " printf('%08x', max(0, (time + 4503599627370496) / 60000000)) || substr(hash, 1, 24)"
    " where hash not like '%w'",
    "create trigger facts_update before update on facts begin\n"
    "  select raise(abort, 'facts are only ever added');\nend",
)
POSTGRESQL = (
    "alter table facts disable trigger facts_update",
    "update facts set hash ="
    " lpad(to_hex(greatest(0, (time + 4503599627370496) / 60000000)), 8, '0') || substr(hash, 1, 24)"
    " where right(hash, 1) <> 'w'",
    "alter table facts enable trigger facts_update",
)


def upgrade() -> None:
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.get_bind().exec_driver_sql(statement)
