"""Episodes: sentences of docs/episodes.md one by one, and all of them said again as plain loops."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tables
from tocsin.definitions.closing import closing
from tocsin.definitions.load import Library, library
from tocsin.definitions.schema import DefinitionError, TocsinError
from tocsin.episodes import SCHEMA, episodes, episodes_of
from tocsin.facts import SCHEMA as FACTS
from tocsin.grading.batch import grade, grade_table
from tocsin.grading.intervals import SCHEMA as INTERVALS
from tocsin.testing import START, patient

LIB = library()
SCALES = ("astct-2019", "icans-astct-2019", "lee-2014")
CALM = ("temperature 36.8 Cel", "systolic-bp 120 mm[Hg]")


def found(*lines: str, scale: str = "astct-2019", **options: Any) -> list[dict[str, Any]]:
    """The episodes of one patient in words."""
    facts = patient(*lines)
    return episodes(grade_table(facts, scale, **options), facts, **options).to_pylist()


def hour(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - START) / timedelta(hours=1)


def calm(*hours: float) -> list[str]:
    """Normal temperature and pressure at these hours."""
    return [f"{at:g} h {fact}" for at in hours for fact in CALM]


# --- how an episode ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "outcome", "end"),
    [
        (["0 h temperature 38.5 Cel", *calm(30, 48)], "resolved", 24),
        (["0 h temperature 38.5 Cel", *calm(30, 47.9)], "censored", None),
        (["0 h temperature 38.5 Cel"], "censored", None),
        (["0 h temperature 38.5 Cel", "100 h potassium 4 mmol/L"], "not-observed", 24),
        (["0 h temperature 38.5 Cel", *calm(100)], "not-observed", 24),
        (["0 h temperature 38.5 Cel", "30 h temperature 36.8 Cel", *calm(60)], "not-observed", 24),
        (["0 h temperature 38.5 Cel", "30 h systolic-bp 120 mm[Hg]", *calm(60)], "not-observed", 24),
        (["0 h temperature 38.5 Cel", "30 h temperature 36.8 Cel", "40 h mean-bp 80 mm[Hg]", *calm(60)],
         "resolved", 24),
        (["0 h temperature 38.5 Cel", *calm(24, 48)], "resolved", 24),
        (["0 h temperature 38.5 Cel", *calm(48, 60)], "not-observed", 24),
        (["0 h temperature 38.5 Cel", *calm(47.9, 60)], "resolved", 24),
        (["0 h temperature 38.5 Cel", "5 h tocilizumab", *calm(30, 71)], "censored", None),
        (["0 h temperature 38.5 Cel", "5 h tocilizumab", *calm(30, 72)], "resolved", 24),
        (["0 h temperature 38.5 Cel", "47 h dexamethasone 10 mg", *calm(30, 71)], "censored", None),
        (["0 h temperature 38.5 Cel", "48 h dexamethasone 10 mg", *calm(30, 71)], "resolved", 24),
        (["0 h dexamethasone 10 mg", "1 h temperature 38.5 Cel", *calm(30, 49)], "resolved", 25),
        (["0 h temperature 38.5 Cel", "5 h acetaminophen 1 g", *calm(30, 48)], "resolved", 24),
        (["0 h temperature 38.5 Cel", "10 h death crs"], "death", 10),
        (["0 h temperature 38.5 Cel", "10 h death other"], "death", 10),
        (["0 h temperature 38.5 Cel", "30 h death"], "death", 30),
        (["0 h temperature 38.5 Cel", *calm(30), "48 h death other"], "resolved", 24),
    ],
)
def test_how_an_episode_ends(lines, outcome, end):
    """24 h at grade 0 (48 h after a steroid or anti-cytokine drug), charted, and not an hour less."""
    (episode,) = found(*lines)
    assert (episode["outcome"], hour(episode["end"])) == (outcome, end)


def test_silence_is_never_recovery():
    """A fever that lapses because nobody measures again is not resolved, however long the chart goes on."""
    lab = [f"{24 * day} h potassium 4 mmol/L" for day in range(1, 20)]
    assert [each["outcome"] for each in found("0 h temperature 39 Cel", *lab)] == ["not-observed"]


def test_a_rise_within_the_gap_is_the_same_episode():
    """One hour before 24 h are over it goes on; at 24 h it is a recurrence."""
    (one,) = found("0 h temperature 38.5 Cel", *calm(30), "47 h temperature 38.5 Cel")
    assert (hour(one["start"]), one["outcome"], one["recurrence"]) == (0, "censored", False)
    first, second = found("0 h temperature 38.5 Cel", *calm(30), "48 h temperature 39 Cel")
    assert (first["outcome"], hour(first["end"]), first["episode"]) == ("resolved", 24, 1)
    assert (hour(second["start"]), second["episode"], second["recurrence"]) == (48, 2, True)


def test_a_dose_closes_an_episode_at_grade_0():
    """The next step-up dose opens its own window; charted since is resolved, otherwise nobody looked."""
    for between, outcome in ((calm(28), "resolved"), ([], "not-observed"), (calm(30), "not-observed")):
        first, second = found(
            "0 h teclistamab", "2 h temperature 38.5 Cel", *between, "30 h teclistamab",
            "35 h temperature 38.5 Cel",
        )
        assert (first["outcome"], hour(first["end"])) == (outcome, 26)
        assert (first["doses"], second["doses"]) == (["teclistamab #1"], ["teclistamab #2"])
        assert (second["hours_from_dose"], second["dose_number"]) == (5, 2)


def test_a_dose_above_grade_0_goes_on_and_both_are_listed():
    """It cannot be told which dose the rest of the illness belongs to."""
    fevers = ("2 h temperature 38.5 Cel", "30 h temperature 38.5 Cel")
    (one,) = found("0 h teclistamab", "20 h teclistamab", *fevers)
    assert (one["doses"], one["dose_number"]) == (["teclistamab #1", "teclistamab #2"], 1)


def test_icans_needs_its_own_score_charted():
    """Temperature and pressure say nothing about the brain."""
    ill = ["0 h ice-score 7", "0 h consciousness awakens-spontaneously"]
    assert found(*ill, *calm(20, 60), scale="icans-astct-2019")[0]["outcome"] == "not-observed"
    assert found(*ill, "20 h ice-score 10", *calm(60), scale="icans-astct-2019")[0]["outcome"] == "resolved"


def test_an_unusable_reading_is_not_charted():
    lines = ("0 h temperature 38.5 Cel", "30 h temperature 99 Cel", "30 h mean-bp 80 mm[Hg]", *calm(60))
    facts = patient(*lines, strict=False)
    assert "unusable" in facts["text"].to_pylist()
    assert episodes(grade_table(facts), facts)["outcome"].to_pylist() == ["not-observed"]


def test_a_death_from_crs_is_grade_5():
    """Its cause is kept, and any other death ends the episode without grade 5."""
    ill = ("0 h temperature 38.5 Cel", "2 h oxygen-device ventilator")
    (by_crs,) = found(*ill, "10 h death crs")
    assert (by_crs["peak"], by_crs["cause_of_death"], hour(by_crs["first_5"])) == (5, "crs", 10)
    (by_other,) = found(*ill, "10 h death icans")
    assert (by_other["peak"], by_other["cause_of_death"], by_other["first_5"]) == (4, "icans", None)
    (unsaid,) = found(*ill, "10 h death")
    assert unsaid["cause_of_death"] == "unknown"
    (alone,) = found("0 h temperature 36.8 Cel", "10 h death crs")
    assert (hour(alone["start"]), hour(alone["end"]), alone["outcome"]) == (10, 10, "death")


# --- what is said of it -----------------------------------------------------------------------------------


def test_onset_peak_and_the_way_there():
    """A step that was skipped has no time; the peak is timed from the onset."""
    (one,) = found(
        "0 h axicabtagene-ciloleucel", "50 h temperature 38.5 Cel", "56 h norepinephrine 0.05 ug/kg/min",
        "57 h tocilizumab", "58 h dexamethasone 10 mg",
        "64 h dexamethasone 10 mg", "64 h dexamethasone 10 mg", "70 h norepinephrine 0 ug/kg/min",
    )
    assert (one["hours_from_dose"], one["dose_number"], one["trigger"]) == (50, 1, "axicabtagene-ciloleucel")
    assert (one["peak"], one["time_to_peak_hours"]) == (3, 6)
    assert [hour(one[f"first_{k}"]) for k in range(1, 6)] == [50, None, 56, None, None]
    assert one["treatments"] == ["dexamethasone x2", "tocilizumab x1"]
    assert "draft" in one["flags"]
    assert one["definition"] == LIB.definition_hash("astct-2019")


@pytest.mark.parametrize(
    ("lines", "trigger"),
    [
        ([], "none-charted"),
        (["0 h covid-19"], "covid-19"),
        (["0 h covid-19", "2 h bacterial-infection"], "bacterial-infection"),
        (["0 h influenza", "0 h covid-19"], "covid-19"),
        (["0 h covid-19 until 9 h"], "none-charted"),
        (["0 h covid-19", "5 h covid-19 absent"], "none-charted"),
        (["5 h covid-19 absent", "5 h covid-19"], "covid-19"),
        (["11 h covid-19"], "none-charted"),
        (["10 h covid-19"], "covid-19"),
        (["5 h covid-19", "1 h teclistamab"], "teclistamab"),
        (["0 h sleep-apnea"], "none-charted"),
    ],
)
def test_what_set_it_off(lines, trigger):
    """A therapy before onset, else a condition present at onset; what came later cannot be the cause."""
    (one,) = found(*lines, "10 h temperature 38.5 Cel")
    assert one["trigger"] == trigger


def test_up_to_is_not_widened_by_the_silence_after():
    """Nobody measuring after the episode is grade 0 to 4; that is not how bad the episode may have been."""
    calm_breath = ("spo2 97 %", "oxygen-device room-air")
    lines = [f"{h} h {fact}" for h in range(0, 25, 4) for fact in (*calm_breath, CALM[1])]
    (one,) = found(*lines, "0 h temperature 38.5 Cel", "200 h potassium 4 mmol/L")
    assert (one["outcome"], one["peak"], one["peak_up_to"]) == ("not-observed", 1, 1)


def test_nobody_ill_is_an_empty_table():
    assert found(*calm(0, 20)) == []
    assert episodes(INTERVALS.empty_table(), FACTS.empty_table()).schema == SCHEMA


# --- cuts, corrections, streams ---------------------------------------------------------------------------


def test_a_cut_hides_the_future():
    """What is recorded or happens later closes nothing now; at `as_of` silence counts up to that moment."""
    late = "30 h temperature 36.8 Cel recorded 90 h"
    lines = ["0 h temperature 38.5 Cel", late, "30 h systolic-bp 120 mm[Hg]"]
    assert found(*lines, *calm(80))[0]["outcome"] == "resolved"
    at = START + timedelta(hours=60)
    assert found(*lines, *calm(80), as_of=at)[0]["outcome"] == "not-observed"
    assert found(*lines, *calm(80), until=at)[0]["outcome"] == "resolved"
    assert found(*lines, *calm(80), until=START + timedelta(hours=47))[0]["outcome"] == "censored"
    assert found("0 h temperature 38.5 Cel", as_of=at)[0]["outcome"] == "not-observed"
    still = START + timedelta(hours=40)
    assert found("0 h temperature 38.5 Cel", "70 h death crs", until=still)[0]["outcome"] == "censored"
    facts = patient("0 h temperature 38.5 Cel")
    with pytest.raises(TocsinError, match="time zone"):
        episodes(grade_table(facts), facts, until=datetime(2026, 1, 6))


def test_a_withdrawn_row_closes_nothing():
    """A retracted temperature was never charted."""
    lines = ["0 h temperature 38.5 Cel", "30 h temperature 36.8 Cel source a", "30 h systolic-bp 120 mm[Hg]"]
    assert found(*lines, *calm(60))[0]["outcome"] == "resolved"
    taken = found(*lines, "31 h temperature retracted replaces a", *calm(60))
    assert taken[0]["outcome"] == "not-observed"


def test_a_stream_of_batches_gives_the_same():
    """Whole patients batch by batch, an empty batch and one of nobody ill among them."""
    batches = [tables.random_table(seed, SCALES) for seed in range(6)]
    for k, batch in enumerate(batches):
        named = pa.array([f"b{k}{who}" for who in batch["patient_id"].to_pylist()])
        batches[k] = batch.set_column(0, "patient_id", named)
    batches.insert(2, batches[0].slice(0, 0))
    streamed = pa.concat_tables(episodes_of(iter(batches), SCALES))
    whole = pa.concat_tables(batches)
    assert streamed.equals(episodes(grade_table(whole, SCALES), whole))
    assert streamed.num_rows > 10


def test_other_tables_and_any_order():
    """Polars frames and shuffled rows are taken as they are."""
    polars = pytest.importorskip("polars")
    facts = pa.concat_tables(
        table.set_column(0, "patient_id", pa.array([f"q{k}{who}" for who in table["patient_id"].to_pylist()]))
        for k, table in enumerate(tables.random_table(seed, SCALES) for seed in range(6))
    )
    graded = grade_table(facts, SCALES)
    expected = episodes(graded, facts)
    mixed = polars.from_arrow(facts).sample(fraction=1, shuffle=True, seed=3)
    rows = polars.from_arrow(graded).sample(fraction=1, shuffle=True, seed=4)
    again = episodes(rows, mixed)
    order = [("patient_id", "ascending"), ("scale", "ascending"), ("start", "ascending")]
    assert again.sort_by(order).equals(expected.sort_by(order))
    assert episodes(graded.slice(3, 40), facts).num_rows  # a slice keeps its own lists of flags


# --- the closing rule is a definition ---------------------------------------------------------------------


def site(tmp_path, text: str) -> Library:
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "closing.toml").write_text(text, encoding="utf-8")
    return library((tmp_path,))


RULE = """id = "closing"
status = "draft"
[crs]
quiet_hours = 72
masked_hours = 96
masked_by = ["tocilizumab"]
charted = [["temperature"]]
treated_with = ["tocilizumab"]
"""


def test_a_site_closes_by_its_own_rule(tmp_path):
    """A folder of the site's own wins, and the answer carries another hash."""
    lib = site(tmp_path, RULE)
    facts = patient("0 h temperature 38.5 Cel", "30 h temperature 36.8 Cel", "60 h potassium 4 mmol/L")
    ours, theirs = (episodes(grade_table(facts), facts, lib=each).to_pylist()[0] for each in (LIB, lib))
    assert (ours["outcome"], theirs["outcome"]) == ("not-observed", "censored")
    assert ours["definition"] == theirs["definition"]
    assert ours["closing"] == closing("crs", LIB).hash != theirs["closing"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("quiet_hours = 72\n", "", "`quiet_hours` is missing"),
        ("quiet_hours = 72", "quiet_hours = 0", "`quiet_hours` is 0"),
        ("masked_hours = 96", "masked_hours = 24", "`masked_hours` is 24"),
        ("masked_by", "masked_bye", "did you mean `masked_by`"),
        ('"tocilizumab"]\nchar', '"tocilizumap"]\nchar', "did you mean `tocilizumab`"),
        ('[["temperature"]]', '["temperature"]', "not a list of lists"),
        ('[["temperature"]]', "[]", "not a list of lists"),
        ('[["temperature"]]', '[["temperatur"]]', "did you mean `temperature`"),
        ("[crs]", "[icans]", "says nothing of `crs`"),
    ],
)
def test_a_rule_that_cannot_be_trusted_closes_nothing(tmp_path, old, new, says):
    assert old in RULE
    with pytest.raises(DefinitionError, match=says):
        closing("crs", site(tmp_path, RULE.replace(old, new)))


