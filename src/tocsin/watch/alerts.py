"""What a ward is alerted to: from where a patient stands and what is due.

Every rule compares what holds now with what was alerted before, so that a restart, a second worker or facts
in another order raise nothing twice, and a rise that was missed while the service was down is raised when it
is back. Grades are compared as proven and not ruled out since: a lapse is no fall, and its end no rise. A
high grade that was over before anybody was alerted does not ring as new: it is listed as late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.definitions.alert import ALL, REMEMBERED_HOURS, Rules
from tocsin.watch.clock import HOUR, MINUTE
from tocsin.watch.pages_advice import bare
from tocsin.watch.pages_words import micros_of, span
from tocsin.watch.standing import Span, Standing

NEW, RISE, GAP, CLOCK, TEST = "new-grade", "rise", "not-ruled-out", "clock-run-out", "test-overdue"
LATE = "late-grade"
#: The patient's own page sent somebody to hospital: raised there, because no grade says it.
HOME = "told-at-home"
KINDS = (NEW, RISE, GAP, CLOCK, TEST, LATE, HOME)
GRADES = (NEW, RISE)
ESCALATED = "escalated"
#: How long a closed alert is remembered when the next is judged.
LATELY = REMEMBERED_HOURS * HOUR

AGAIN = re.compile(r" again-\d+$")
#: The moment in a key: since when, or due.
MOMENT = re.compile(r" (?:gap|clock|test) (\d+)(?: again-\d+)?$")

Alert = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Proposed:
    """An alert to raise; `key` says what it is about, so that it is raised once."""

    key: str
    patient_id: str
    kind: str
    role: str
    scale: str | None = None
    grade: int | None = None
    up_to: int | None = None
    before: int | None = None
    what: str = ""
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to raise, and which open alerts (by id) no longer hold."""

    new: tuple[Proposed, ...]
    gone: tuple[int, ...]


def judge(
    patient_id: str,
    standing: Mapping[str, Standing],
    spans: Mapping[str, Sequence[Span]],
    answer: Mapping[str, Any] | None,
    known: Sequence[Alert],
    now: int,
    rules: Rules,
) -> Verdict:
    """One patient, now.

    Parameters
    ----------
    standing, spans : the answer of every scale, and its run of grades up to now.
    answer          : of `advise`; none where it was not asked for: clocks and tests stay as they are.
    known           : this patient's alerts, those open and those closed lately.
    """
    dead = any("death" in each.because for each in standing.values()) or bool(answer and answer.get("died"))
    if dead or not standing:
        return Verdict((), tuple(alert["id"] for alert in known if alert["closed"] is None))
    new: list[Proposed] = []
    gone: list[int] = []
    for scale, each in standing.items():
        mine = [alert for alert in known if alert["scale"] == scale]
        if _among(scale, rules.grade_scales):
            raised, ended = _grade(patient_id, each, spans.get(scale, ()), mine, now, rules)
            new += [*raised, *_late(patient_id, each, spans.get(scale, ()), mine, now, rules)]
            gone += [*ended, *_seen(mine, now, rules)]
        if _among(scale, rules.gap_scales):
            raised, ended = _gap(patient_id, each, spans.get(scale, ()), mine, now, rules)
            new += raised
            gone += ended
    gone += _seen([alert for alert in known if alert["kind"] == HOME], now, rules)
    if answer is not None:
        ill = max(max(each.grade, each.proven) for each in standing.values())
        wanted = [*_clocks(patient_id, answer, ill, now, rules), *_tests(patient_id, answer, ill, now, rules)]
        holding = {each.key for each in wanted}
        new += [each for each in wanted if not _raised(each.key, known)]
        gone += [
            alert["id"]
            for alert in known
            if alert["closed"] is None
            and alert["kind"] in (CLOCK, TEST)
            and base(alert["key"]) not in holding
        ]
    return Verdict(tuple(new), tuple(gone))


def base(key: str) -> str:
    """A key without the mark of a shadow."""
    return key.removesuffix(" shadow")


def _raised(key: str, known: Iterable[Alert]) -> bool:
    return any(base(alert["key"]) == key for alert in known)


def _again(key: str, known: Iterable[Alert]) -> str:
    """The key, or one of its own for what was closed (a row taken back) and holds again."""
    closed = [
        alert["closed"] for alert in known if AGAIN.sub("", base(alert["key"])) == key and alert["closed"]
    ]
    return f"{key} again-{max(closed)}" if closed else key


