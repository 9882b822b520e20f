"""What happened to others: always "in cohort X of n", never this patient's probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from tocsin.definitions.dose import STATUS_WORDS
from tocsin.definitions.load import Library
from tocsin.definitions.measure import parse
from tocsin.definitions.reader import Reader
from tocsin.definitions.schema import COMMON

Said = dict[str, Any]
UNITS = {
    "d": "days",
    "h": "hours",
    "weeks": "weeks",
    "d (IQR)": "days (quartiles)",
    "d (quartiles)": "days (quartiles)",
}
ENTRY_WORDS = ("topic", "cohort", "n", "says", "timing", "classes", "therapies", "source", "status")


@lru_cache(maxsize=64)
def outlook(therapy: str | None, lib: Library) -> tuple[Said, ...]:
    """What studies of this therapy, and of therapies of its kind, report: onset, duration, complications.

    One entry a figure: `{topic, text, cohort, n, population, scale, source, status}`. With no therapy only
    what is not tied to one; a therapy of which nothing was found says so.

    >>> from tocsin.definitions.load import library
    >>> outlook("teclistamab", library())[0]["text"]
    'in MajesTEC-1, of 165 people (R/R multiple myeloma), 72.1 % had CRS of any grade (ASTCT 2019)'
    """
    own = list(_of_therapy(therapy, lib)) if therapy else []
    if not own:
        what = therapy or "CRS without a therapy charted"
        own = [_entry("CRS", f"no figure was found for {what}", "", None, "", "", [], "draft")]
    return (*own, *_of_shelf(therapy, lib))


def _entry(
    topic: str, text: str, cohort: str, n: Any, population: str, scale: str, source: list[str], status: str
) -> Said:
    return {
        "topic": topic, "text": text, "cohort": cohort, "n": n, "population": population, "scale": scale,
        "source": source, "status": status,
    }  # fmt: skip


def _of_therapy(therapy: str, lib: Library) -> Iterator[Said]:
    """The figures of each indication; a figure that rests on memory is marked so."""
    for item in lib.measure(therapy).raw.get("indication", ()):
        memory = set(item.get("memory_fields", ()))
        cohort, n, population = item.get("trial", ""), item.get("n"), item.get("indication", "")
        scale = item.get("grading_scale", "scale not named")
        people = f"of {n} people ({population})" if n is not None else f"({population})"
        head = f"in {cohort or 'the source'}, {people},"
        source = list(item.get("crs_source", item.get("source", ())))

        def said(
            topic: str, text: str, *fields: str, head: str = head, cohort: str = cohort, n: Any = n,
            population: str = population, scale: str = scale, source: list[str] = source,
            memory: set[str] = memory,
        ) -> Said:  # fmt: skip
            rests = memory & {*fields, "ALL", "n"} or any(
                name.startswith(field.split("_")[0]) and "_" not in name
                for name in memory
                for field in fields
            )
            status = "memory" if rests or source == ["memory"] else "draft"
            return _entry(topic, f"{head} {text}", cohort, n, population, scale, source, status)

        if "crs_any_pct" in item:
            yield said(
                "CRS",
                f"{item['crs_any_pct']:g} % had CRS of any grade ({scale})",
                "crs_any_pct",
                "grading_scale",
            )
        if "crs_g3plus_pct" in item:
            text = f"{item['crs_g3plus_pct']:g} % had grade 3 or more ({scale})"
            yield said("severe CRS", text, "crs_g3plus_pct", "grading_scale")
        for topic, key in (("onset", "onset"), ("duration", "duration")):
            if f"{key}_median" in item:
                entry = said(topic, _spread(item, key), f"{key}_median", f"{key}_min", f"{key}_max", key)
                if f"{key}_cohort" in item:
                    # this figure comes from another cohort than the rest of the row
                    other, many = str(item[f"{key}_cohort"]), item.get(f"{key}_n")
                    text = f"in {other}, of {many} people, {_spread(item, key)}"
                    entry = {**entry, "text": text, "cohort": other, "n": many}
                yield entry
        if "tocilizumab_pct" in item:
            of = item.get("tocilizumab_denominator", "")
            text = f"{item['tocilizumab_pct']:g} % were given tocilizumab ({of or 'of whom is not said'})"
            yield said("tocilizumab", text, "tocilizumab_pct")


def _spread(item: Mapping[str, Any], key: str) -> str:
    """A median with its range."""
    unit = str(item.get(f"{key}_unit", ""))
    words = UNITS.get(unit, unit)
    low, high = item.get(f"{key}_min"), item.get(f"{key}_max")
    spread = f" ({low:g} to {high:g})" if low is not None and high is not None else ""
    what = "CRS began at a median of" if key == "onset" else "CRS lasted a median of"
    after = f", counted from: {item['onset_anchor']}" if key == "onset" and item.get("onset_anchor") else ""
    return f"{what} {item[f'{key}_median']:g}{spread} {words}{after}"


@lru_cache(maxsize=4)
def _shelf(lib: Library) -> tuple[tuple[tuple[str, ...], tuple[str, ...], Said], ...]:
    out = []
    for _, path in sorted(lib.files("outlook").items()):
        table = parse(path)
        Reader(table, str(path), (*COMMON, "entry"))
        for i, item in enumerate(table.get("entry", ())):
            reader = Reader(item, f"{path}, entry {i + 1}", ENTRY_WORDS)
            n = reader.number("n")
            cohort, says, timing = reader.text("cohort"), reader.text("says"), reader.text("timing", "")
            of = f", of {n:g} people," if n is not None else ","
            text = f"in {cohort}{of} {says}" + (f"; {timing}" if timing else "")
            source = list(reader.names("source"))
            status = "memory" if "memory" in source else reader.choice("status", STATUS_WORDS, "draft")
            entry = _entry(
                reader.text("topic"), text, cohort, None if n is None else int(n), "", "", source, status
            )
            out.append((reader.names("classes"), reader.names("therapies"), entry))
    return tuple(out)


def _of_shelf(therapy: str | None, lib: Library) -> Iterator[Said]:
    classes = lib.measure(therapy).classes if therapy else ()
    for wanted, therapies, entry in _shelf(lib):
        if (not wanted and not therapies) or set(wanted) & set(classes) or therapy in therapies:
            yield entry
