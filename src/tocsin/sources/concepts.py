"""What OMOP concepts mean, by the shelves, by the site's file, and by the vocabulary if it came along."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tocsin.sources.ordering import named, quoted

if TYPE_CHECKING:
    from tocsin.sources.codes import Meaning
    from tocsin.sources.folder import Folder

#: Tables whose concepts may be narrower than ours: a product of an ingredient, a kind of a device.
NARROWER = ("drug_exposure", "device_exposure", "procedure_occurrence", "condition_occurrence")


class Concepts:
    """Looks concepts up once per distinct id; `tables` may hold `concept` and `concept_ancestor`."""

    def __init__(self, tables: Folder) -> None:
        self.tables = tables
        self.codes = tables.codes

    def about(self, table: str, columns: tuple[str, ...]) -> Callable[[str, str, str], Meaning | None]:
        """A lookup of (concept, source concept, source value) for the concepts of one table.

        The concept itself goes first, then its code in its own vocabulary, then what it is a kind of,
        then the same of the source concept, then the site's own word.
        """
        listed = [
            f"select regexp_replace({self.tables.text(table, column)}, '\\.0$', '') as id from "
            f"{self.tables.scans[table]}"
            for column in columns[:2] if self.tables.has(table, column)
        ]  # fmt: skip
        ids = f"(select distinct id from ({' union all '.join(listed)}) where id is not null and id <> '0')"
        coded = self.coded(ids) if listed else {}
        wider = self.wider(ids) if listed and table in NARROWER else {}

        def find(concept: str, origin: str, word: str) -> Meaning | None:
            for each in (concept, origin):
                if each not in ("", "0"):
                    meaning = self.codes.find("OMOP", each) or coded.get(each) or wider.get(each)
                    if meaning is not None:
                        return meaning
            return self.codes.find(f"OMOP {table}", word) if word else None

        return find

    def coded(self, ids: str) -> dict[str, Meaning]:
        """Concepts whose code in LOINC, SNOMED, RxNorm and so on the shelves know."""
        if not self.tables.has("concept", "concept_id", "vocabulary_id", "concept_code"):
            return {}
        text = self.tables.text
        rows = self.tables.run(
            "concept",
            f"select {text('concept', 'concept_id')}, {text('concept', 'vocabulary_id')}, "
            f"{text('concept', 'concept_code')} "
            f"from {self.tables.scans['concept']} where {text('concept', 'concept_id')} in (select id from "
            f"{ids})",
        )
        found = {
            concept: self.codes.find(vocabulary, code)
            for concept, vocabulary, code in rows
            if vocabulary and code
        }
        return {concept: meaning for concept, meaning in found.items() if meaning is not None}

    def wider(self, ids: str) -> dict[str, Meaning]:
        """Concepts below one of ours; of several the nearest counts."""
        if not self.tables.has("concept_ancestor", "ancestor_concept_id", "descendant_concept_id"):
            return {}
        ours = [code for system, code in self.codes.lib.codes() if system == "OMOP"]
        text, table = self.tables.text, "concept_ancestor"
        above, below = text(table, "ancestor_concept_id"), text(table, "descendant_concept_id")
        far = self.tables.value(table, "min_levels_of_separation")
        rows = self.tables.run(
            table,
            f"select {below}, {above} from {self.tables.scans[table]} where {above} in "
            f"({', '.join(map(quoted, ours))}) "
            f"and {below} in (select id from {ids}) order by {far} desc nulls first, {above}",
        )
        found = {narrow: self.codes.find("OMOP", wide) for narrow, wide in rows}
        return {narrow: meaning for narrow, meaning in found.items() if meaning is not None}

    def answers(self, table: str) -> str:
        """SQL that joins each row to the word that its `value_as_concept_id` means (`a.word`)."""
        name = named(f"answers_{table}")
        values: list[str] = []
        if self.tables.has(table, "value_as_concept_id"):
            column = f"regexp_replace({self.tables.text(table, 'value_as_concept_id')}, '\\.0$', '')"
            ids = f"(select distinct {column} as id from {self.tables.scans[table]})"
            coded = self.coded(ids)
            for (concept,) in self.tables.run(
                table, f"select id from {ids} where id is not null and id <> '0'"
            ):
                meaning = self.codes.find("OMOP", concept) or coded.get(concept)
                if meaning is not None and meaning.word is not None:
                    values.append(f"({quoted(concept)}, {quoted(meaning.word)})")
        else:
            column = "null::varchar"
        self.tables.con.execute(
            f"create or replace temp table {name} as select id::varchar as id, word::varchar as word "
            f"from (values {', '.join(values) or '(null, null)'}) v(id, word)"
        )
        return f"left join {name} a on a.id = {column}"

    def unit(self, table: str) -> str:
        """SQL for the unit: the UCUM code of its concept where the vocabulary came along, else as charted."""
        charted = self.tables.text(table, "unit_source_value")
        if not (self.tables.has(table, "unit_concept_id") and self.tables.has("concept", "vocabulary_id")):
            return charted
        column = f"regexp_replace({self.tables.text(table, 'unit_concept_id')}, '\\.0$', '')"
        text = self.tables.text
        name = named(f"units_{table}")
        self.tables.con.execute(
            f"create or replace temp table {name} as select {text('concept', 'concept_id')} as id, "
            f"any_value({text('concept', 'concept_code')}) as ucum from {self.tables.scans['concept']} "
            f"where {text('concept', 'vocabulary_id')} = 'UCUM' group by 1"
        )
        return f"coalesce((select ucum from {name} u where u.id = {column}), {charted})"