def _among(scale: str, scales: tuple[str, ...]) -> bool:
    return ALL in scales or scale in scales


def _grade(
    who: str, each: Standing, spans: Sequence[Span], mine: Sequence[Alert], now: int, rules: Rules
) -> tuple[list[Proposed], list[int]]:
    """A grade that rose; alerts of grades that were ruled out since are closed, a lapse closes none."""
    level = max(each.grade, each.proven)
    told = [alert for alert in mine if alert["kind"] in GRADES]
    standing = [alert for alert in told if alert["closed"] is None]
    gone = [alert["id"] for alert in standing if alert["grade"] > level or _answered(alert, told)]
    left = [alert for alert in standing if alert["id"] not in gone]
    stretch = next((one for one in reversed(stretches(spans, each, level)) if one.end is None), None)
    if level < rules.grade_at_least or stretch is None or _said(stretch, level, told, left, now, rules):
        return list(_escalated(who, each, left, now, rules)), gone
    risen = Proposed(
        _again(f"{who} {each.scale} grade {level} {stretch.start}", told), who,
        RISE if stretch.before else NEW, rules.grade_role, each.scale, level, each.up_to, stretch.before, "",
        each.definition,
    )  # fmt: skip
    # the rise says it all: what was open for a lower grade is closed
    return [risen], [*gone, *(alert["id"] for alert in left)]


