"""What a person types about a patient, as facts; and what was wrong with it, beside its field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from tocsin.definitions.load import Library
from tocsin.definitions.schema import Measure
from tocsin.plots.look import unit_text

#: Fields of the form for vital signs: measure, label.
VITAL_FIELDS = (
    ("temperature", "Temperature"),
    ("systolic-bp", "Systolic"),
    ("diastolic-bp", "Diastolic"),
    ("heart-rate", "Heart rate"),
    ("respiratory-rate", "Breaths"),
    ("spo2", "SpO₂"),
    ("oxygen-device", "Oxygen by"),
    ("oxygen-flow", "Flow"),
    ("fio2", "FiO₂"),
)
SIGNS = {
    "fever": "Fever", "hypotension": "Low pressure, boluses, vasopressors",
    "hypoxia": "Oxygen, saturation, ventilation", "organ": "Organ values", "neurotoxicity": "Mental state",
}  # fmt: skip

GROUPS = (
    ("Measured", "measures", ("number", "category")),
    ("Given: infusions", "drugs", ("infusion",)),
    ("Given: doses", "drugs", ("event",)),
    ("Given: fluids, procedures", "measures", ("event", "infusion")),
    ("Therapies", "therapies", ("event",)),
    ("Symptoms", "symptoms", ("event", "category")),
    ("Conditions", "conditions", ("event", "category")),
)


@dataclass(slots=True)
class Entry:
    """Rows of facts read from a form and the field each came from; `errors` by field."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, **row: Any) -> None:
        """One more row, from the field `name`."""
        self.rows.append(row)
        self.fields.append(name)

    def blame(self, rejected: list[Mapping[str, Any]]) -> None:
        """Put what the intake refused beside the fields it came from."""
        for each in rejected:
            place = int(each.get("row") or 1) - 1
            name = self.fields[place] if 0 <= place < len(self.fields) else "form"
            self.errors[name] = f"{each['why']}. {each['fix']}".strip()


def moment(text: str, now: int, tz: tzinfo, entry: Entry, name: str = "time") -> str:
    """The time typed, or now, as ISO with its offset."""
    if not text.strip():
        return datetime.fromtimestamp(now / 1e6, tz).isoformat()
    try:
        typed = datetime.fromisoformat(text.strip())
    except ValueError:
        entry.errors[name] = "This is no time. Write it as 2026-03-01 14:30, or leave it empty for now."
        return ""
    if typed.tzinfo is None:
        typed = typed.replace(tzinfo=tz)
    return typed.isoformat()


def vitals(form: Mapping[str, str], patient_id: str, now: int, tz: tzinfo, lib: Library) -> Entry:
    """The vital signs filled in, one fact each."""
    entry = Entry()
    time = moment(form.get("time", ""), now, tz, entry)
    for measure, _ in VITAL_FIELDS:
        typed = form.get(measure, "").strip()
        if typed:
            _one(entry, measure, lib.measure(measure), typed, form.get(f"{measure}-unit", ""), measure)
    if not entry.rows and not entry.errors:
        entry.errors["form"] = "Nothing is filled in: write at least one value."
    _stamp(entry, patient_id, time, now, tz)
    return entry


def single(form: Mapping[str, str], patient_id: str, now: int, tz: tzinfo, lib: Library) -> Entry:
    """Any one fact."""
    entry = Entry()
    time = moment(form.get("time", ""), now, tz, entry)
    name = form.get("measure", "")
    if name not in lib.measures or lib.measure(name).kind == "word":
        entry.errors["measure"] = "Choose what is added from the list."
        return entry
    _one(entry, name, lib.measure(name), form.get("value", "").strip(), form.get("unit", ""), "value")
    if form.get("end", "").strip():
        end = moment(form["end"], now, tz, entry, "end")
        for row in entry.rows:
            row["end"] = end
    _stamp(entry, patient_id, time, now, tz)
    return entry


def attribution(form: Mapping[str, str], patient_id: str, now: int, tz: tzinfo) -> Entry:
    """A sign has another cause, or is given back to CRS."""
    entry = Entry()
    time = moment(form.get("time", ""), now, tz, entry)
    sign, cause = form.get("sign", ""), " ".join(form.get("cause", "").split())
    if sign not in SIGNS:
        entry.errors["sign"] = "Choose which sign has another cause."
    if form.get("restore"):
        cause = "crs"
    if not cause or len(cause) > 200:
        entry.errors["cause"] = "Write the cause, in at most 200 characters."
    if entry.errors:
        return entry
    row: dict[str, Any] = {"measure": "attribution", "text": f"{sign}={cause}"}
    if form.get("end", "").strip():
        row["end"] = moment(form["end"], now, tz, entry, "end")
    entry.add("cause", **row)
    _stamp(entry, patient_id, time, now, tz)
    return entry


