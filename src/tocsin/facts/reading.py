"""Charted rows as they come in: of whom, when, and in which words.

Each distinct (measure, text) pair is looked at once; the answer is then looked up for the whole column.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tocsin.definitions.load import Library
from tocsin.definitions.schema import KINDS, near
from tocsin.facts import meaning
from tocsin.facts.parse import ABSENT, BAD, NAIVE, Coded, Flags, Ints, coded, instants
from tocsin.facts.rejects import NO_MEASURE, NO_PATIENT, NO_TIME, RETRACTS_NOTHING, Problem, Problems

EVENT = KINDS.index("event")
KEPT = "; the row stays in the table as given"


class Reading:
    """One table on its way through; each method settles one column for all rows."""

    def __init__(
        self,
        given: Mapping[str, pa.Array],
        length: int,
        lib: Library,
        source: str,
        units: Mapping[str, str],
        first: int | None,
    ) -> None:
        self.given, self.length, self.lib, self.units = given, length, lib, units
        self.texts: dict[str, Coded] = {}
        self.problems = Problems(np.zeros(length, np.int64))
        row, file = given.get("row"), given.get("file")
        self.own = first is not None
        if not self.own:
            row, file = pa.nulls(length, pa.int64()), given.get("source")
        self.row = (
            pa.array(np.arange(first or 0, (first or 0) + length)) if row is None else row.cast(pa.int64())
        )
        self.file = Coded(np.zeros(length, np.int64), [source]).encoded() if file is None else file

    def text(self, name: str) -> Coded:
        """A text column as codes, worked out once."""
        if name not in self.texts:
            self.texts[name] = coded(self.given.get(name), self.length)
        return self.texts[name]

    def who(self) -> None:
        mark = self.problems.mark
        self.patient = self.text("patient_id")
        mark(self.patient.codes < 0, NO_PATIENT)
        self.measure = self.text("measure")
        mark(self.measure.codes < 0, NO_MEASURE)
        self.known = [self.lib.measures.get(word, None) for word in self.measure.words]
        kinds = [-1 if measure is None else KINDS.index(measure.kind) for measure in self.known]
        self.kind = np.array([*kinds, -1])[self.measure.codes]
        for place, word in enumerate(self.measure.words):
            if kinds[place] < 0:
                mark(
                    self.measure.codes == place,
                    Problem(
                        f"is no measure{near(word, self.lib.measures)}",
                        "a fact that is not understood would silently be missing from the grade",
                        "use an id of `tocsin list measures`, or add a definition of your own",
                    ),
                )

    def instant(self, name: str, timezone: str | None) -> tuple[Ints, Ints]:
        values, status = instants(self.given.get(name), self.length, timezone)
        naive = Problem(
            f"has a `{name}` without a time zone",
            "the same clock time is a different instant in every zone",
            "write the zone: 2024-03-01T14:30Z or 2024-03-01T14:30+01:00",
        )
        wrong = Problem(
            f"has a `{name}` that is no time",
            "without a time it cannot be put in order",
            "write ISO 8601 with a zone: 2024-03-01T14:30Z",
        )
        for state, problem in ((NAIVE, naive), (BAD, wrong)):
            self.refuse(status == state, problem, keeps=name != "time")
        return values, status

    def refuse(self, where: Flags, problem: Problem, keeps: bool = True) -> None:
        """Refuse rows; an event among them still happened, and stays without what is wrong."""
        if keeps and np.any(where):
            self.problems.mark(
                where & (self.kind == EVENT),
                Problem(problem.what, problem.why + KEPT, problem.fix, "kept-as-given"),
            )
        self.problems.mark(where, problem)

    def when(self, timezone: str | None) -> None:
        self.time, status = self.instant("time", timezone)
        self.problems.mark(status == ABSENT, NO_TIME)

    def period(self, timezone: str | None) -> None:
        self.end, ends = self.instant("end", timezone)
        self.recorded, records = self.instant("recorded", timezone)
        backward = (ends == 0) & (self.end < self.time)
        self.refuse(
            backward,
            Problem("ends before it begins", "how long it lasted is not known", "correct `time` or `end`"),
        )
        self.no_end = (ends != 0) | backward
        self.no_record = records != 0

    def words(self) -> None:
        """Settle `text`: comparators, words of a category, and the words that say what a row is."""
        texts = self.text("text")
        self.outcome = np.zeros(self.length, np.int64)
        self.said: dict[str, int] = {}
        self.saying = np.full(self.length, -1, np.int64)
        places = np.flatnonzero((texts.codes >= 0) & (self.kind >= 0))
        size = max(len(texts.words), 1)
        pairs, which = np.unique(self.measure.codes[places] * size + texts.codes[places], return_inverse=True)
        plans = []
        for pair in pairs.tolist():
            measure = self.known[pair // size]
            assert measure is not None
            plans.append(meaning.word_plan(measure, texts.words[pair % size]))
        if plans:
            self.outcome[places] = np.array([plan.outcome for plan in plans])[which]
            self.saying[places] = np.array([self.say(plan.text) for plan in plans])[which]
            numbers_ = [self.problems.number(plan.problem) if plan.problem else 0 for plan in plans]
            self.problems.put(places, np.array(numbers_)[which])
        self.retracted = self.outcome == meaning.RETRACTED
        if np.any(self.retracted):
            self.problems.mark(self.retracted & (self.text("replaces").codes < 0), RETRACTS_NOTHING)

    def say(self, text: str | None) -> int:
        return -1 if text is None else self.said.setdefault(text, len(self.said))