def _said(
    stretch: Stretch, level: int, told: Sequence[Alert], left: Sequence[Alert], now: int, rules: Rules
) -> bool:
    """Whether somebody was alerted that this grade stands."""
    enough = [alert for alert in told if alert["grade"] >= level]
    quiet = now - round(rules.quiet_minutes * MINUTE)
    if any(alert["grade"] >= level for alert in left):
        return True
    if stretch.peak > level:
        # on the way down: whoever was alerted to the peak knows; what is long ago is not remembered
        return stretch.start < now - LATELY or any(alert["raised"] >= stretch.start for alert in enough)
    return level < rules.quiet_below and any(
        alert["closed"] is None or alert["closed"] > quiet for alert in enough
    )


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` to `end` (none: it stands) a grade or more was proven and not ruled out; `peak` the most,
    `before` what stood until then."""

    start: int
    end: int | None
    peak: int
    before: int


def stretches(spans: Sequence[Span], each: Standing, least: int) -> list[Stretch]:
    """When `least` or more was proven and not ruled out since, in order of time.

    >>> each = Standing("s", 0, 9, 1, 1, False, (), (), (), (), "", 1, None)
    >>> stretches([Span(0, 1, 1), Span(2, 3, 3), Span(4, 0, 4), Span(6, 1, 1)], each, 3)
    [Stretch(start=2, end=6, peak=3, before=1)]
    """
    found: list[Stretch] = []
    begun: tuple[int, int] | None = None
    level = peak = 0
    for run in spans or (Span(each.start, max(each.grade, each.proven), each.up_to),):
        was, level = level, max(run.grade, min(level, run.up_to))
        if level >= least:
            begun = begun or (run.start, was)
            peak = max(peak, level)
        elif begun:
            found.append(Stretch(begun[0], run.start, peak, begun[1]))
            begun, peak = None, 0
    if begun:
        found.append(Stretch(begun[0], None, peak, begun[1]))
    return found


def _late(
    who: str, each: Standing, spans: Sequence[Span], mine: Sequence[Alert], now: int, rules: Rules
) -> Iterator[Proposed]:
    """A high grade that was over before anybody was alerted to it."""
    for one in stretches(spans, each, rules.past_at_least):
        if one.end is None or one.end <= now - round(rules.past_within_hours * HOUR):
            continue
        told = (alert for alert in mine if alert["kind"] in (*GRADES, LATE))
        if not any(alert["grade"] >= one.peak and alert["raised"] >= one.start for alert in told):
            yield Proposed(
                f"{who} {each.scale} late {one.peak} {one.start}", who, LATE, rules.grade_role, each.scale,
                one.peak, what=f"{one.start} {one.end}", definition=each.definition,
            )  # fmt: skip


def _seen(mine: Iterable[Alert], now: int, rules: Rules) -> list[int]:
    """What was listed as late, or told at home, and has been seen, or was listed for its time."""
    over = now - round(rules.past_within_hours * HOUR)
    return [
        alert["id"]
        for alert in mine
        if alert["kind"] in (LATE, HOME)
        and alert["closed"] is None
        and (alert["acknowledged"] is not None or alert["raised"] <= over)
    ]


def _answered(alert: Alert, told: Iterable[Alert]) -> bool:
    """Whether this went to a second role because nobody answered the first alert, and now somebody has."""
    return alert["what"] == ESCALATED and any(
        base(alert["key"]) == f"{base(first['key'])} {ESCALATED}"
        and (first["acknowledged"] is not None or first["dismissed"] is not None)
        for first in told
    )


def _escalated(who: str, each: Standing, left: Iterable[Alert], now: int, rules: Rules) -> Iterator[Proposed]:
    """A high grade nobody acknowledged in time goes to a second role."""
    late = now - round(rules.escalate_after_minutes * MINUTE)
    rows = list(left)
    for alert in rows:
        key = f"{base(alert['key'])} {ESCALATED}"
        if (
            alert["grade"] >= rules.escalate_at_least
            and alert["role"] == rules.grade_role != rules.escalate_to
            and alert["acknowledged"] is None
            and alert["dismissed"] is None
            and alert["raised"] <= late
            and not _raised(key, rows)
        ):
            yield Proposed(
                key, who, alert["kind"], rules.escalate_to, each.scale, alert["grade"], each.up_to,
                alert["before"], ESCALATED, each.definition,
            )  # fmt: skip


def _gap(
    who: str, each: Standing, spans: Sequence[Span], mine: Sequence[Alert], now: int, rules: Rules
) -> tuple[list[Proposed], list[int]]:
    """More is not ruled out, because nobody measured; said once for each stretch."""
    told = [alert for alert in mine if alert["kind"] == GAP and alert["closed"] is None]
    wide = each.up_to - each.grade >= rules.gap_at_least and bool(each.waiting_for)
    if not wide or set(each.flags) & set(rules.gap_unless_flags):
        return [], [alert["id"] for alert in told]
    since = now
    for run in reversed(spans):
        if run.up_to - run.grade < rules.gap_at_least:
            break
        since = run.start
    if told or now - since < rules.gap_after_minutes * MINUTE:
        return [], []
    key = _again(f"{who} {each.scale} gap {since}", [alert for alert in mine if alert["kind"] == GAP])
    return [
        Proposed(
            key, who, GAP, rules.gap_role, each.scale, each.grade, each.up_to, each.proven,
            " ".join(each.waiting_for), each.definition,
        )
    ], []  # fmt: skip


def _clocks(who: str, answer: Mapping[str, Any], ill: int, now: int, rules: Rules) -> Iterator[Proposed]:
    """Clocks that ran out, those of one moment in one alert: guidelines say the same at the same time.

    Amounts are left to the patient's page, which knows what is approved.
    """
    of: dict[int, dict[str, None]] = {}
    for clock in answer.get("clocks", ()):
        due = micros_of(clock["due"])
        if due is not None and now - rules.clock_within_hours * HOUR < due <= now:
            of.setdefault(due, {})[bare(clock["then"])] = None
    if ill:
        for due, texts in sorted(of.items()):
            yield Proposed(f"{who} clock {due}", who, CLOCK, rules.clock_role, what="; ".join(texts)[:500])


def _tests(who: str, answer: Mapping[str, Any], ill: int, now: int, rules: Rules) -> Iterator[Proposed]:
    """Tests late while somebody is ill, those due at one moment in one alert."""
    if ill < rules.test_while_grade:
        return
    of: dict[int, list[str]] = {}
    for test in answer.get("tests_due", ()):
        due = micros_of(test["due"])
        late = due is not None and now - due >= rules.test_late_minutes * MINUTE
        if due is not None and late and test["strength"] in rules.test_strengths:
            of.setdefault(due, []).append(str(test["test"]))
    for due, names in sorted(of.items()):
        yield Proposed(f"{who} test {due}", who, TEST, rules.test_role, what="; ".join(sorted(names))[:500])


def since_of(key: str) -> int | None:
    """The moment in a key, as gaps, clocks and tests carry it.

    >>> since_of("p1 astct-2019 gap 7 again-9 shadow"), since_of("p1 astct-2019 grade 3 7")
    (7, None)
    """
    found = MOMENT.search(base(key))
    return int(found[1]) if found else None


def late_text(what: str, due: int | None, now: int) -> str:
    """What is late, and by how long.

    >>> late_text("ferritin; CRP", 0, 40 * MINUTE)
    'ferritin, CRP: 40 min late'
    """
    names = what.split("; ")
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return said if due is None else f"{said}: {span(now - due)} late"
