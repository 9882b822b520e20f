"""A ward made by hand, with a row of every kind, for pages that show one."""

from __future__ import annotations

from dataclasses import replace

from tocsin.watch.board import AlertLine, Board, Due, Row, Vital, Waiting

MINUTE = 60_000_000
HOUR = 60 * MINUTE
NOW = 1_772_721_124_000_000
CALM = Row(
    patient_id="calm", ref="r" * 22, bed="1", ward="5 West", name="T. B.", age="60", sex="F",
    therapy="cilta-cel",
    hours_since_dose=72.0, dose_number=1, scale="astct-2019", grade=0, up_to=0, proven=0, proven_at=None,
    ambiguous=False, because=(), waiting_for=(), changed_from=None, changed_at=None, state="graded", line="",
    vitals=(), due=(), clocks=(), strip=((0, 0),) * 24, alerts=(), needs=False, calm=True,
)  # fmt: skip
RISEN = replace(
    CALM, patient_id="risen", ref="a" * 22, bed="12", name="A. M.", grade=3, up_to=3, proven=3,
    changed_from=2, changed_at=NOW - 22 * MINUTE, line="One vasopressor since 14:10", needs=True, calm=False,
    vitals=(Vital("temperature", "", "39.4°", NOW - 4 * MINUTE, False, True),),
    due=(Due("ferritin", 40),), clocks=(Waiting("2nd tocilizumab possible", NOW + 4 * HOUR),),
    alerts=(AlertLine(7, "rise", "Grade 3, from 2", NOW - 22 * MINUTE, False),),
)  # fmt: skip
DOUBTED = replace(
    CALM, patient_id="doubted", ref="b" * 22, bed="3", grade=1, up_to=2, proven=1, state="not-ruled-out",
    waiting_for=("systolic blood pressure",),
    line="nobody measured blood pressure for 5 h", needs=True, calm=False,
    vitals=(Vital("systolic-bp", "BP", "118/70", NOW - 5 * HOUR, True, True),),
)  # fmt: skip
LAPSED = replace(
    CALM, patient_id="lapsed", ref="c" * 22, bed="7", grade=0, up_to=4, proven=3, proven_at=NOW - 5 * HOUR,
    waiting_for=("systolic blood pressure",),
    state="lapsed", needs=True, calm=False,
)  # fmt: skip
UNMEASURED = replace(
    CALM, patient_id="unmeasured", ref="d" * 22, bed="15", up_to=4, state="unmeasured", needs=True,
    waiting_for=("systolic blood pressure",),
    calm=False, vitals=(Vital("temperature", "temperature", "", None, True, False),), strip=(None,) * 24,
)  # fmt: skip
STEADY = replace(
    CALM, patient_id="steady", ref="e" * 22, bed="8", grade=2, up_to=2, proven=2, calm=False,
    changed_at=NOW - 6 * HOUR, line="Low-flow oxygen",
)  # fmt: skip


def board(*rows: Row) -> Board:
    """These rows as a ward."""
    return Board(
        "astct-2019", NOW, NOW - 6_000_000, rows, len(rows), sum(row.needs for row in rows),
        sum(row.state == "unmeasured" for row in rows), ("5 West", "6 East"),
    )  # fmt: skip


EVERY_KIND = board(RISEN, DOUBTED, LAPSED, UNMEASURED, STEADY, CALM)
