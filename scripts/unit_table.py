"""Makes `src/tocsin/units.csv`: the conversions that records commonly ask for, worked out once by pint.

python scripts/unit_table.py           write it
python scripts/unit_table.py --check   say whether it is what pint and the definitions say today
"""

from __future__ import annotations

import csv
import io
import sys

from tocsin.definitions.load import library
from tocsin.units import TABLE, UnitError, work_out

#: Units charts use beside those a definition lists; each is tried against every measure.
COMMON = (
    "Cel", "[degF]", "K", "kg", "g", "[lb_av]", "[oz_av]", "cm", "m", "[in_i]", "a", "mo", "wk", "d", "h",
    "min", "s", "%", "1", "mm[Hg]", "kPa", "cm[H2O]", "/min", "L/min", "mL/min", "L", "mL", "g/dL", "g/L",
    "mg/dL", "mg/L", "ug/mL", "ug/dL", "ug/L", "ng/mL", "ng/dL", "ng/L", "pg/mL", "mol/L", "mmol/L",
    "umol/L", "nmol/L", "pmol/L", "U/L", "U/mL", "k[IU]/L", "[IU]/L", "[IU]/mL", "m[IU]/mL", "ukat/L",
    "10*3/uL", "10*6/uL", "10*9/L", "10*12/L", "/uL", "/mm3", "ug/kg/min", "ug/kg/h", "mg/kg/min",
    "mg/kg/h", "ng/kg/min", "ug/min", "ug/h", "mg/min", "mg/h", "g/h", "mL/h", "mL/kg/h", "[IU]/min",
    "[IU]/h", "m[IU]/min", "[IU]/kg/min", "[IU]/kg/h", "ng", "ug", "mg", "g", "[IU]", "mg/kg", "ug/kg",
    "g/kg", "[IU]/kg", "meq/L", "mg/m2",
)  # fmt: skip


def units_of_measures() -> tuple[dict[str, set[str]], set[str]]:
    """Canonical unit to the units its measures list; and those a drug's rate or dose is asked for in."""
    lib = library()
    wanted: dict[str, set[str]] = {}
    given: set[str] = set()
    wanted["[degF]"] = {"Cel"}  # patients are told both, on every page of theirs
    for name in lib.measures:
        measure = lib.measures[name]
        if measure.unit:
            listed = wanted.setdefault(measure.unit, set())
            listed |= {*measure.aliases.values(), *(code.unit for code in measure.codes if code.unit)}
            if measure.kind in ("infusion", "event"):
                given.add(measure.unit)
    return wanted, given


def table() -> str:
    """The table as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["from", "to", "becomes", "num", "den", "shift", "molar", "weight"])
    measures, given = units_of_measures()
    for wanted, listed in sorted(measures.items()):
        for charted in sorted({*COMMON, *listed} - {wanted}):
            try:
                found = work_out(charted, wanted)
            except UnitError:
                continue
            if found.becomes != "value" and wanted not in given:
                continue
            writer.writerow(
                [
                    charted,
                    wanted,
                    found.becomes,
                    f"{found.num:.17g}",
                    f"{found.den:.17g}",
                    f"{found.shift:.17g}",
                    found.molar,
                    found.weight,
                ]
            )
    return out.getvalue()


def main() -> int:
    """Write the table, or compare it."""
    made = table()
    if "--check" not in sys.argv[1:]:
        TABLE.write_text(made, encoding="utf-8")
        print(f"wrote {TABLE.name}: {made.count(chr(10)) - 1} pairs")
        return 0
    if TABLE.read_text(encoding="utf-8") == made:
        return 0
    print(f"{TABLE.name} is out of date: run python scripts/unit_table.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
