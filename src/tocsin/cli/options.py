"""Options that several commands share, and the account of what was read, rejected and not used."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tocsin.definitions.load import library
from tocsin.definitions.schema import TocsinError, near

if TYPE_CHECKING:
    import pyarrow as pa

    from tocsin.definitions.load import Library

F = TypeVar("F", bound=Callable[..., Any])
SHOWN_REJECTS = 3
#: Most rows kept back while none of them was usable.
HELD_ROWS = 1_000_000
SHOWN_UNUSED = 10


def moment(value: str) -> datetime:
    """A time that says its offset from UTC; a naive one would be hours off without anybody noticing.

    >>> moment("2026-03-01T15:00+01:00")
    datetime.datetime(2026, 3, 1, 14, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"`{value}` is not a time; write it as 2026-03-01T14:00Z") from None
    if told.tzinfo is None:
        raise click.BadParameter(f"`{value}` does not say its zone; write {value}Z for UTC or {value}+01:00")
    return told.astimezone(UTC)


def unit_of(value: str) -> tuple[str, str]:
    """`measure=unit`: the unit of a measure whose rows carry none.

    >>> unit_of("temperature=[degF]")
    ('temperature', '[degF]')
    """
    measure, _, unit = value.partition("=")
    if not (measure and unit):
        raise click.BadParameter(f"`{value}` is not measure=unit, as in temperature=[degF]")
    return measure, unit


