"""How many of whom: grades, what was given, laboratory bounds, outcomes; each with its exact interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.cohort.persons import Bools, Episodes, Floats, Ints, Persons
from tocsin.cohort.statistics import exact
from tocsin.definitions.load import Library
from tocsin.definitions.report import GivenRow, LaboratoryRow, Report
from tocsin.definitions.schema import DefinitionError
from tocsin.units import convert

#: `what` is a stable id, `says` its words; `share` is `n` of `of`, with Clopper and Pearson's interval.
PROPORTIONS = pa.schema([
    ("group", pa.string()), ("scale", pa.string()), ("what", pa.string()), ("says", pa.string()),
    ("n", pa.int64()), ("of", pa.int64()), ("share", pa.float64()), ("low", pa.float64()),
    ("high", pa.float64()),
])  # fmt: skip
OUTCOMES: Mapping[str, str] = {
    "resolved": "resolved", "not-observed": "end not observed (nobody charted)",
    "censored": "not over at the end of the record", "death": "over by death",
}  # fmt: skip
Row = dict[str, Any]


def proportion(group: str, scale: str | None, what: str, says: str, n: int, of: int) -> Row:
    """One row of `PROPORTIONS`; of nobody there is no share."""
    low, high = exact(n, of)
    share = n / of if of else None
    ends = (None, None) if share is None else (low, high)
    return {
        "group": group, "scale": scale, "what": what, "says": says, "n": n, "of": of, "share": share,
        "low": ends[0], "high": ends[1],
    }  # fmt: skip


def graded(persons: Persons, report: Report) -> pa.Table:
    """Highest grades by group and scale: of those graded.

    `crs-any` and so on name the scale's outcome. `-not-measured` are patients of grade 0 of whom nobody ever
    measured anything that grades; they are in grade 0 too and say how little that can mean. `-not-ruled-out`
    may have reached more than was proven.
    """
    found: list[Row] = []
    for scale in persons.cohort.scales:
        course, outcome = persons.course(scale), persons.outcome(scale)
        levels = sorted({*report.at_least, report.high} - {1})
        wanted: list[tuple[str, str, Bools]] = [
            ("any", f"{outcome.upper()}, any grade", course.grade >= 1),
            *((f"grade-{k}", f"highest grade {k}", course.grade == k) for k in range(6)),
            *((f"at-least-{k}", f"grade {k} or higher", course.grade >= k) for k in levels),
            ("not-measured", "never measured (counted in grade 0)", course.unmeasured),
            ("not-ruled-out", "a higher grade not ruled out at some time", course.up_to > course.grade),
        ]
        for group, who in persons.groups:
            of = who & course.graded
            found += [
                proportion(group, scale, f"{outcome}-{what}", says, int((of & which).sum()), int(of.sum()))
                for what, says, which in wanted
            ]
            left = int((who & ~course.graded).sum())
            says = "not graded under this scale"
            found.append(proportion(group, scale, f"{outcome}-not-graded", says, left, int(who.sum())))
    return _table(found)


def given(persons: Persons, report: Report) -> pa.Table:
    """Who was given what, from hour 0 on: of everybody in the group."""
    kept = _after_zero(persons)
    found: list[Row] = []
    for row in report.given:
        found += [
            proportion(group, None, what, says, int((who & which).sum()), int(who.sum()))
            for what, says, which in _given(row, persons, kept)
            for group, who in persons.groups
        ]
    return _table(found)


def given_after_onset(persons: Persons, report: Report) -> pa.Table:
    """Who was given what at or after the onset of a first episode: of those with an onset, scale by scale.

    What is given to prevent the syndrome, or for something else before it, is not in here.
    """
    kept = _after_zero(persons)
    found: list[Row] = []
    for scale in persons.cohort.scales:
        course, outcome = persons.course(scale), persons.outcome(scale)
        onset = course.first[1]
        # a run that begins before the onset and reaches past it is given after it as well
        late = np.nan_to_num(np.fmax(kept.ended, kept.begun), nan=-np.inf) >= onset[kept.person]
        for row in report.given:
            which = _some(kept.person[kept.of(row) & late], len(persons))
            for group, who in persons.groups:
                of = who & np.isfinite(onset)
                says = f"{row.says}, from onset on"
                what = f"{outcome}-given-{row.id}"
                found.append(proportion(group, scale, what, says, int((of & which).sum()), int(of.sum())))
    return _table(found)


class Kept:
    """What was given from hour 0 on: patients, and the columns as texts and numbers."""

    def __init__(self, table: pa.Table, person: Ints, begun: Floats, ended: Floats) -> None:
        self.table, self.person, self.begun, self.ended = table, person, begun, ended

    @property
    def days(self) -> Floats:
        """Days of each run from hour 0 on; 0 of a dose and of a run without an end."""
        lasted: Floats = np.nan_to_num(self.ended - np.maximum(self.begun, 0.0), nan=0.0)
        return lasted / 24.0

    def of(self, row: GivenRow) -> Bools:
        """The rows that count for `row`."""
        table = self.table
        mask = (
            pc.equal(table["measure"], row.named)
            if row.named is not None
            else pc.equal(table["kind"], row.kind)
        )
        counts = np.array(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), bool)
        for column in ("measure", "text"):
            left = pc.is_in(table[column], value_set=pa.array(row.without, pa.string()))
            counts &= ~np.array(left.to_numpy(zero_copy_only=False), bool)
        return counts


def _after_zero(persons: Persons) -> Kept:
    """Runs that reach past hour 0 and doses from it on; a rate or a flow of 0 is nothing given."""
    table = persons.cohort.given
    person = persons.place(table)
    begun = persons.hours(table, "time", person)
    ended = persons.hours(table, "end", person)
    value = np.asarray(table["value"].to_numpy(zero_copy_only=False), np.float64)
    named = np.array(pc.is_valid(table["text"]).to_numpy(zero_copy_only=False), bool)
    late = (begun >= 0) | (np.nan_to_num(ended, nan=-np.inf) > 0)
    kept = np.flatnonzero(late & ~((value == 0) & ~named))
    return Kept(table.take(pa.array(kept, pa.int64())), person[kept], begun[kept], ended[kept])


def _given(row: GivenRow, persons: Persons, kept: Kept) -> Iterator[tuple[str, str, Bools]]:
    size = len(persons)
    mine = kept.of(row)
    times = np.bincount(kept.person[mine], minlength=size)
    yield row.id, row.says, times > 0
    last = max(row.counts, default=0)
    for count in row.counts:
        which = times >= count if count == last else times == count
        more = " or more" if count == last else ""
        doses = "dose" if count == 1 else "doses"
        yield f"{row.id}-{count}", f"{row.says}, {count}{more} {doses}", which
    if row.different:
        drugs = np.zeros(size, np.int64)
        codes = kept.table["measure"].combine_chunks().dictionary_encode().indices.to_numpy()
        pairs = np.unique(np.column_stack([kept.person[mine], codes[mine]]), axis=0)
        np.add.at(drugs, pairs[:, 0].astype(np.int64), 1)
        last = max(row.different)
        for count in row.different:
            which = drugs >= count if count == last else drugs == count
            more = " or more" if count == last else ""
            yield f"{row.id}-different-{count}", f"{row.says}, {count} different{more}", which
    for word in row.words:
        text = pc.fill_null(pc.equal(kept.table["text"], word), False).to_numpy(zero_copy_only=False)
        yield (
            f"{row.id}-{word}",
            f"{row.says}: {word.replace('-', ' ')}",
            _some(kept.person[mine & text], size),
        )


def days_given(persons: Persons, report: Report) -> Iterator[tuple[str, str, Ints, Floats]]:
    """Of what the report asks how long: id, words, patients and total days, of those with a run that ends."""
    kept = _after_zero(persons)
    for row in report.given:
        for name in row.days:
            mine = kept.of(row)
            if name != row.named:
                text = pc.fill_null(pc.equal(kept.table["text"], name), False)
                mine = mine & text.to_numpy(zero_copy_only=False)
            total = np.bincount(kept.person[mine], kept.days[mine], minlength=len(persons)).astype(np.float64)
            who = np.flatnonzero(total > 0).astype(np.int64)
            yield f"days-{name}", f"{name.replace('-', ' ').capitalize()}, days", who, total[who]


def _some(person: Ints, size: int) -> Bools:
    found = np.zeros(size, bool)
    found[person] = True
    return found


def measured(persons: Persons, report: Report) -> pa.Table:
    """Laboratory bounds: of those measured from hour 0 on; who was not is a row of its own.

    Of a large cohort these are the patients of whom markers are kept (`records.DRAWN`), chosen by a hash.
    """
    found: list[Row] = []
    markers = persons.cohort.markers
    after = markers.filter(pc.greater_equal(markers["day"], 0))
    for row in report.laboratory:
        own = after.filter(pc.equal(after["measure"], row.measure))
        person = persons.place(own)
        known, reached = _some(person, len(persons)), _reached(row, own, person, persons)
        for group, everybody in persons.groups:
            who = everybody & persons.drawn
            n, of = int((who & reached).sum()), int((who & known).sum())
            found.append(proportion(group, None, row.id, row.says, n, of))
            says = f"{persons.lib.measure(row.measure).title}: not measured"
            left = int((who & ~known).sum())
            found.append(proportion(group, None, f"{row.id}-not-measured", says, left, int(who.sum())))
    return _table(found)


def _reached(row: LaboratoryRow, own: pa.Table, person: Ints, persons: Persons) -> Bools:
    """Who was once beyond the bound; markers stand in the measure's own unit."""
    column = "low" if row.below is not None else "high"
    value = np.asarray(own[column].to_numpy(zero_copy_only=False), np.float64)
    bound = row.below if row.below is not None else row.at_least
    assert bound is not None
    edge = _in_unit(bound, row, persons.lib)
    beyond = value < edge if row.below is not None else value >= edge
    return _some(person[beyond], len(persons))


