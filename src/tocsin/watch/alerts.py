"""What a ward is alerted to: from where a patient stands and what is due, never from the way there.

Every rule compares what holds now with what was alerted before, so that a restart, a second worker or facts
in another order raise nothing twice, and a rise that was missed while the service was down is raised when it
is back. A grade of the past, raised by a fact that came late, is no alert: it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.definitions.alert import ALL, Rules
from tocsin.watch.pages_words import micros_of, span
from tocsin.watch.standing import Span, Standing

MINUTE = 60_000_000
HOUR = 60 * MINUTE
NEW, RISE, GAP, CLOCK, TEST = "new-grade", "rise", "not-ruled-out", "clock-run-out", "test-overdue"
KINDS = (NEW, RISE, GAP, CLOCK, TEST)
GRADES = (NEW, RISE)
ESCALATED = "escalated"

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
            new += raised
            gone += ended
        if _among(scale, rules.gap_scales):
            raised, ended = _gap(patient_id, each, spans.get(scale, ()), mine, now, rules)
            new += raised
            gone += ended
    if answer is not None:
        ill = max(each.grade for each in standing.values())
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


def _among(scale: str, scales: tuple[str, ...]) -> bool:
    return ALL in scales or scale in scales


def _grade(
    who: str, each: Standing, spans: Sequence[Span], mine: Sequence[Alert], now: int, rules: Rules
) -> tuple[list[Proposed], list[int]]:
    """A grade that rose; alerts of grades that were ruled out since are closed, a lapse closes none."""
    told = [alert for alert in mine if alert["kind"] in GRADES]
    standing = [alert for alert in told if alert["closed"] is None]
    gone = [alert["id"] for alert in standing if alert["grade"] > max(each.grade, each.proven)]
    left = [alert for alert in standing if alert["id"] not in gone]
    before, since = run_of(spans, each)
    quiet = now - round(rules.quiet_minutes * MINUTE)
    said = any(
        alert["grade"] >= each.grade
        and (alert["closed"] is None or alert["raised"] >= since or alert["closed"] > quiet)
        for alert in told
    )
    if each.grade < rules.grade_at_least or before >= each.grade or said:
        return list(_escalated(who, each, left, now, rules)), gone
    risen = Proposed(
        f"{who} {each.scale} grade {each.grade} {since}", who, RISE if before else NEW, rules.grade_role,
        each.scale, each.grade, each.up_to, before, "", each.definition,
    )  # fmt: skip
    # the rise says it all: what was open for a lower grade is closed
    return [risen], [*gone, *(alert["id"] for alert in left)]


def run_of(spans: Sequence[Span], each: Standing) -> tuple[int, int]:
    """The grade before the one that stands, and since when this one stands; 0 before the record."""
    since = each.start
    for run in reversed(spans):
        if run.grade != each.grade:
            return run.grade, since
        since = run.start
    return 0, since


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
    key = f"{who} {each.scale} gap {since}"
    return [
        Proposed(
            key, who, GAP, rules.gap_role, each.scale, each.grade, each.up_to, each.proven,
            " ".join(each.waiting_for), each.definition,
        )
    ], []  # fmt: skip


def _clocks(who: str, answer: Mapping[str, Any], ill: int, now: int, rules: Rules) -> Iterator[Proposed]:
    """Clocks that ran out, those of one moment in one alert: guidelines say the same at the same time."""
    of: dict[int, dict[str, None]] = {}
    for clock in answer.get("clocks", ()):
        due = micros_of(clock["due"])
        if due is not None and now - rules.clock_within_hours * HOUR < due <= now:
            of.setdefault(due, {})[clock["then"]] = None
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
    """The moment in a key, as clocks and tests carry it."""
    last = base(key).rsplit(" ", 1)[-1]
    return int(last) if last.isdigit() else None


def late_text(what: str, due: int | None, now: int) -> str:
    """What is late, and by how long.

    >>> late_text("ferritin; CRP", 0, 40 * MINUTE)
    'ferritin, CRP: 40 min late'
    """
    names = what.split("; ")
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return said if due is None else f"{said}: {span(now - due)} late"