def zone_of(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A time zone that exists: a misspelt one would only be noticed by a source whose times carry none."""
    if value == "UTC":
        return value
    from zoneinfo import available_timezones

    zones = available_timezones()
    # A machine may have no zone files at all; then whoever reads the times has to know the name.
    if zones and value not in zones:
        raise click.BadParameter(f"no time zone `{value}`{near(value, zones)}; a name as Europe/Berlin")
    return value


def reading_options(command: F) -> F:
    """How to read the source: zone, codes, definitions, units, what to do with rejects."""
    for option in reversed(
        (
            click.option(
                "--patient", "patients", multiple=True, metavar="ID", help="Only this patient (repeatable)."
            ),
            click.option(
                "--timezone", default="UTC", show_default=True, metavar="ZONE", callback=zone_of,
                help="Zone of times that carry none (OMOP, MEDS), as in Europe/Berlin.",
            ),
            click.option(
                "--codes", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
                help="A site's own codes, as TOML.",
            ),
            click.option(
                "--definitions", "folders", multiple=True,
                type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
                help="A folder of your own definitions on top of the built-in ones (repeatable).",
            ),
            click.option(
                "--unit", "units", multiple=True, type=unit_of, metavar="MEASURE=UNIT",
                help="Unit of a measure where the rows give none (repeatable).",
            ),
            click.option(
                "--rejects", type=click.Path(path_type=Path), metavar="FILE",
                help="Where rejected rows go; else OUT.rejects.csv.",
            ),
            click.option("--strict", is_flag=True, help="Exit 1 if any row was rejected."),
            click.option("--json", "as_json", is_flag=True, help="JSON lines, also on a terminal."),
        )
    ):
        command = option(command)
    return command


def scales_of(lib: Library, asked: Sequence[str]) -> tuple[str, ...]:
    """The scales asked for, `all` meaning every one; an unknown name is bad usage."""
    if "all" in asked:
        return lib.scales
    for name in asked:
        if name not in lib.scales:
            known = ", ".join(lib.scales)
            raise click.UsageError(f"no scale `{name}`{near(name, lib.scales)}\none of: {known}")
    return tuple(dict.fromkeys(asked))


class Reading:
    """A source being read: hands on facts, keeps account of what could not be used, and says so."""

    def __init__(
        self,
        files: Sequence[str],
        *,
        patients: Sequence[str] = (),
        timezone: str = "UTC",
        codes: Path | None = None,
        folders: Sequence[Path] = (),
        units: Sequence[tuple[str, str]] = (),
        rejects: Path | None = None,
        strict: bool = False,
        out: Path | None = None,
    ) -> None:
        from tocsin.facts import check_units
        from tocsin.sources.read import open_source

        self.lib = library(tuple(folders))
        _check_outputs(files, out, rejects)
        try:
            check_units(dict(units), self.lib)
        except TocsinError as error:
            raise click.UsageError(str(error)) from None
        self.files = files
        self.patients = patients
        self.strict = strict
        self.rejects_file = rejects or (out.with_name(out.name + ".rejects.csv") if out else None)
        self.source = open_source(files, lib=self.lib, timezone=timezone, units=dict(units), codes=codes)
        self.facts = 0
        self.usable = False

    def batches(self, to_grade: bool = False) -> Iterator[pa.RecordBatch]:
        """Canonical facts, whole patients a batch; several files are read as one.

        `to_grade` leaves out columns that grading does not read, where that spares reading them, and hands
        repeated texts on as dictionaries: a third of the work on a facts file.

        Nothing is handed on before a row proves usable, and a source of which nothing is, or that `strict`
        refuses, raises `TocsinError` at its end: no answer is finished from it.
        """
        columns = None
        if to_grade and not self.source.may_correct:
            from tocsin.grading.rows import READ

            columns = [*READ, "recorded"]
        held: list[pa.RecordBatch] = []
        with progress() as advance:
            for batch in self.source.batches(columns, encoded=to_grade and not self.patients):
                batch = self._only(batch)
                self.facts += batch.num_rows
                self.usable = self.usable or _any_usable(batch)
                advance(batch.num_rows)
                if batch.num_rows:
                    held.append(batch)
                if self.usable or self.facts > HELD_ROWS:
                    yield from held
                    held = []
        if not self.usable or (self.strict and self._rejected()):
            self.close()

    def _only(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if not self.patients:
            return batch
        import pyarrow as pa
        import pyarrow.compute as pc

        return batch.filter(pc.is_in(batch["patient_id"], value_set=pa.array(self.patients, pa.string())))

    def table(self) -> pa.Table:
        """All facts at once; for one patient or a small file."""
        import pyarrow as pa

        from tocsin.facts import SCHEMA

        return pa.Table.from_batches(list(self.batches()), SCHEMA)

    def close(self) -> None:
        """Say what was read, rejected and not used; raise if nothing was usable.

        Raises
        ------
        TocsinError : no row was usable, or `strict` and a row was rejected.
        """
        source = self.source
        rejects = self._rejected()
        count = sum(table.num_rows for table in rejects)
        say(f"read {counted(source.rows_read, 'row')} ({source.kind}): {counted(self.facts, 'fact')}")
        for note in source.notes:
            say(note)
        self._say_unused()
        if count:
            self._say_rejects(rejects)
        if self.patients and not self.facts:
            raise TocsinError(f"no facts of patient {', '.join(self.patients)}")
        if not self.usable:
            said = "no row was usable" if source.rows_read else "there is no row to read"
            raise TocsinError(
                f"{', '.join(_called(name) for name in self.files)}: {said}\n"
                "  why: an empty answer would look like a patient without CRS"
            )
        if count and self.strict:
            raise TocsinError(f"{counted(count, 'row')} not taken as written, and --strict was given")

    def _rejected(self) -> list[pa.Table]:
        return [table for table in self.source.rejects if table.num_rows]

    def _say_unused(self) -> None:
        unused = self.source.unused
        if not unused:
            return
        rows, codes = sum(unused.values()), len(unused)
        first = f"the {SHOWN_UNUSED} most frequent" if codes > SHOWN_UNUSED else "all of them"
        say(f"{counted(rows, 'row')} of {counted(codes, 'code')} not used; {first}:")
        for (system, code), times in unused.most_common(SHOWN_UNUSED):
            say(f"  {times:>10,}  {system} {code}")

    def _say_rejects(self, rejects: Sequence[pa.Table]) -> None:
        from tocsin.facts import messages

        for text in messages(rejects[0], SHOWN_REJECTS):
            say(text)
        kinds = Counter(kind for table in rejects for kind in table["kind"].to_pylist())
        said = ", ".join(f"{times:,} {kind.replace('-', ' ')}" for kind, times in kinds.most_common())
        if self.rejects_file is None:
            say(f"rows not taken as written: {said}; --rejects FILE lists each with why and fix")
            return
        from tocsin.cli.output import write_file

        write_file(rejects, self.rejects_file)
        say(f"rows not taken as written: {said}; see {self.rejects_file}")


def _check_outputs(files: Sequence[str], out: Path | None, rejects: Path | None) -> None:
    """Refuse, before any work, a place for rejects that cannot be written, and to write over what is read."""
    if rejects:
        from tocsin.cli.output import check_suffix

        check_suffix(rejects)
    read = {Path(name).resolve() for name in files if name != "-"}
    for path in (out, rejects):
        if path and path.resolve() in read:
            raise click.UsageError(f"{path} is also what is read; name another file to write")


def _called(name: str) -> str:
    return "standard input" if name == "-" else name


def counted(number: int, thing: str) -> str:
    """A number with its thing.

    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _any_usable(batch: pa.RecordBatch) -> bool:
    """Whether any row says something: a rejected row stays, as `unusable`, so as not to look absent."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = batch.column("text")
    text = text.dictionary_decode() if isinstance(text, pa.DictionaryArray) else text
    told = pc.fill_null(pc.not_equal(text, "unusable"), True)
    return bool(pc.any(told).as_py())


def say(text: str) -> None:
    """A line for the person at the terminal; never mixed into the answer on standard output."""
    click.echo(text, err=True)


@contextmanager
def progress() -> Iterator[Callable[[int], None]]:
    """A counter of facts on a terminal, silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda facts: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} facts"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda facts: bar.advance(task, facts)
