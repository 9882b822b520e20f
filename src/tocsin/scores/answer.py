"""The doors of the room: scores of many patients at one moment, of one patient over time, and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import TocsinError, near
from tocsin.definitions.score import Score, score_definition, score_names
from tocsin.definitions.score_window import timing
from tocsin.facts import resolve
from tocsin.facts.instants import moment
from tocsin.grading.live import micros
from tocsin.grading.opcodes import HOUR
from tocsin.scores.evaluate import Course, change, window_cut
from tocsin.scores.record import Record
from tocsin.scores.value import Item, Value

Span = tuple[int, int | None, Value]
INSTANT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()), ("score", pa.string()), ("at", INSTANT), ("window", pa.string()),
        ("value", pa.float64()), ("low", pa.float64()), ("high", pa.float64()), ("unit", pa.string()),
        ("log2_low", pa.float64()),
        ("log2_high", pa.float64()), ("band", pa.string()), ("probability_low", pa.float64()),
        ("probability_high", pa.float64()), ("missing", pa.list_(pa.string())),
        ("flags", pa.list_(pa.string())), ("population", pa.string()), ("status", pa.string()),
        ("evidence", pa.string()), ("definition", pa.string()),
    ]
)  # fmt: skip


def score(
    facts: Any,
    name: str,
    at: datetime | int | None = None,
    lib: Library | None = None,
    *,
    window: str | None = None,
) -> list[Value]:
    """One score of every patient.

    Parameters
    ----------
    facts  : canonical facts of any number of patients.
    name   : an id of the shelf `scores`.
    at     : the moment; none = each patient's last fact. Only what was charted, and recorded, by then counts;
        a patient of whom nothing is known by then has no value.
    window : one of `timing/score-windows.toml` instead of a moment, such as `pre-ld` or `day+1`: the last
        values of that span. Where it cannot be placed the value is none and says why.

    Raises `TocsinError` for a score that is not there, or is not calculated, with the reason.

    >>> from tocsin.testing import patient
    >>> ill = patient("0 h ldh 600 U/L", "0 h creatinine 1.2 mg/dL", "0 h platelets 40 10*3/uL")
    >>> (told,) = score(ill, "easix")
    >>> told.low, round(told.log2_low, 4)
    (18.0, 4.1699)
    """
    lib = lib or library()
    return [value for record in _records(facts, at, lib) for value in _of(record, name, at, lib, window)]


def scores(
    facts: Any,
    names: Sequence[str],
    at: datetime | int | None = None,
    lib: Library | None = None,
    *,
    windows: Sequence[str | None] = (None,),
) -> Iterator[Value]:
    """Several scores, each in several windows, patient by patient; as `score`."""
    lib = lib or library()
    for record in _records(facts, at, lib):
        for name in names:
            for window in windows:
                yield from _of(record, name, at, lib, window)


def scores_when(
    facts: Any, names: Sequence[str], when: Mapping[str, int], lib: Library | None = None
) -> Iterator[Value]:
    """Several scores, each patient at a moment of their own: `when` says it, in microseconds since 1970.

    Only what was charted by then counts; a patient whom `when` does not name, or of whom nothing is known by
    then, has no value.

    >>> from tocsin.testing import patient
    >>> ill = patient("0 h ldh 600 U/L", "0 h creatinine 1.2 mg/dL", "0 h platelets 40 10*3/uL",
    ...               "9 h platelets 20 10*3/uL")
    >>> (told,) = scores_when(ill, ["easix"], {"p1": ill["time"][0].cast("int64").as_py()})
    >>> told.low
    18.0
    """
    lib = lib or library()
    table = facts if isinstance(facts, pa.Table) else pa.table(facts)
    until = pa.array(when.values(), pa.int64()).cast(INSTANT)
    place = pc.index_in(table["patient_id"].cast(pa.string()), pa.array([*when], pa.string()))
    early = table.filter(pc.less_equal(table["time"], pc.take(until, place)))
    for record in _records(early, None, lib):
        for name in names:
            yield from _of(record, name, when[record.patient], lib, None)


def over_time(rows: Iterable[Mapping[str, Any]], name: str, lib: Library | None = None) -> list[Span]:
    """One patient's score over time: half-open spans (microseconds) from the first fact on.

    A span ends where the answer changes: a new input, or one that has become too old. The last has no end.

    >>> from tocsin.testing import patient
    >>> ill = patient("0 h platelets 45 10*3/uL", "2 h fibrinogen 0.9 g/L").to_pylist()
    >>> [(value.low, value.high) for _, _, value in over_time(ill, "isth-dic")][:2]
    [(2.0, 8.0), (3.0, 8.0)]
    """
    lib = lib or library()
    definition = _calculated(name, lib)
    record = Record(rows, lib)
    course = Course(definition, record)
    points = course.points()
    spans: list[Span] = []
    for start, value in zip(points, course.values(points), strict=True):
        if spans and _same(spans[-1][2], value):
            continue
        if spans:
            spans[-1] = (spans[-1][0], start, spans[-1][2])
        spans.append((start, None, value))
    return spans


def table(values: Iterable[Value]) -> pa.Table:
    """Values as a flat table of `SCHEMA`; the inputs stand in the JSON form only."""
    rows = []
    for value in values:
        said = value.as_dict()
        rows.append({**{key: said.get(key) for key in SCHEMA.names}, "at": moment(value.at)})
    return pa.Table.from_pylist(rows, SCHEMA)


def _calculated(name: str, lib: Library) -> Score:
    """A score that can be calculated; else an error with the reason."""
    if name not in lib.files("scores"):
        known = score_names(lib)
        raise TocsinError(
            f"no score `{name}`{near(name, known)}\n  fix: one of {', '.join(known)}; "
            "`tocsin list scores` says what each is"
        )
    found = score_definition(name, lib)
    if not found.implemented:
        raise TocsinError(
            f"the score `{name}` is not calculated: {found.reason}\n"
            "  why: a number that only looks like the published one would be believed\n"
            "  fix: `tocsin list scores` names those that are calculated"
        )
    return found


def _records(facts: Any, at: datetime | int | None, lib: Library) -> Iterator[Record]:
    """Each patient's rows as they were known at the moment."""
    whole = facts if isinstance(facts, pa.Table) else pa.table(facts)
    known = moment(at) if isinstance(at, int) else at
    whole = resolve(whole, known)
    if at is not None:
        whole = whole.filter(pc.less_equal(whole["time"], pa.scalar(known, INSTANT)))
    patients: dict[str, list[dict[str, Any]]] = {}
    for row in whole.to_pylist():
        patients.setdefault(row["patient_id"], []).append(row)
    for patient in sorted(patients):
        yield Record(patients[patient], lib, patient)


