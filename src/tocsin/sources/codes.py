"""What a coded row means: the site's own code file first, then the codes of the shelves.

A code file is TOML and holds no code to run::

    [systems]                                  # what records call a system = a short name
    "http://hospital.example/labs" = "lab"
    [codes]                                    # "system|code" = measure, or a table
    "lab|CRP"   = "crp"
    "lab|TMP-F" = { measure = "temperature", unit = "[degF]" }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import DefinitionError, near

if TYPE_CHECKING:
    from tocsin.definitions.load import Library

MIMIC = Path(__file__).with_name("mimic-iv.toml")
#: What FHIR, OMOP and HL7 v2 (table 0396) call the systems whose codes stand on the shelves.
SYSTEMS = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RxNorm",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD-10-CM",
    "ICD10CM": "ICD-10-CM",
    "https://www.meddra.org": "MedDRA",
    "LN": "LOINC",
    "SCT": "SNOMED",
    "RXNORM": "RxNorm",
    "I10C": "ICD-10-CM",
}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code says: a measure, and whatever a row of it may leave out.

    `unit` is used where the row has none, `amount_unit` likewise for a dose given at once; `word` is
    the text of a category; `only` is the one method under which the code counts.
    """

    measure: str
    unit: str | None = None
    amount_unit: str | None = None
    word: str | None = None
    method: str | None = None
    only: str | None = None


class Codes:
    """Finds the meaning of (system, code); a site's file goes before the shipped one and the shelves."""

    def __init__(self, lib: Library, *files: Path | None) -> None:
        self.lib = lib
        self._systems: dict[str, str] = dict(SYSTEMS)
        self._own: dict[tuple[str, str], Meaning] = {}
        self._drugs: dict[str, Meaning] | None = None
        for file in reversed([file for file in files if file is not None]):
            self._take(file)

    def _take(self, file: Path) -> None:
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise DefinitionError(
                f"{file}: cannot be read: {error.strerror}\n  fix: give --codes a TOML file"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DefinitionError(f"{file}: not TOML: {error}\n  fix: mend the line named") from error
        Reader(table, str(file), ("id", "title", "status", "reading", "source", "systems", "codes"))
        for name, short in table.get("systems", {}).items():
            self._systems[name] = short
        for key, said in table.get("codes", {}).items():
            system, bar, code = key.partition("|")
            if not bar or not system or not code:
                raise DefinitionError(
                    f'{file}: the code `{key}` has no system\n  fix: write it as "system|code" = "measure"'
                )
            self._own[(self._systems.get(system, system), code)] = self._meaning(said, f"{file}, `{key}`")

    def _meaning(self, said: Any, where: str) -> Meaning:
        if isinstance(said, str):
            meaning = Meaning(said)
        elif isinstance(said, Mapping):
            reader = Reader(said, where, ("measure", "unit", "amount_unit", "word", "method", "only"))
            meaning = Meaning(
                reader.text("measure"),
                *(reader.maybe_text(key) for key in ("unit", "amount_unit", "word", "method", "only")),
            )
        else:
            raise DefinitionError(f"{where}: is {said!r}\n  fix: name a measure, or a table with `measure`")
        if meaning.measure not in self.lib.measures:
            raise DefinitionError(
                f"{where}: no measure `{meaning.measure}`{near(meaning.measure, self.lib.measures)}\n"
                "  why: rows of this code would be lost\n  fix: use an id of `tocsin list measures`"
            )
        return meaning

    def system(self, name: str) -> str:
        """The short name of a system, by which the file and the shelves know it."""
        return self._systems.get(name, name)

    def find(self, system: str, code: str) -> Meaning | None:
        """The meaning of one code, or None where nobody has said it.

        >>> from tocsin.definitions.load import library
        >>> Codes(library()).find("http://loinc.org", "8310-5")
        Meaning(measure='temperature', unit=None, amount_unit=None, word=None, method=None, only=None)
        """
        key = (self.system(system), code)
        if key in self._own:
            return self._own[key]
        found = self.lib.codes().get(key)
        if found is None and key[0] == "ICD-10-CM" and "." not in code and len(code) > 3:
            found = self.lib.codes().get((key[0], f"{code[:3]}.{code[3:]}"))
        if found is None:
            return None
        measure, shelf = found
        return Meaning(measure, unit=shelf.unit, word=shelf.word)

    def named(self, name: str) -> Meaning | None:
        """The drug or product of this name, where the name is the id but for case and separators."""
        key = "-".join(name.lower().replace("_", " ").split())
        key = NAMES.get(key, key)
        known = key in self.lib.measures and self.lib.measures[key].shelf in ("drugs", "therapies")
        return Meaning(key) if known else None


#: Names under which formats that code by word know a few of ours.
NAMES = {
    "angiotensin": "angiotensin-2",
    "angiotensin-ii": "angiotensin-2",
    "paracetamol": "acetaminophen",
    "tpn": "parenteral-nutrition",
    "noradrenaline": "norepinephrine",
    "adrenaline": "epinephrine",
}
