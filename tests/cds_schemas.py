"""JSON schemas of what CDS Hooks 2.0 lets a service say, from the tables of the specification."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "minLength": 1}
URL = {"type": "string", "pattern": "^https?://[^\\s]+$"}
CODING = {
    "type": "object", "required": ["code", "system"], "additionalProperties": False,
    "properties": {"code": TEXT, "system": TEXT, "display": TEXT},
}  # fmt: skip

#: "Discovery", Response; prefetch templates hold only tokens of the hook's context or of the user.
TEMPLATE = {
    "type": "string",
    "pattern": (
        "^([^{}]|\\{\\{(context\\.(userId|patientId|encounterId)|user(Practitioner|PractitionerRole|Patient|"
        "RelatedPerson)Id)\\}\\})+$"
    ),
}
DISCOVERY: dict[str, Any] = {
    "type": "object", "required": ["services"], "additionalProperties": False,
    "properties": {
        "services": {
            "type": "array",
            "items": {
                "type": "object", "required": ["hook", "description", "id"], "additionalProperties": False,
                "properties": {
                    "hook": TEXT, "title": TEXT, "description": TEXT, "id": TEXT, "usageRequirements": TEXT,
                    "prefetch": {"type": "object", "minProperties": 1, "additionalProperties": TEMPLATE},
                },
            },
        }
    },
}  # fmt: skip

REASON = {**CODING, "required": ["code", "system", "display"]}

#: "CDS Service Response": nothing null and nothing empty but the array of cards.
LINK = {
    "type": "object", "required": ["label", "url", "type"], "additionalProperties": False,
    "properties": {"label": TEXT, "url": URL, "type": {"enum": ["absolute", "smart"]}, "appContext": TEXT},
    "if": {"properties": {"type": {"const": "absolute"}}}, "then": {"not": {"required": ["appContext"]}},
}  # fmt: skip
SOURCE = {
    "type": "object", "required": ["label"], "additionalProperties": False,
    "properties": {"label": TEXT, "url": URL, "icon": URL, "topic": CODING},
}  # fmt: skip
CARD = {
    "type": "object", "required": ["summary", "indicator", "source"], "additionalProperties": False,
    "properties": {
        "uuid": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "summary": {"type": "string", "minLength": 1, "maxLength": 139, "pattern": "^[^\\n]+$"},
        "detail": TEXT, "indicator": {"enum": ["info", "warning", "critical"]}, "source": SOURCE,
        "links": {"type": "array", "minItems": 1, "items": LINK},
        "overrideReasons": {"type": "array", "minItems": 1, "items": REASON},
    },
}  # fmt: skip
CARDS: dict[str, Any] = {
    "type": "object", "required": ["cards"], "additionalProperties": False,
    "properties": {"cards": {"type": "array", "items": CARD}},
}  # fmt: skip