def _of(
    record: Record, name: str, at: datetime | int | None, lib: Library, window: str | None
) -> Iterator[Value]:
    definition = _calculated(name, lib)
    last = record.last
    if last is None:
        return
    now = last if at is None else micros(at)
    if window is not None:
        yield _in_window(definition, record, now, lib, window)
        return
    course = Course(definition, record)
    if definition.trend_hours is None:
        (value,) = course.values([now])
    else:
        before, value = course.values([now - round(definition.trend_hours * HOUR), now])
        value = replace(
            value, log2_change=change(value, before), log2_change_hours=definition.trend_hours
        )
    beside = tuple(
        each for other in definition.beside for each in Course(_calculated(other, lib), record).values([now])
    )
    yield replace(value, beside=beside)


def _in_window(definition: Score, record: Record, until: int, lib: Library, name: str) -> Value:
    """The score from the last values of a window."""
    times = timing(lib)
    if name not in times.windows:
        raise TocsinError(f"no window `{name}`{near(name, times.windows)}\n  fix: {', '.join(times.windows)}")
    window = times.windows[name]
    cut = window_cut(record, window, times, until)
    if cut is None:
        (blank,) = Course(definition, Record([], lib, record.patient), window=name).values([until])
        needed = "therapy" if window.anchor == "dose" else "lymphodepletion"
        note = f"{window.title} cannot be placed: no {needed} is charted"
        items = tuple(
            Item(each.id, each.title, None, None, (), each.missing, each.status) for each in blank.items
        )
        return replace(
            blank, low=None, high=None, band=None, probability_low=None, probability_high=None, items=items,
            missing=(needed, *blank.missing), notes=(note, *blank.notes),
        )  # fmt: skip
    now = min(until, round(cut.end) - 1)
    (value,) = Course(definition, record, cut, name).values([now])
    if now < cut.start:
        value = replace(value, flags=("window-not-reached", *value.flags))
    return value


def _same(one: Value, other: Value) -> bool:
    """Whether two values say the same, whenever their inputs were taken."""
    names = ("low", "high", "band", "missing", "flags", "window", "population")
    return all(getattr(one, name) == getattr(other, name) for name in names)