def test_treatment_is_forgotten_when_the_episode_closes():
    """The hours after which the ASTCT scale forgets a treatment are those that close an episode."""
    rule, findings = closing("crs", LIB), LIB.scale("astct-2019").findings
    assert findings["antipyretic-after-fever"].quiet_hours == rule.quiet_hours
    assert findings["anticytokine-after-fever"].quiet_hours == rule.masked_hours


# --- all of it said again, tick by tick -------------------------------------------------------------------

H = timedelta(hours=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
GIVEN = ("dexamethasone", "tocilizumab", "acetaminophen", "anakinra", "levetiracetam", "etoposide")
MASKED = {"steroid", "anti-cytokine"}
TREATED = {
    "crs": {"steroid", "anti-cytokine", "antipyretic", "cytotoxic", "kinase-inhibitor"},
    "icans": {"steroid", "anti-cytokine", "antiseizure", "cytotoxic", "kinase-inhibitor"},
}
CHARTED = {
    "crs": [{"temperature"}, {"systolic-bp", "mean-bp"}], "icans": [{"ice-score", "capd-score"}],
}
DEADLY = ("unknown", "other", "crs", "icans")  # the later word wins at one instant


def classes(fact: dict[str, Any]) -> set[str]:
    return set(LIB.measure(fact["measure"]).classes)


def naive(
    intervals: pa.Table, facts: pa.Table, until: datetime = FAR, step: timedelta = H
) -> list[dict[str, Any]]:
    """Walk each patient's line of time tick by tick, as docs/episodes.md tells it."""
    said = []
    rows, charted = intervals.to_pylist(), facts.to_pylist()
    for who in sorted({row["patient_id"] for row in rows}):
        own = [fact for fact in charted if fact["patient_id"] == who]
        for scale in dict.fromkeys(row["scale"] for row in rows):
            mine = [row for row in rows if (row["patient_id"], row["scale"]) == (who, scale)]
            mine.sort(key=lambda row: row["start"])
            said += walk(mine, own, LIB.scale(scale).outcome, until, step)
    return said


def walk(
    rows: list[dict[str, Any]], facts: list[dict[str, Any]], kind: str, until: datetime, step: timedelta
) -> list[dict[str, Any]]:
    if not rows:
        return []
    known = min(max((fact["time"] for fact in facts), default=rows[0]["start"] - H), until)
    facts = [fact for fact in facts if fact["time"] < until]
    died = min((fact["time"] for fact in facts if fact["measure"] == "death"), default=FAR)
    deaths = [fact for fact in facts if (fact["measure"], fact["time"]) == ("death", died)]
    words = [fact["text"] or "unknown" for fact in deaths]
    facts = [fact for fact in facts if fact["time"] < died]
    therapies = [fact for fact in facts if "therapy" in classes(fact)]
    doses = sorted({(fact["time"], fact["measure"]) for fact in therapies})

    def charted(start: datetime, stop: datetime) -> bool:
        return all(
            any(
                fact["measure"] in line and fact["text"] != "unusable" and start <= fact["time"] < stop
                for fact in facts
            )
            for line in CHARTED[kind]
        )

    def grade_at(at: datetime) -> int:
        for row in rows:
            if row["start"] <= at and (row["end"] is None or at < row["end"]):
                return int(row["grade"])
        return 0

    out: list[dict[str, Any]] = []
    onset = quiet = None
    stop = max([row["end"] or row["start"] for row in rows] + [fact["time"] for fact in facts]) + 49 * H
    at = min(row["start"] for row in rows)

    def close(outcome: str, end: datetime | None) -> None:
        nonlocal onset, quiet
        out.append(describe(rows, facts, doses, kind, onset, end, outcome, died, words))
        out[-1].update(episode=len(out), recurrence=len(out) > 1)
        onset = quiet = None

    while at <= stop:
        grade_ = grade_at(at)
        if quiet is not None:
            masked = any(
                MASKED & classes(fact) and onset <= fact["time"] < quiet + 24 * H for fact in facts
            )
            over = quiet + (48 if masked else 24) * H
            if over <= at and over <= min(known, died):
                close("resolved" if charted(quiet, over) else "not-observed", quiet)
        if onset is not None and grade_ == 0:
            quiet = quiet or at
            if any(time == at for time, _ in doses):
                close("resolved" if charted(quiet, at) else "not-observed", quiet)
        if grade_ >= 1 and (at <= died or onset):
            onset, quiet = onset or at, None
        if onset is not None and at >= died:
            close("death", died)
            break
        at += step
    if onset is not None:
        close("censored", None)
    return out


def describe(
    rows: list[dict[str, Any]], facts: list[dict[str, Any]], doses: list[tuple[datetime, str]], kind: str,
    onset: datetime, end: datetime | None, outcome: str, died: datetime, words: list[str],
) -> dict[str, Any]:
    ill = [row for row in rows if row["grade"] >= 1 and row["start"] >= onset]
    ill = [row for row in ill if end is None or row["start"] < end or outcome == "death"]
    core = [row for row in rows if ill[0]["start"] <= row["start"] <= ill[-1]["start"]]
    peak = max(row["grade"] for row in core)
    first = {k: next((row["start"] for row in core if row["grade"] == k), None) for k in range(1, 6)}
    before = [dose for dose in doses if dose[0] <= onset]
    latest = [dose for dose in before if dose[0] == before[-1][0]]
    during = [dose for dose in doses if onset < dose[0] and (end is None or dose[0] < end)]
    given = {
        (fact["measure"], fact["time"]) for fact in facts
        if TREATED[kind] & classes(fact) and onset <= fact["time"] and (end is None or fact["time"] < end)
    }
    causes = []
    for fact in facts:
        over = any(
            later["measure"] == fact["measure"] and later["text"] == "absent"
            and fact["time"] < later["time"] <= onset
            for later in facts
        )
        over = over or fact["text"] == "absent" or (fact["end"] is not None and fact["end"] <= onset)
        if "cause" in classes(fact) and fact["time"] <= onset and not over:
            causes.append((onset - fact["time"], fact["measure"]))
    return {
        "patient_id": core[0]["patient_id"],
        "scale": core[0]["scale"],
        "start": onset,
        "end": end,
        "outcome": outcome,
        "cause_of_death": max(words, key=DEADLY.index) if outcome == "death" else None,
        "peak": peak,
        "peak_up_to": max(row["up_to"] for row in core),
        "time_to_peak_hours": (first[peak] - onset) / H,
        **{f"first_{k}": moment for k, moment in first.items()},
        "hours_from_dose": (onset - before[-1][0]) / H if before else None,
        "dose_number": [name for _, name in before].count(latest[0][1]) if before else None,
        "doses": [
            f"{name} #{sum(other == name and when <= time for when, other in doses)}"
            for time, name in latest + during
        ],
        "trigger": latest[0][1] if before else min(causes)[1] if causes else "none-charted",
        "treatments": [f"{drug} x{n}" for drug, n in sorted(Counter(name for name, _ in given).items())],
        "ambiguous": any(row["ambiguous"] for row in core),
        "flags": sorted({flag for row in core for flag in row["flags"]}),
        "definition": core[0]["definition"],
        "closing": closing(kind, LIB).hash,
    }


def same(intervals: pa.Table, facts: pa.Table, until: datetime | None = None, step: timedelta = H) -> int:
    """Both say the same; how many episodes they say."""
    mine = episodes(intervals, facts, until=until).to_pylist()
    again = naive(intervals, facts, until or FAR, step)
    assert len(mine) == len(again)
    for one, other in zip(mine, again, strict=True):
        assert one == {name: other[name] for name in SCHEMA.names}
    return len(mine)


HOURS = st.sampled_from([1, 2, 5, 12, 23, 24, 25, 47, 48, 49, 60])
CONTENTS = [
    *[("temperature", {"value": 36.8}), ("systolic-bp", {"value": 120.0}), ("mean-bp", {"value": 80.0})] * 2,
    ("temperature", {"text": "unusable"}), ("ice-score", {"value": 10.0}), ("potassium", {"value": 4.0}),
    *((name, {}) for name in GIVEN), ("teclistamab", {}), ("teclistamab", {}), ("tisagenlecleucel", {}),
    ("covid-19", {}), ("covid-19", {"text": "absent"}), ("covid-19", {"hours": 30}), ("influenza", {}),
]


@st.composite
def charts(draw):
    """Intervals and facts of two patients under two scales, on the hour."""
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    for who in ("p1", "p2"):
        died = draw(st.none() | st.none() | st.integers(1, 150))
        word = draw(st.sampled_from([None, *DEADLY]))
        for scale in ("astct-2019", "icans-astct-2019"):
            at = 0
            for _ in range(draw(st.integers(1, 7))):
                end = at + draw(HOURS)
                if died is not None and at >= died:
                    break
                low = draw(st.sampled_from([0, 0, 0, 1, 2, 4]))
                rows.append({
                    "patient_id": who, "scale": scale, "start": at, "end": min(end, died or end),
                    "grade": low, "up_to": draw(st.integers(low, 4)), "ambiguous": draw(st.booleans()),
                    "flags": draw(st.lists(st.sampled_from(["draft", "stale", "no-trigger"]), unique=True)),
                    "because": [], "waiting_for": [], "judgement": [], "definition": f"hash of {scale}",
                })
                at = end
            if died is None and draw(st.booleans()):
                rows[-1]["end"] = None
            if died is not None and word == LIB.scale(scale).fatal:
                rows.append(dict(rows[-1], start=died, end=None, grade=5, up_to=5, flags=["draft"]))
        if died is not None:
            facts.append({"patient_id": who, "measure": "death", "text": word, "time": died})
        for measure, content in draw(st.lists(st.sampled_from(CONTENTS), max_size=14)):
            time = draw(st.integers(0, 200))
            fact = {"patient_id": who, "measure": measure, "time": time, **content}
            if "hours" in fact:
                fact["end"] = time + fact.pop("hours")
            facts.append(fact)
    for row in (*rows, *facts):
        for key in {"start", "end", "time"} & set(row):
            row[key] = None if row[key] is None else START + row[key] * H
    facts.sort(key=lambda fact: (fact["patient_id"], fact["time"]))
    return pa.Table.from_pylist(rows, schema=INTERVALS), pa.Table.from_pylist(facts, schema=FACTS)


@given(charts())
@settings(max_examples=300, deadline=None)
def test_drawn_intervals_against_a_walk_through_time(chart):
    """Any intervals and facts: the same episodes as a plain loop over hours finds."""
    same(*chart)


@given(charts(), st.integers(1, 160))
@settings(max_examples=100, deadline=None)
def test_drawn_intervals_cut(chart, hours):
    """Cut by `until`, facts later than it change nothing."""
    intervals, facts = chart
    cut = START + hours * H
    rows = [dict(row) for row in intervals.to_pylist() if row["start"] < cut]
    for row in rows:
        row["end"] = min(row["end"] or cut, cut)
    same(pa.Table.from_pylist(rows, schema=INTERVALS), facts, cut)


@pytest.mark.parametrize("seed", range(12))
def test_graded_patients_against_a_walk_through_time(seed):
    """Real grades of drawn patients, quarter hour by quarter hour."""
    facts = tables.random_table(seed, SCALES, patients=2)
    facts = facts.filter(pc.is_null(facts["replaces"]))
    (graded,) = grade(facts, SCALES)
    same(graded, facts, step=tables.QUARTER)
