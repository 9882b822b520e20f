"""One FHIR resource as rows of raw facts. Nothing is guessed: what has no meaning here is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from tocsin.sources.codes import Codes, Meaning
    from tocsin.sources.tally import Tally

Json = dict[str, Any]
_TEXTS = ("patient_id", "time", "measure", "text", "unit", "end", "method", "recorded", "source", "replaces")
COLUMNS = pa.schema([
    (name, pa.string() if name in _TEXTS else pa.float64())
    for name in ("patient_id", "time", "measure", "value", "text", "unit", "end", "ref_low", "ref_high",
                 "method", "recorded", "source", "replaces")
])  # fmt: skip
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"
#: Reasons for an absent value that mean a measurement was made and failed, not that none was made.
FAILED = ("error", "not-a-number", "negative-infinity", "positive-infinity", "unsupported")
WITHDRAWN = "entered-in-error"
#: Statuses that say a thing is so; every other status is counted and left.
HOLDS = {
    "Observation": ("final", "amended", "corrected", "preliminary"),
    "MedicationAdministration": ("completed", "in-progress", "stopped"),
    "Procedure": ("completed", "in-progress", "stopped", "on-hold"),
    "DeviceUseStatement": ("active", "completed", "stopped", "on-hold"),
    "QuestionnaireResponse": ("completed", "amended", "in-progress"),
}


class Resources:
    """Takes resources one by one; `rows` are facts, `born` dates of birth, `dated` deaths without an hour."""

    def __init__(self, codes: Codes, tally: Tally) -> None:
        self.codes = codes
        self.tally = tally
        self.rows: list[tuple[Any, ...]] = []
        self.dated = 0
        self.born: list[tuple[str, str, str]] = []
        self.named: dict[str, list[Json]] = {}
        self.found: dict[tuple[str, str], Meaning | None] = {}
        self.readers = {
            "Observation": self.observation, "MedicationAdministration": self.administration,
            "DeviceUseStatement": self.device, "Procedure": self.procedure, "Condition": self.condition,
            "QuestionnaireResponse": self.answers,
        }  # fmt: skip

    def take(self, resource: Json, file: str, number: int) -> None:
        """Read one resource; one that is broken is one reject."""
        kind = str(resource.get("resourceType"))
        try:
            if kind == "Patient":
                self.patient(resource)
            elif kind in ("Medication", "Device"):
                self.named[f"{kind}/{resource.get('id')}"] = _codings(
                    resource.get("code") or resource.get("type")
                )
                self.named[f"{kind}/{resource.get('id')}"] += _identifiers(resource)
            elif kind in self.readers:
                self.clinical(kind, resource, file, number)
            else:
                self.tally.skip("FHIR", kind)
        except (AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
            self.tally.reject(
                file, number, f"is a {kind} that does not have FHIR's form ({error})",
                "a part of it could be read as something else", "check it against FHIR R4",
            )  # fmt: skip

    def clinical(self, kind: str, resource: Json, file: str, number: int) -> None:
        patient = _identity(resource.get("subject") or resource.get("patient"))
        if patient is None:
            self.tally.reject(
                file, number, f"is a {kind} without a subject", "it belongs to no patient", "say whose it is"
            )
            return
        source = f"{kind}/{resource['id']}" if resource.get("id") else f"{file}:{number}"
        status = _status(kind, resource)
        if status not in (WITHDRAWN, *HOLDS.get(kind, (status,))):
            self.tally.skip(f"FHIR {kind}", f"(status {status})")
            return
        before = len(self.rows)
        for row in self.readers[kind](resource):
            self.rows.append(_row(patient, source, row))
        if status == WITHDRAWN:
            self.rows[before:] = [
                _row(
                    patient,
                    source,
                    {"time": row[1], "measure": row[2], "text": "retracted", "replaces": source},
                )
                for row in self.rows[before:]
            ]

    def meaning(self, codings: list[Json]) -> Meaning | None:
        """The first coding that means something."""
        for coding in codings:
            key = (coding.get("system") or "", coding.get("code") or "")
            if key not in self.found:
                self.found[key] = self.codes.find(*key)
            if self.found[key] is not None:
                return self.found[key]
        return None

    def unknown(self, kind: str, codings: list[Json]) -> None:
        """Count a resource that means nothing here, under its first code."""
        first = codings[0] if codings else {}
        system = self.codes.system(first.get("system") or f"FHIR {kind}")
        self.tally.skip(system, first.get("code") or first.get("display"))

    def patient(self, resource: Json) -> None:
        patient, source = str(resource["id"]), f"Patient/{resource['id']}"
        if resource.get("birthDate"):
            self.born.append((patient, str(resource["birthDate"]), source))
        if resource.get("gender"):
            self.rows.append(_row(patient, source, {"measure": "sex", "text": resource["gender"]}))
        if resource.get("deceasedDateTime"):
            death = {"time": resource["deceasedDateTime"], "measure": "death", "text": "unknown"}
            self.rows.append(_row(patient, source, death))
            self.dated += len(resource["deceasedDateTime"]) <= 10
        elif resource.get("deceasedBoolean"):
            self.tally.skip("FHIR Patient", "(dead, no time)")

    def observation(self, resource: Json) -> Iterator[Json]:
        time, _ = _when(resource, "effective")
        common = {
            "time": _full(time or resource.get("issued")), "recorded": resource.get("issued"),
            "method": _words(resource.get("bodySite")) or _words(resource.get("method")),
        }  # fmt: skip
        parts = [part for part in resource.get("component") or () if part.get("code")]
        whole = _codings(resource.get("code"))
        asked = not parts or self.meaning(whole) is not None
        asked = asked or any(key.startswith("value") for key in resource)
        if asked and (row := self.measured(resource, whole, common)) is not None:
            yield row
        for part in parts:
            if (row := self.measured(part, _codings(part["code"]), common)) is not None:
                yield row

    def measured(self, part: Json, codings: list[Json], common: Json) -> Json | None:
        """An Observation or one component of it; None where it says nothing here."""
        said = _codings(part.get("valueCodeableConcept"))
        meaning = self.meaning(codings)
        if meaning is None:
            # The question may be unknown and the answer not: "oxygen therapy: nasal cannula".
            meaning = self.meaning(said)
            if meaning is None or meaning.word is None:
                self.unknown("Observation", codings)
                return None
        reason = [coding.get("code") for coding in _codings(part.get("dataAbsentReason"))]
        if reason and not any(code in FAILED for code in reason):
            self.tally.skip("FHIR Observation", f"{meaning.measure} ({reason[0]})")
            return None
        row = dict(common, measure=meaning.measure, method=common["method"] or meaning.method)
        kind = self.codes.lib.measure(meaning.measure).kind
        quantity = part.get("valueQuantity")
        if isinstance(quantity, dict):
            row["value"], row["unit"] = quantity.get("value"), _unit(quantity) or meaning.unit
            row["text"] = (quantity.get("comparator") or "")[:1] or None
            row["text"] = row["text"] if row["text"] in ("<", ">") else None
            row["ref_low"], row["ref_high"] = _limits(part, quantity)
        elif "valueInteger" in part:
            row["value"], row["unit"] = part["valueInteger"], meaning.unit
        elif part.get("valueBoolean") is False and kind == "event":
            self.tally.skip("FHIR Observation", f"{meaning.measure} (said to be absent)")
            return None
        else:
            answer = self.meaning(said)
            word = answer.word if answer else None
            row["text"] = (
                meaning.word or word or part.get("valueString") or _words(part.get("valueCodeableConcept"))
            )
            row["unit"] = meaning.unit
        if kind in ("category", "word"):
            row["text"], row["value"], row["unit"] = row.get("text") or meaning.word, None, None
        return row

    def administration(self, resource: Json) -> Iterator[Json]:
        """A drug given, or running: a rate, a push (a dose at once), or a dose over time of unknown rate."""
        codings = _codings(resource.get("medicationCodeableConcept"))
        codings += self.referred(resource, resource.get("medicationReference"))
        meaning = self.meaning(codings)
        if meaning is None:
            self.unknown("MedicationAdministration", codings)
            return
        dosage = resource.get("dosage") or {}
        way = [coding.get("code") for coding in _codings(dosage.get("method"))]
        if meaning.only is not None and meaning.only not in way:
            self.tally.skip(
                self.codes.system(codings[0].get("system") or ""),
                f"{codings[0].get('code')} (not {meaning.only})",
            )
            return
        time, end = _when(resource, "effective")
        row: Json = {"time": _full(time), "end": end, "measure": meaning.measure}
        rate, dose = _rate(dosage), dosage.get("dose") or {}
        if self.codes.lib.measure(meaning.measure).kind == "infusion":
            if rate is not None:
                row["value"], row["unit"] = rate
            elif end is None and dose.get("value") is not None:
                row.update(value=dose["value"], unit=_unit(dose) or meaning.amount_unit, text="push")
            else:
                row["text"] = "running"
        elif dose.get("value") is not None:
            row["value"], row["unit"] = dose["value"], _unit(dose) or meaning.amount_unit
            if (row["unit"] or "").lower() in ("dose", "doses"):
                row["value"] = row["unit"] = None
        yield row

    def referred(self, resource: Json, reference: Json | None) -> list[Json]:
        """The codings of a resource that another names, contained or read before."""
        if not reference:
            return []
        name = reference.get("reference") or ""
        for inner in resource.get("contained") or ():
            if name == f"#{inner.get('id')}":
                return _codings(inner.get("code") or inner.get("type"))
        found = self.named.get("/".join(name.split("/")[-2:]), [])
        return found or [{"system": "FHIR reference", "code": reference.get("display") or name or None}]

    def device(self, resource: Json) -> Iterator[Json]:
        codings = self.referred(resource, resource.get("device"))
        meaning = self.meaning(codings)
        if meaning is None:
            self.unknown("DeviceUseStatement", codings)
            return
        time, end = _when(resource, "timing")
        recorded = resource.get("recordedOn")
        yield {
            "time": _full(time),
            "end": end,
            "measure": meaning.measure,
            "text": meaning.word,
            "recorded": recorded,
        }

    def procedure(self, resource: Json) -> Iterator[Json]:
        codings = _codings(resource.get("code"))
        meaning = self.meaning(codings)
        if meaning is None:
            self.unknown("Procedure", codings)
            return
        time, end = _when(resource, "performed")
        yield {"time": time, "end": end, "measure": meaning.measure, "text": meaning.word}

    def condition(self, resource: Json) -> Iterator[Json]:
        codings = _codings(resource.get("code"))
        meaning = self.meaning(codings)
        if meaning is None:
            self.unknown("Condition", codings)
            return
        sure = [coding.get("code") for coding in _codings(resource.get("verificationStatus"))]
        if any(code in ("refuted", "differential", "provisional", "unconfirmed") for code in sure):
            self.tally.skip("FHIR Condition", f"{meaning.measure} ({sure[0]})")
            return
        time, _ = _when(resource, "onset")
        recorded = resource.get("recordedDate")
        yield {
            "time": time or recorded, "end": _when(resource, "abatement")[0], "measure": meaning.measure,
            "text": meaning.word, "recorded": recorded,
        }  # fmt: skip


    def answers(self, resource: Json) -> Iterator[Json]:
        """Answers of a questionnaire: an item is known by the code its `linkId` or `definition` ends in."""
        waiting = list(resource.get("item") or ())
        while waiting:
            item = waiting.pop(0)
            waiting += item.get("item") or ()
            codings = [{"system": LOINC, "code": name} for name in _ends(item)]
            meaning = self.meaning(codings)
            for answer in item.get("answer") or ():
                waiting += answer.get("item") or ()
                if meaning is None:
                    self.unknown("QuestionnaireResponse", [{"code": item.get("linkId")}])
                    continue
                said = dict(answer)
                if "valueCoding" in answer:
                    said["valueCodeableConcept"] = {"coding": [answer["valueCoding"]]}
                if "valueDecimal" in answer:
                    said["valueQuantity"] = {"value": answer["valueDecimal"]}
                common = {"time": _full(resource.get("authored")), "method": None}
                if (row := self.measured(said, codings, common)) is not None:
                    yield row


def _row(patient: str, source: str, said: Json) -> tuple[Any, ...]:
    get = said.get
    value, low, high = get("value"), get("ref_low"), get("ref_high")
    return (  # in the order of COLUMNS; written out, because this is done for every row there is
        patient, get("time"), get("measure"), None if value is None else float(value), get("text"),
        get("unit"), get("end"), None if low is None else float(low), None if high is None else float(high),
        get("method"), get("recorded"), source, get("replaces"),
    )  # fmt: skip


def _status(kind: str, resource: Json) -> str:
    if kind == "Condition":
        codes = [coding.get("code") for coding in _codings(resource.get("verificationStatus"))]
        return WITHDRAWN if WITHDRAWN in codes else "confirmed"
    return str(resource.get("status"))


def _identity(reference: Json | None) -> str | None:
    """The id a reference ends in: Patient/123, a full address, urn:uuid:..., or its identifier."""
    if not reference:
        return None
    name = reference.get("reference") or (reference.get("identifier") or {}).get("value")
    return str(name).replace("urn:uuid:", "").rsplit("/", 1)[-1] if name else None


def _codings(concept: Json | None) -> list[Json]:
    if not concept:
        return []
    return list(concept.get("coding") or ()) or ([{"code": concept["text"]}] if concept.get("text") else [])


def _identifiers(resource: Json) -> list[Json]:
    """A Medication's other names: code systems are written as identifiers by some servers."""
    return [
        {"system": each.get("system"), "code": each.get("value")} for each in resource.get("identifier") or ()
    ]