def _in_unit(bound: float, row: LaboratoryRow, lib: Library) -> float:
    """The bound in the unit that the measure's definition counts in."""
    unit = lib.measure(row.measure).unit or row.unit
    found = convert(row.unit, unit)
    if found.becomes != "value" or found.weight or found.molar:
        raise DefinitionError(
            f"report: {row.id}: a bound in {row.unit} cannot be told of {row.measure} in {unit}\n"
            f'  fix: unit = "{unit}"'
        )
    return found.apply(bound)


def outcomes(persons: Persons) -> pa.Table:
    """How first episodes ended, how many patients had another, and after which dose each began."""
    found: list[Row] = []
    for scale in persons.cohort.scales:
        episodes, outcome = persons.episodes(scale), persons.outcome(scale)
        count = np.bincount(episodes.person, minlength=len(persons))
        for group, who in persons.groups:
            mine = who[episodes.person]
            first = mine & episodes.first
            of = int(first.sum())
            for word, says in OUTCOMES.items():
                n = int((first & (episodes.outcome == word)).sum())
                found.append(
                    proportion(group, scale, f"{outcome}-first-{word}", f"first episode {says}", n, of)
                )
            again = int((who & (count >= 2)).sum())
            says = "more than one episode"
            found.append(proportion(group, scale, f"{outcome}-recurred", says, again, of))
            found += _by_dose(group, scale, outcome, persons, episodes, mine)
    return _table(found)


def _by_dose(
    group: str, scale: str, outcome: str, persons: Persons, episodes: Episodes, mine: Bools
) -> Iterator[Row]:
    """Of those given dose k, who began an episode after it (and before the next)."""
    doses = np.asarray(
        pc.fill_null(pc.list_value_length(persons.cohort.people["doses"]), 0).to_numpy(zero_copy_only=False)
    )
    who = dict(persons.groups)[group]
    most = int(episodes.dose[mine].max(initial=0))
    for k in range(1, most + 1 if most > 1 else 1):
        began = _some(episodes.person[mine & (episodes.dose == k)], len(persons))
        of = int((who & (doses >= k)).sum())
        n = int((who & began & (doses >= k)).sum())
        yield proportion(group, scale, f"{outcome}-after-dose-{k}", f"episode after dose {k}", n, of)


def _table(found: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(found), schema=PROPORTIONS)
