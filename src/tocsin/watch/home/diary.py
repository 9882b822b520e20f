"""What is written at home, as facts of that patient; what cannot be is asked about, beside its field.

Every fact of one entry carries its id in `source` (`home:ENTRY:measure`), and an entry that is sent twice, by
a phone that heard no answer, is stored once: its id and time are the phone's, and the same the second time.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo
from typing import Any

from tocsin.definitions.home import HomePage, HomeTexts, home_page
from tocsin.definitions.load import Library
from tocsin.units import convert
from tocsin.watch.clock import HOUR, MINUTE, moment_of

#: How facts that were told at home are called.
SOURCE = "home:"
ENTRY = re.compile(r"[A-Za-z0-9_-]{8,32}")
#: The most letters of somebody's own words.
LETTERS = 500
#: How long ago an entry may have been written: no phone stays signed in for longer.
OLDEST = 31 * 24 * HOUR
UNITS = {"Cel": "cel", "[degF]": "fahr"}
NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{1,2})?")
CLOCK = re.compile(r"([01]?\d|2[0-3])[:.h]([0-5]\d)")


@dataclass(slots=True)
class Written:
    """An entry: its facts, what was wrong by field, which unit to offer instead, what was said not to be."""

    entry: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    instead: str | None = None
    none: tuple[str, ...] = ()
    unit: str | None = None
    devices: frozenset[str] | None = None


def read(
    form: Mapping[str, Sequence[str]], patient_id: str, now: int, tz: tzinfo, words: HomeTexts, lib: Library
) -> Written:
    """An entry as it was sent: `form` holds every value of a field.

    Nothing that was told is dropped because something else in the entry is wrong: then the whole entry comes
    back with `errors`, and nothing is stored.
    """
    return _Reading(form, patient_id, now, tz, words, lib).written()


class _Reading:
    """One form on its way to facts."""

    def __init__(
        self, form: Mapping[str, Sequence[str]], patient_id: str, now: int, tz: tzinfo, words: HomeTexts,
        lib: Library,
    ) -> None:  # fmt: skip
        self.form, self.patient_id, self.now, self.tz = form, patient_id, now, tz
        self.words, self.lib = words, lib
        self.page: HomePage = home_page(lib)
        entry = self.one("entry")
        self.out = Written(entry if ENTRY.fullmatch(entry) else secrets.token_urlsafe(9))
        self.at = self._at()

    def one(self, name: str) -> str:
        """The first value of a field, without blanks around it."""
        return next(iter(self.form.get(name, ())), "").strip()

    def wrong(self, name: str, key: str, **fill: object) -> None:
        """A question about a field."""
        self.out.errors[name] = self.words.say("wrong", key, **fill)

    def written(self) -> Written:
        """All of it."""
        when = self._when()
        self._temperature(when)
        signs = self._signs(when)
        self._devices(when)
        medicines = self._medicines(when)
        # only what was asked and answered with no is known not to be; a sign is asked for on every form
        said = (("symptoms", signs), ("medicines", medicines or self.one("taken") != "none"))
        self.out.none = tuple(name for name, there in said if not there)
        return self.out

    def add(self, measure: str, at: int, **more: Any) -> None:
        """One fact."""
        row = {"patient_id": self.patient_id, "time": moment_of(at).isoformat(), "measure": measure, **more}
        if at < self.at:
            row["recorded"] = moment_of(self.at).isoformat()
        row["source"] = f"{SOURCE}{self.out.entry}:{measure}"
        self.out.rows.append(row)

    def _at(self) -> int:
        """When the entry was written: the phone says so (it may have had no network since), never ahead."""
        told = self.one("at")
        if re.fullmatch(r"\d{16}", told) and self.now - OLDEST <= int(told):
            return min(int(told), self.now)
        return self.now

    def _when(self) -> int:
        """What moment the entry is about: then, or earlier that day or the day before."""
        when = self.one("when") or "now"
        if when == "now":
            return self.at
        found = CLOCK.fullmatch(self.one("clock"))
        if found is None or when not in ("today", "yesterday"):
            self.wrong("clock", "time")
            return self.at
        written = moment_of(self.at).astimezone(self.tz)
        day = written.date() - timedelta(days=when == "yesterday")
        local = datetime.combine(day, time(int(found[1]), int(found[2])), self.tz)
        told = round(local.timestamp() * 1_000_000)
        if told > self.at + MINUTE:
            self.wrong("clock", "time-ahead")
        return min(told, self.at)

    def _temperature(self, when: int) -> None:
        typed, unit = self.one("temperature"), self.one("unit")
        self.out.unit = unit if unit in UNITS else None
        if not typed:
            return
        if not NUMBER.fullmatch(typed):
            self.wrong("temperature", "number")
            return
        if unit not in UNITS:
            self.wrong("unit", "unit")
            return
        value = float(typed.replace(",", "."))
        if not self._may_be("temperature", value, unit):
            other = next(each for each in UNITS if each != unit)
            signs = {name: self.words["ask"][key] for name, key in UNITS.items()}
            low, high = bounds("temperature", unit, self.lib)
            fits = self._may_be("temperature", value, other)
            key = "other-unit" if fits else "temperature"
            fill = {"low": f"{low:g}", "high": f"{high:g}", "unit": signs[unit], "other": signs[other]}
            self.wrong("temperature", key, value=typed, **fill)
            self.out.instead = other if fits else None
            return
        self.add("temperature", when, value=value, unit=unit)

    def _may_be(self, measure: str, value: float, unit: str) -> bool:
        low, high = bounds(measure, unit, self.lib)
        return low <= value <= high

    def _signs(self, when: int) -> bool:
        """What was ticked and said; whether there was anything."""
        said: dict[tuple[str, str | None], None] = {}
        for tile in self.form.get("sign", ()):
            said.update(dict.fromkeys(self.page.gives.get(tile, ())))
        if self.one("worried"):
            said[self.page.worried, None] = None
        told = " ".join(self.one("words").split())
        if len(told) > LETTERS:
            self.wrong("words", "words", n=LETTERS)
        elif told:
            # in quotes: no word of somebody at home may be read as a word of the table
            shown = "".join(letter for letter in told if letter.isprintable())
            self.add(self.page.words, when, text=f"“{shown}”")
        for measure, word in said:
            self.add(measure, when, **({} if word is None else {"text": word}))
        return bool(said or told)

    def _devices(self, when: int) -> None:
        has = frozenset(name for name in self.form.get("device", ()) if name in self.page.devices)
        # said on every form that asks; a phone without script says nothing where it shows the fields at once
        if has or self.one("device") == "none":
            self.out.devices = has
        done: set[str] = set()
        for device, measures in self.page.devices.items():
            for measure in measures:
                typed = self.one(f"{device}-{measure}")
                if typed and measure not in done:
                    done.add(measure)
                    self._number(f"{device}-{measure}", measure, typed, when)
        values = {row["measure"]: row["value"] for row in self.out.rows if row.get("value") is not None}
        if values.get("diastolic-bp", -math.inf) >= values.get("systolic-bp", math.inf):
            self.wrong("cuff-diastolic-bp", "pressure")

    def _number(self, name: str, measure: str, typed: str, when: int) -> None:
        if not NUMBER.fullmatch(typed):
            self.wrong(name, "number")
            return
        unit, value = self.lib.measure(measure).unit, float(typed.replace(",", "."))
        low, high = bounds(measure, unit, self.lib)
        if not low <= value <= high:
            self.wrong(name, "range", value=typed, low=f"{low:g}", high=f"{high:g}")
            return
        self.add(measure, when, value=value, unit=unit)

    def _medicines(self, when: int) -> bool:
        """Medicines that hide a fever, taken so many hours before."""
        took = [name for name in self.page.medicines if name in self.form.get("medicine", ())]
        if not took:
            return False
        hours = {f"{each:g}": each for each in self.page.hours}
        if self.one("taken") not in hours:
            self.wrong("taken", "taken")
            return True
        for name in took:
            self.add(name, when - round(hours[self.one("taken")] * HOUR))
        return True


def bounds(measure: str, unit: str | None, lib: Library) -> tuple[float, float]:
    """What a measure can be in a unit: outside it somebody misread or mistyped.

    >>> from tocsin.definitions.load import library
    >>> bounds("temperature", "[degF]", library())
    (86.0, 109.4)
    """
    known = lib.measure(measure)
    ends = (
        -math.inf if known.plausible_low is None else known.plausible_low,
        math.inf if known.plausible_high is None else known.plausible_high,
    )
    if unit in (None, known.unit):
        return ends
    change = convert(known.unit or "", unit or "")
    return round(change.apply(ends[0]), 1), round(change.apply(ends[1]), 1)


def entry_of(source: str | None) -> str | None:
    """The entry a fact came with; None for what was not told at home.

    >>> entry_of("home:k3J9xQ2m:chills"), entry_of("vitals.csv:14")
    ('k3J9xQ2m', None)
    """
    if not source or not source.startswith(SOURCE):
        return None
    return source[len(SOURCE) :].split(":", 1)[0] or None


def entries(facts: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Everything told at home, by entry, the latest first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in facts:
        if (entry := entry_of(row.get("source"))) is not None:
            found.setdefault(entry, []).append(row)
    return dict(sorted(found.items(), key=lambda each: written_at(each[1]), reverse=True))


def written_at(rows: Sequence[Mapping[str, Any]]) -> datetime:
    """When an entry was written: what it tells of may lie before."""
    moments: list[datetime] = [row.get("recorded") or row["time"] for row in rows]
    return max(moments)