def _ends(item: Json) -> list[str]:
    """What an item of a questionnaire may be called: /9279-1 or http://loinc.org/9279-1 is 9279-1."""
    names = [str(item[key]) for key in ("linkId", "definition") if item.get(key)]
    return [name.replace("#", "/").rsplit("/", 1)[-1] for name in names]


def _words(concept: Json | None) -> str | None:
    if not concept:
        return None
    codings: list[Json] = concept.get("coding") or [{}]
    text = concept.get("text") or codings[0].get("display") or codings[0].get("code")
    return str(text).lower() if text else None


def _when(resource: Json, name: str) -> tuple[str | None, str | None]:
    """Start and end of `effective`, `performed`, `onset`, `timing`, however they are said."""
    at = resource.get(f"{name}DateTime") or resource.get(f"{name}Instant")
    period = resource.get(f"{name}Period") or {}
    return at or period.get("start"), None if at else period.get("end")


def end_of_day(time: Any, zone: tzinfo) -> Any:
    """A death that is known by its date alone, at the end of that day; what is no date stays as it is.

    >>> from datetime import UTC
    >>> end_of_day("2026-03-01", UTC), end_of_day("2026", UTC)
    ('2026-03-02T00:00:00+00:00', '2026')
    """
    if not isinstance(time, str) or len(time) != 10:
        return time
    try:
        return (datetime.fromisoformat(time).replace(tzinfo=zone) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return time


def _full(time: str | None) -> str | None:
    """A time of day, or nothing: a bare date would put a reading at midnight."""
    return time if time and len(time) > 10 else None


def _unit(quantity: Json) -> str | None:
    """UCUM where the code is UCUM, else as it is displayed."""
    code = quantity.get("code")
    return code if code and quantity.get("system") == UCUM else quantity.get("unit") or code


def _rate(dosage: Json) -> tuple[float, str | None] | None:
    """A rate as number and unit; a ratio (5 mg per 2 h) is divided out."""
    quantity = dosage.get("rateQuantity")
    if quantity and quantity.get("value") is not None:
        return quantity["value"], _unit(quantity)
    ratio = dosage.get("rateRatio")
    if ratio and ratio.get("numerator") and ratio.get("denominator"):
        above, below = ratio["numerator"], ratio["denominator"]
        if above.get("value") is not None and below.get("value", 1):
            return above["value"] / below.get("value", 1), f"{_unit(above)}/{_unit(below)}"
    return None


def _limits(part: Json, quantity: Json) -> tuple[float | None, float | None]:
    """The laboratory's limits, where they are in the unit of the value."""
    for limits in part.get("referenceRange") or ():
        low, high = limits.get("low") or {}, limits.get("high") or {}
        units = {_unit(each) for each in (low, high) if each and _unit(each)}
        if units <= {_unit(quantity)}:
            return low.get("value"), high.get("value")
    return None, None