def ice_items(lib: Library) -> list[tuple[str, list[tuple[int, str]]]]:
    """What ICE asks, in groups, each point numbered from 0."""
    number, groups = 0, []
    for item in lib.measure("ice-score").raw["item"]:
        groups.append((str(item["group"]), list(enumerate(item["asks"], number))))
        number += len(item["asks"])
    return groups


def ice(form: Mapping[str, str], patient_id: str, now: int, tz: tzinfo, lib: Library) -> Entry:
    """The ICE score: one point for each item ticked. Nothing ticked is a score of 0 only if it is said so."""
    entry = Entry()
    time = moment(form.get("time", ""), now, tz, entry)
    points = [number for _, items in ice_items(lib) for number, _ in items]
    score = sum(1 for number in points if form.get(f"ice-{number}"))
    if not score and not form.get("none"):
        entry.errors["form"] = "Nothing is ticked. For a score of 0, tick “none of the ten”."
    elif score and form.get("none"):
        entry.errors["form"] = "Items are ticked and “none of the ten” as well: untick one."
    else:
        entry.add("form", measure="ice-score", value=score, unit="{score}")
    _stamp(entry, patient_id, time, now, tz)
    return entry


def correction(
    form: Mapping[str, str], fact: Mapping[str, Any], patient_id: str, now: int, tz: tzinfo, lib: Library
) -> Entry:
    """A charted fact corrected or withdrawn: a new row that replaces it; the old one stays in the store."""
    entry = Entry()
    measure = lib.measure(fact["measure"])
    time = moment(form.get("time", ""), round(fact["time"].timestamp() * 1e6), tz, entry)
    if form.get("withdraw"):
        entry.add("value", measure=measure.id, text="retracted")
    else:
        _one(entry, measure.id, measure, form.get("value", "").strip(), form.get("unit", ""), "value")
    for row in entry.rows:
        row["replaces"] = fact["source"]
    _stamp(entry, patient_id, time, now, tz)
    return entry


def _one(entry: Entry, name: str, measure: Measure, typed: str, unit: str, where: str) -> None:
    """One value as its measure wants it; the intake judges whether it can be."""
    if measure.kind == "category" or (measure.kind == "event" and measure.words):
        entry.add(where, measure=name, text=typed or None)
        return
    if measure.kind == "event" and not typed:
        entry.add(where, measure=name)
        return
    if not typed:
        entry.errors[where] = f"Write the value of {measure.title}."
        return
    sign = typed[0] if typed[0] in "<>" and measure.kind == "number" else None
    try:
        value = float(typed.lstrip("<> ").replace(",", "."))
    except ValueError:
        entry.errors[where] = f"“{typed[:20]}” is no number. Write digits, as 38.4."
        return
    wanted = units(measure)
    if wanted and unit not in dict(wanted):
        if len(wanted) > 1 and unit:
            entry.errors[where] = "Choose one of the units."
            return
        unit = wanted[0][0] if len(wanted) == 1 or not unit else unit
        if len(wanted) > 1:
            entry.errors[where] = "Choose the unit: without it the value could mean two things."
            return
    row: dict[str, Any] = {"measure": name, "value": value, "unit": unit or None}
    if sign:
        row["text"] = sign
    entry.add(where, **row)


def _stamp(entry: Entry, patient_id: str, time: str, now: int, tz: tzinfo) -> None:
    recorded = datetime.fromtimestamp(now / 1e6, tz).isoformat()
    for row in entry.rows:
        row.update(patient_id=patient_id, time=time, recorded=recorded)


def units(measure: Measure) -> list[tuple[str, str]]:
    """The units a value may be written in, the usual one first: UCUM, and as people write it."""
    if not measure.unit:
        return []
    names = dict.fromkeys([measure.unit, *measure.aliases.values()])
    return [(name, unit_text(name) or "points") for name in names if name]


def choices(lib: Library) -> list[tuple[str, list[tuple[str, str]]]]:
    """Everything that may be added, in groups, each by title."""
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    for title, shelf, kinds in GROUPS:
        found = [
            (name, lib.measure(name).title)
            for name in lib.measures
            if lib.measure(name).shelf == shelf and lib.measure(name).kind in kinds
        ]
        if found:
            groups.append((title, sorted(found, key=lambda each: each[1].lower())))
    return groups


def shape(measure: Measure) -> dict[str, Any]:
    """What the form asks for one measure."""
    return {
        "id": measure.id, "title": measure.title, "kind": measure.kind, "words": measure.words,
        "units": units(measure), "lasting": measure.kind == "infusion" or measure.shelf == "conditions",
    }  # fmt: skip
