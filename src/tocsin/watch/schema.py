"""The tables of the store: what the service remembers. Times are microseconds since 1970, UTC.

Facts and audit entries are only ever added (triggers in the first migration see to it). What a person is
called stands in `patients` alone: everything else knows a patient by `patient_id` (the sender's) or, in
addresses and in the audit log, by `ref` (ours, random), so that erasing a person leaves the log intact.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

#: SQLite numbers rows by itself only where the key is called INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

patients = Table(
    "patients",
    metadata,
    Column("patient_id", Text, primary_key=True),
    Column("ref", String(22), nullable=False, unique=True),
    Column("name", Text),
    Column("record_number", Text),
    Column("birth_date", String(10)),
    Column("sex", Text),
    Column("ward", Text),
    Column("bed", Text),
    Column("language", Text),
    Column("time_zone", Text),
    Column("team_phone", Text),
    Column("allergies", Text),
    Column("created", BigInteger, nullable=False),
    Column("discharged", BigInteger),
    Column("merged_into", Text, ForeignKey("patients.patient_id"), index=True),
)

facts = Table(
    "facts",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("patient_id", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("measure", Text, nullable=False),
    Column("value", Float),
    Column("text", Text),
    Column("unit", Text),
    Column("end", BigInteger),
    Column("ref_low", Float),
    Column("ref_high", Float),
    Column("method", Text),
    Column("recorded", BigInteger),
    Column("source", Text, nullable=False),
    Column("replaces", Text),
    Column("pending", SmallInteger, nullable=False, default=0),
    Column("charted_value", Float),
    Column("charted_unit", Text),
    Column("received", BigInteger, nullable=False),
    Column("sender", Text, nullable=False),
    Column("hash", String(32), nullable=False, unique=True),
    Index("ix_facts_patient_time", "patient_id", "time"),
    # rows that could not be read are few, and looked for at every write
    Index(
        "ix_facts_unusable",
        "patient_id",
        sqlite_where=text("text = 'unusable'"),
        postgresql_where=text("text = 'unusable'"),
    ),
    # the number of an erased fact is never given again: who follows by numbers would miss the new one
    sqlite_autoincrement=True,
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("patient_id", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("scale", Text),
    Column("grade", SmallInteger),
    Column("up_to", SmallInteger),
    Column("before", SmallInteger),
    Column("what", Text),
    Column("definition", Text),
    Column("role", Text, nullable=False),
    Column("shadow", Boolean, nullable=False),
    Column("raised", BigInteger, nullable=False, index=True),
    Column("acknowledged", BigInteger),
    Column("acknowledged_by", Text),
    Column("dismissed", BigInteger),
    Column("dismissed_by", Text),
    Column("reason", Text),
    Column("snoozed_until", BigInteger),
    Column("closed", BigInteger),
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password", Text),
    Column("role", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("disabled", BigInteger),
)

#: Accounts of people who come from a record system: whose word for them, which account.
launch_accounts = Table(
    "launch_accounts",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("account", Text, ForeignKey("accounts.name"), nullable=False, unique=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("account", Text, ForeignKey("accounts.name"), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("patient_id", Text),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", BigInteger),
)

invitations = Table(
    "invitations",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("role", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("used", BigInteger),
)

#: Who may open a patient's own page: invited by the ward, with a link and a code that are kept as hashes.
home_access = Table(
    "home_access",
    metadata,
    Column("id", String(22), primary_key=True),
    Column("patient_id", Text, nullable=False, index=True),
    Column("link", String(64), nullable=False, unique=True),
    Column("code", String(64), nullable=False),
    Column("who", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("used", BigInteger),
    Column("ended", BigInteger),
    Column("ended_by", Text),
    # what the phone's owner chose: the unit of the thermometer, which devices there are
    Column("unit", Text),
    Column("devices", Text),
)

home_sessions = Table(
    "home_sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column(
        "access", String(22), ForeignKey("home_access.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("csrf", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("definition", Text, nullable=False),
    Column("hash", String(64), nullable=False, index=True),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("withdrawn", BigInteger),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("patient", Text, index=True),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

#: FHIR resources of which something is used here, as they were sent; a later version is a new row. Patients'
#: own are not among them: what is known of a patient stands in `patients`.
fhir_resources = Table(
    "fhir_resources",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("kind", String(40), nullable=False),
    Column("id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("patient_id", Text),
    Column("received", BigInteger, nullable=False),
    Column("digest", String(32), nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("kind", "id", "version"),
    Index("ix_fhir_resources_patient", "patient_id", "kind"),
    sqlite_autoincrement=True,
)

#: Cards shown in record systems; `patient_id` only where the person is one of ours.
cds_cards = Table(
    "cds_cards",
    metadata,
    Column("uuid", String(36), primary_key=True),
    Column("patient_id", Text, index=True),
    Column("client", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("hook", Text, nullable=False),
    Column("scale", Text),
    Column("grade", SmallInteger),
    Column("up_to", SmallInteger),
    Column("indicator", Text, nullable=False),
    Column("definition", Text),
    Column("given", BigInteger, nullable=False, index=True),
)

#: What became of them.
cds_feedback = Table(
    "cds_feedback",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("card", String(36), nullable=False, index=True),
    Column("patient_id", Text, index=True),
    Column("outcome", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("accepted", Text, nullable=False),
    Column("code", Text),
    Column("system", Text),
    Column("display", Text),
    Column("comment", Text),
    Column("received", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

#: Signed tokens that were used, by the hash of what names them; `expires` in seconds.
cds_seen = Table(
    "cds_seen",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)

#: Small things said once: whether this store is a demonstration, what was set.
settings = Table(
    "settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
