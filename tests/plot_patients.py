"""Invented patients for the pictures: hand-made canonical facts and intervals, no grading involved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa

DOSE = datetime(2026, 3, 3, 11, 30, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
FACTS = pa.schema(
    [
        ("patient_id", pa.string()),
        ("time", TIME),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("unit", pa.string()),
        ("end", TIME),
        ("ref_low", pa.float64()),
        ("ref_high", pa.float64()),
        ("method", pa.string()),
        ("recorded", TIME),
        ("source", pa.string()),
        ("replaces", pa.string()),
        ("weight", pa.float64()),
    ]
)
INTERVALS = pa.schema(
    [
        ("patient_id", pa.string()),
        ("scale", pa.string()),
        ("start", TIME),
        ("end", TIME),
        ("grade", pa.int8()),
        ("up_to", pa.int8()),
        ("ambiguous", pa.bool_()),
        ("because", pa.list_(pa.string())),
        ("waiting_for", pa.list_(pa.string())),
        ("judgement", pa.list_(pa.string())),
        ("flags", pa.list_(pa.string())),
        ("definition", pa.string()),
    ]
)
UNITS = {
    "temperature": "Cel",
    "systolic-bp": "mm[Hg]",
    "diastolic-bp": "mm[Hg]",
    "mean-bp": "mm[Hg]",
    "spo2": "%",
    "oxygen-flow": "L/min",
    "fio2": "%",
    "crp": "mg/L",
    "ferritin": "ng/mL",
    "il-6": "pg/mL",
    "age": "a",
    "norepinephrine": "ug/kg/min",
    "vasopressin": "[IU]/min",
    "tocilizumab": "mg",
    "dexamethasone": "mg",
    "acetaminophen": "mg",
    "fluid-bolus": "mL",
    "ice-score": "{score}",
}


def at(hours: float) -> datetime:
    return DOSE + timedelta(hours=hours)


def fact(hours: float, measure: str, value: float | str | None = None, **more: Any) -> dict[str, Any]:
    """One row; a word goes to `text`. `end` and `recorded` are hours since the dose."""
    row: dict[str, Any] = dict.fromkeys(FACTS.names)
    row |= {"patient_id": "07", "time": at(hours), "measure": measure, "unit": UNITS.get(measure)}
    row |= {"text": value} if isinstance(value, str) else {"value": value}
    row["source"] = f"chart.csv:{int((hours + 100) * 10)}"
    for key in ("end", "recorded"):
        if key in more:
            more[key] = at(more[key])
    return row | more


def table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (row["patient_id"], row["time"])), FACTS)


def course(scale: str, *runs: tuple[Any, ...], patient: str = "07") -> list[dict[str, Any]]:
    """Intervals from (start hour, grade, up_to, because, waiting_for); the last run is its end, or None."""
    rows = []
    for run, following in pairwise(runs):
        start, grade, up_to, because, *waiting = run
        end = following[0]
        rows.append(
            {
                "patient_id": patient,
                "scale": scale,
                "start": at(start),
                "end": None if end is None else at(end),
                "grade": grade,
                "up_to": up_to,
                "ambiguous": False,
                "because": because.split(),
                "waiting_for": waiting[0].split() if waiting else [],
                "judgement": [],
                "flags": [],
                "definition": "0123456789abcdef" * 4,
            }
        )
    return rows


def intervals(*courses: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([row for rows in courses for row in rows], INTERVALS)


def _bump(hours: float, centre: float, width: float) -> float:
    return math.exp(-(((hours - centre) / width) ** 2))


ASTCT = course(
    "astct-2019",
    (-10, 0, 0, ""),
    (31, 1, 1, "fever"),
    (46, 1, 2, "fever", "systolic-bp"),
    (52, 2, 2, "fever hypotension"),
    (58, 3, 3, "fever one-vasopressor"),
    (74, 2, 2, "fever low-flow-oxygen"),
    (86, 1, 1, "fever"),
    (97, 0, 0, ""),
    (122,),
)
LEE = course(
    "lee-2014",
    (-10, 0, 0, ""),
    (31, 1, 1, "fever"),
    (52, 2, 2, "hypotension"),
    (66, 3, 3, "high-dose-vasopressor"),
    (72, 2, 3, "hypotension", "creatinine"),
    (90, 1, 1, "fever"),
    (97, 0, 0, ""),
    (122,),
)


def axi_cel() -> tuple[pa.Table, pa.Table]:
    """Fever, hypotension, a pressor, mask oxygen, tocilizumab, dexamethasone, recovery, laboratory values."""
    rows = [fact(-10, "age", 61.0), fact(0, "axicabtagene-ciloleucel")]
    hours = [*range(-10, 28, 4), *(h for h in range(31, 47)), *range(50, 80), *range(82, 121, 3)]
    for h in hours:
        wobble = 0.12 * math.sin(h * 1.7) + 0.08 * math.sin(h * 0.6)
        rows.append(fact(h, "temperature", round(36.8 + 2.7 * _bump(h, 55, 16) + wobble, 1), method="core"))
    for h in range(-10, 121, 3):
        low = 38 * _bump(h, 56, 10)
        top = round(118 - low + 5 * math.sin(h * 0.9))
        rows += [
            fact(h, "systolic-bp", top),
            fact(h, "diastolic-bp", round(top * 0.58)),
            fact(h, "mean-bp", round(top * 0.72 - 2)),
            fact(h, "spo2", round(97 - 7 * _bump(h, 60, 9) + math.sin(h))),
        ]
    rows += [
        fact(0, "oxygen-device", "room-air"),
        fact(10, "oxygen-device", "room-air"),
        *(fact(h, "oxygen-device", "room-air") for h in (20, 31, 42, 50)),
        fact(56, "oxygen-device", "nasal-cannula"),
        fact(56, "oxygen-flow", 3.0),
        fact(60, "oxygen-device", "high-flow-nasal-cannula"),
        fact(60, "oxygen-flow", 40.0),
        fact(60, "fio2", 50.0),
        fact(66, "oxygen-device", "high-flow-nasal-cannula"),
        fact(66, "fio2", 40.0),
        fact(71, "oxygen-device", "nasal-cannula"),
        fact(71, "oxygen-flow", 2.0),
        fact(80, "oxygen-device", "nasal-cannula"),
        *(fact(h, "oxygen-device", "room-air") for h in (86, 96, 106, 116)),
        fact(58, "norepinephrine", 0.04),
        fact(62, "norepinephrine", 0.12),
        fact(69, "norepinephrine", 0.05),
        fact(74, "norepinephrine", 0.0),
        fact(63, "vasopressin", 0.03, end=68),
        fact(54, "fluid-bolus", 1000.0),
        fact(52, "fluid-bolus", 500.0),
        fact(33, "acetaminophen", 1000.0),
        fact(40, "acetaminophen", 1000.0),
        fact(53, "tocilizumab", 560.0),
        fact(66, "tocilizumab", 560.0),
        *(fact(59 + 6 * i, "dexamethasone", 10.0) for i in range(8)),
        fact(20, "ice-score", 10.0),
        fact(44, "ice-score", 10.0),
        fact(56, "ice-score", 8.0),
        fact(64, "ice-score", 6.0),
        fact(76, "ice-score", 9.0),
        fact(88, "ice-score", 10.0),
        fact(100, "ice-score", 10.0),
        fact(112, "ice-score", 10.0),
    ]
    for h in range(-6, 121, 12):
        rows += [
            fact(h, "crp", round(6 + 176 * _bump(h, 62, 26))),
            fact(h, "ferritin", round(420 + 6000 * _bump(h, 78, 24))),
        ]
    rows += [fact(h, "il-6", v) for h, v in ((0, 4.0), (24, 12.0), (44, 380.0), (60, 2300.0), (84, 900.0))]
    return table(rows), intervals(ASTCT, LEE)


def silent() -> tuple[pa.Table, pa.Table]:
    """Nothing charted for a day and a half after a bispecific antibody, and nothing but a fever after it."""
    rows = [fact(0, "teclistamab", 0.06, unit="mg/kg"), fact(-1, "age", 70.0)]
    rows += [fact(h, "temperature", 36.7 + 0.1 * (h % 3)) for h in (-1, 2, 5, 8)]
    rows += [fact(h, "systolic-bp", 128.0 - h) for h in (-1, 2, 5, 8)]
    rows += [fact(h, "spo2", 96.0) for h in (-1, 2, 5, 8)]
    rows += [
        fact(h, "temperature", t) for h, t in ((46, 38.9), (47, 39.1), (49, 38.6), (52, 37.8), (55, 37.4))
    ]
    rows += [fact(46.5, "acetaminophen", 650.0)]
    return table(rows), intervals(
        course(
            "astct-2019",
            (-1, 0, 0, ""),
            (16, 0, 4, "", "temperature systolic-bp spo2"),
            (46, 1, 4, "fever", "systolic-bp spo2"),
            (79, 0, 4, "", "temperature systolic-bp spo2"),
            (90,),
        )
    )


ALL = (
    "astct-2019",
    "lee-2014",
    "penn-2018",
    "penn-2018-weight-based",
    "mskcc-2018",
    "cartox-2018",
    "cartox-2018-paediatric",
    "ctcae-4.03",
    "ctcae-5.0",
    "ctcae-6.0",
    "icans-astct-2019",
)


def eleven() -> tuple[pa.Table, pa.Table]:
    """The axi-cel course under eleven scales that disagree a little."""
    facts, _ = axi_cel()
    rows = [ASTCT, LEE]
    for i, scale in enumerate(ALL[2:]):
        peak = 4 if i in (0, 3) else 3 if i % 2 else 2
        rows.append(
            course(
                scale,
                (-10, 0, 4 if i == 7 else 0, "", "creatinine" if i == 7 else ""),
                (31 + i % 2, 1, 1, "fever"),
                (50 + i, 2, 2 + i % 3 % 2, "fever hypotension"),
                (60 + i % 3, peak, min(4, peak + i % 2), "one-vasopressor"),
                (72 + i % 4, 2, 2, "low-flow-oxygen"),
                (84 + i, 1, 1, "fever"),
                (98, 0, 0, ""),
                (122,),
            )
        )
    return facts, intervals(*rows)


def month() -> tuple[pa.Table, pa.Table]:
    """Thirty days of a sparse record: one short fever, clinic visits, two step-up doses."""
    rows = [
        fact(-2, "age", 58.0),
        fact(0, "talquetamab", 0.01, unit="mg/kg"),
        fact(72, "talquetamab", 0.06, unit="mg/kg"),
        fact(168, "talquetamab", 0.4, unit="mg/kg"),
    ]
    for h in (-2, 6, 14, 22, 30, 54, 70, 76, 84, 92, 170, 178, 186, 190, 196, 204, 336, 504, 700):
        hot = 38.7 if h in (84, 186) else 39.2 if h == 190 else 36.6 + (h % 5) / 10
        rows += [fact(h, "temperature", hot), fact(h, "systolic-bp", 124 - (34 if h == 190 else h % 9))]
        rows += [fact(h, "spo2", 97 - h % 3)]
    rows += [fact(84.5, "acetaminophen", 650.0), fact(191, "tocilizumab", 640.0)]
    rows += [fact(h, "crp", v) for h, v in ((-2, 4.0), (92, 38.0), (196, 61.0), (336, 9.0), (700, 3.0))]
    runs: list[tuple[Any, ...]] = [(-2, 0, 0, "")]
    missing = "temperature systolic-bp spo2"
    runs += [
        (38, 0, 4, "", missing),
        (54, 0, 0, ""),
        (62, 0, 4, "", missing),
        (70, 0, 0, ""),
        (84, 1, 1, "fever"),
        (100, 1, 4, "fever", "systolic-bp"),
        (108, 0, 4, "", missing),
        (170, 0, 0, ""),
        (186, 1, 1, "fever"),
        (190, 2, 2, "fever hypotension"),
        (196, 1, 1, "fever"),
        (212, 1, 4, "fever", "systolic-bp"),
        (214, 0, 4, "", missing),
        (336, 0, 0, ""),
        (344, 0, 4, "", missing),
        (504, 0, 0, ""),
        (512, 0, 4, "", missing),
        (700, 0, 0, ""),
        (708,),
    ]
    return table(rows), intervals(course("astct-2019", *runs), course("lee-2014", *runs))
