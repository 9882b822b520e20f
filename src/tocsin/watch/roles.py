"""Who may do what, in one place."""

from __future__ import annotations

from dataclasses import dataclass

_NURSE = frozenset(
    {"facts:write", "patients:read", "patients:write", "alerts:act", "report:read", "home:invite"}
)
#: The role of a patient's own page. It opens no door of the ward, `POST /facts` included: the page makes
#: the facts itself, of its own patient.
PATIENT = "patient"
#: What each role may do. A device only sends; an evaluator only looks, also at what is not shown yet.
PERMISSIONS: dict[str, frozenset[str]] = {
    "device": frozenset({"facts:write"}),
    "nurse": _NURSE,
    "physician": _NURSE | {"attribution:write", "definitions:approve", "patients:merge"},
    "evaluator": frozenset({"patients:read", "shadow:read", "report:read"}),
    "admin": frozenset(
        {
            "accounts:manage", "tokens:manage", "audit:read", "patients:merge", "patients:erase",
            "report:read", "patients:write",
        }
    ),
    PATIENT: frozenset({"home:use"}),
}  # fmt: skip
#: Roles of accounts and tokens: the patient's is given by an invitation alone.
ROLES = tuple(name for name in PERMISSIONS if name != PATIENT)
#: What an HL7 v2 connection may do besides what its role (device) may: a hospital's admission system says
#: who lies where and which records are one person's. It may not see anybody, nor judge.
INTERFACE = frozenset({"patients:write", "patients:merge"})
EVERYTHING = frozenset(name for each in PERMISSIONS.values() for name in each)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a person by session, a program by token, a hospital's system by HL7 v2 (`kind` is `hl7`).
    With `patient_id`, held to that patient."""

    name: str
    role: str
    patient_id: str | None = None
    kind: str = "session"


#: The service itself.
SYSTEM = Actor("system", "system", None, "system")


def may(actor: Actor, permission: str) -> bool:
    """Whether a role includes something.

    >>> may(Actor("m", "nurse"), "alerts:act"), may(Actor("m", "device"), "patients:read")
    (True, False)
    >>> may(Actor("hl7 192.0.2.1", "device", kind="hl7"), "patients:merge")
    True
    """
    if permission not in EVERYTHING:
        raise KeyError(permission)
    if actor.kind == "hl7" and permission in INTERFACE:
        return True
    return actor.role == "system" or permission in PERMISSIONS.get(actor.role, frozenset())
