"""From a thousand patients to a million, here and on Spark: CPU, memory, bytes, and one checksum for both.

    python bench/scale.py --patients 1000 10000 100000 --scales all
    python bench/scale.py --patients 100000 --scales astct-2019 --engine local spark

Simulated patients are repeated under new ids, a chunk of 10,000 patients (about 11 M facts) at a time;
making them is not counted. `local` is one process that grades chunk after chunk as `tocsin grade CHUNK --out
ANSWER` does, start-up included; a chunk and its answer are deleted before the next is made, so a million
patients need the disk of ten thousand. It is stopped past --memory. `spark` needs all chunks at once: a
session on two cores; CPU is that of the whole tree of processes with the Java machine, whose start is in a
column of its own. The checksum is over every column of every interval, whatever their order. Repeated
patients compress far better than different ones: the bytes read are a lower bound.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from measure import resident

#: Simulated patients that are repeated, and how many patients a chunk has.
COHORT, CHUNK = 1_000, 10_000
TICKS = os.sysconf("SC_CLK_TCK")


# --- facts ----------------------------------------------------------------------------------------------


def cohort(days: float, place: Path) -> Path:
    """Canonical facts of the simulated patients, made by a process of its own: this one stays small."""
    path = place / "cohort.parquet"
    command = ["simulate", "--therapy", "teclistamab", "--patients", str(COHORT), "--days", str(days)]
    tocsin = [sys.executable, "-c", "from tocsin.cli.front import main; main()"]
    subprocess.run([*tocsin, *command, "--out", str(place / "raw.parquet")], check=True, capture_output=True)
    subprocess.run(
        [*tocsin, "facts", str(place / "raw.parquet"), "--out", str(path)], check=True, capture_output=True
    )
    return path


def chunk(facts: Path, first: int, patients: int, out: Path) -> int:
    """Write patients `first` to `first + patients` as a facts file; returns its rows."""
    from tocsin.facts import write_facts

    table = pq.read_table(facts)
    place = table.column_names.index("patient_id")
    ids = table["patient_id"].combine_chunks()

    def copies() -> Iterator[pa.RecordBatch]:
        for copy in range(first // COHORT, -(-(first + patients) // COHORT)):
            named = pc.binary_join_element_wise(f"{copy:06d}", ids, "-")
            one = table.set_column(place, "patient_id", named)
            wanted = first + patients - copy * COHORT
            if wanted < COHORT:
                last = pc.unique(named)[wanted]
                one = one.slice(0, pc.index(named, last).as_py())
            yield from one.combine_chunks().to_batches()

    return int(write_facts(copies(), out))


# --- what came out --------------------------------------------------------------------------------------


def checksum(paths: list[Path]) -> int:
    """The sum over all intervals of a number that depends on every column."""
    total = np.uint64(0)
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(262_144):
            with np.errstate(over="ignore"):
                row = np.full(batch.num_rows, 1469598103934665603, np.uint64)
                for name in batch.schema.names:
                    row = (row ^ _number(batch.column(name))) * np.uint64(1099511628211)
                    row ^= row >> np.uint64(29)
                total += row.sum(dtype=np.uint64)
    return int(total)


def _number(column: pa.Array) -> np.ndarray[Any, Any]:
    """Each value as a number of 64 bits; of a list the sum over its words and their places."""
    if pa.types.is_list(column.type):
        words, lengths = _number(column.flatten()), pc.list_value_length(column).to_numpy()
        row = np.repeat(np.arange(len(column)), lengths)
        place = np.arange(len(words)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        out = np.zeros(len(column), np.uint64)
        np.add.at(out, row, words * (place + 1).astype(np.uint64))
        return out
    if pa.types.is_string(column.type):
        coded = column.dictionary_encode()
        told = [zlib.crc32(word.encode()) for word in coded.dictionary.to_pylist()]
        return np.array([*told, 0], np.uint64)[coded.indices.to_numpy()]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz="UTC"))
    whole = pc.fill_null(column.cast(pa.int64()), -1)
    return whole.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)


# --- the processes that grade ---------------------------------------------------------------------------


def warm() -> None:
    """Compile the machine where this computer has not done so before: that is not what is measured."""
    from tocsin.grading.batch import grade_table
    from tocsin.testing import patient

    grade_table(patient("0 h temperature 39.0 Cel"), engine="numba")


def local(scales: list[str]) -> None:
    """Grade each facts file named on standard input into the file named after it."""
    from tocsin.cli.output import write_file
    from tocsin.definitions.load import library
    from tocsin.grading.batch import grade
    from tocsin.grading.rows import READ
    from tocsin.sources.read import open_source

    lib = library()
    for line in sys.stdin:
        facts, out = line.rstrip("\n").split("\t")
        batches = open_source(facts).batches([*READ, "recorded"], encoded=True)
        rows = write_file(grade(batches, scales or list(lib.scales), lib=lib), Path(out))
        print(json.dumps({"intervals": rows}), flush=True)


def spark(scales: list[str], partitions: int) -> None:
    """Say when the session stands; then grade the folder named on standard input into another."""
    from tocsin.definitions.load import library
    from tocsin.grading import spark as engine

    session = engine.session("local[2]")
    session.range(1).count()
    print(json.dumps({"ready": True}), flush=True)
    lib = library()
    for line in sys.stdin:
        facts, out = line.rstrip("\n").split("\t")
        found = engine.grade(facts, scales or list(lib.scales), lib=lib, partitions=partitions)
        found.write.parquet(out)
        print(json.dumps({"intervals": session.read.parquet(out).count()}), flush=True)


def spent(session: int) -> float:
    """CPU seconds of all processes of a session, and of those they have waited for."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            said = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(said[3]) == session:
            total += sum(map(int, said[11:15]))
    return total / TICKS


@dataclass
class Cost:
    """What a contender cost; `failed` says why it gave no answer."""

    cpu: float = 0.0
    start: float = 0.0
    wall: float = 0.0
    peak: float = 0.0
    facts: int = 0
    intervals: int = 0
    read: int = 0
    wrote: int = 0
    check: int = 0
    failed: str = ""
    told: list[str] = field(default_factory=list)


class Child:
    """A process that grades what it is told to, one line at a time, under a limit of memory."""

    def __init__(self, name: str, scales: list[str], memory: float, partitions: int = 0) -> None:
        command = [sys.executable, __file__, "--child", name, "--scales", *(scales or ["all"])]
        environment = dict(os.environ, PYSPARK_SUBMIT_ARGS="--driver-memory 4g pyspark-shell")
        self.memory, self.peak = memory, 0.0
        self.process = subprocess.Popen(
            [*command, "--partitions", str(partitions)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True, env=environment,
        )  # fmt: skip

    def answer(self) -> dict[str, Any]:
        """The next line it prints; raises `RuntimeError` where it dies or holds too much."""
        import select

        assert self.process.stdout is not None
        while not select.select([self.process.stdout], [], [], 0.1)[0]:
            self._look()
        line = self.process.stdout.readline()
        self._look()
        if not line:
            raise RuntimeError(f"ended with {self.process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def _look(self) -> None:
        self.peak = max(self.peak, resident(self.process.pid))
        if self.memory and self.peak > self.memory:
            self.process.kill()
            raise RuntimeError(f"out of memory ({self.memory:g} GB)")

    def ask(self, facts: Path, out: Path) -> dict[str, Any]:
        """Have one file or folder graded."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{facts}\t{out}\n")
        self.process.stdin.flush()
        return self.answer()

    def cpu(self) -> float:
        return spent(self.process.pid)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def here(patients: int, facts: Path, place: Path, options: argparse.Namespace) -> Cost:
    """One process, chunk after chunk; each is made before it is graded and deleted after."""
    cost, child = Cost(), Child("local", options.scales, options.memory)
    try:
        for first in range(0, patients, CHUNK):
            path, out = place / "chunk.parquet", place / "answer.parquet"
            cost.facts += chunk(facts, first, min(CHUNK, patients - first), path)
            began = time.monotonic()
            cost.intervals += child.ask(path, out)["intervals"]
            cost.wall += time.monotonic() - began
            cost.read += path.stat().st_size
            cost.wrote += out.stat().st_size
            cost.check = (cost.check + checksum([out])) % 2**64
            path.unlink()
            out.unlink()
        cost.cpu = child.cpu()
    except RuntimeError as error:
        cost.failed = str(error)
    cost.peak = child.peak
    child.close()
    return cost


def there(patients: int, facts: Path, place: Path, options: argparse.Namespace) -> Cost:
    """One Spark session on two cores over all chunks."""
    cost, folder, out = Cost(), place / "facts", place / "answer"
    folder.mkdir()
    for first in range(0, patients, CHUNK):
        path = folder / f"part-{first:08d}.parquet"
        cost.facts += chunk(facts, first, min(CHUNK, patients - first), path)
        cost.read += path.stat().st_size
    began = time.monotonic()
    child = Child("spark", options.scales, 0, max(8, cost.facts // 2_000_000))
    try:
        child.answer()
        cost.start, began = child.cpu(), time.monotonic()
        cost.intervals = child.ask(folder, out)["intervals"]
        cost.wall, cost.cpu = time.monotonic() - began, child.cpu() - cost.start
        parts = sorted(out.glob("*.parquet"))
        cost.wrote, cost.check = sum(part.stat().st_size for part in parts), checksum(parts)
    except RuntimeError as error:
        cost.failed = str(error)
    cost.peak = child.peak
    child.close()
    shutil.rmtree(folder)
    shutil.rmtree(out, ignore_errors=True)
    return cost


HEAD = (
    f"{'patients':>9} {'engine':<6} {'facts':>12} {'intervals':>11} {'CPU s':>8} {'start':>6} {'wall s':>7} "
    f"{'pat/CPU s':>9} {'M ev/CPU s':>10} {'GB RAM':>6} {'GB in':>6} {'GB out':>6} {'core h/1M':>9}  checksum"
)


def line(patients: int, engine: str, cost: Cost) -> str:
    """A row of the table."""
    if cost.failed:
        return f"{patients:>9,} {engine:<6} {cost.facts:>12,} failed: {cost.failed}"
    events = cost.facts / cost.cpu / 1e6
    return (
        f"{patients:>9,} {engine:<6} {cost.facts:>12,} {cost.intervals:>11,} {cost.cpu:>8.1f} "
        f"{cost.start:>6.1f} {cost.wall:>7.1f} {patients / cost.cpu:>9.0f} {events:>10.2f} "
        f"{cost.peak:>6.2f} {cost.read / 1e9:>6.2f} {cost.wrote / 1e9:>6.2f} "
        f"{cost.cpu / patients * 1e6 / 3600:>9.2f}  {cost.check:016x}"
    )


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--days", type=float, default=14)
    parser.add_argument("--scales", nargs="+", default=["all"])
    engines = ("local", "spark")
    parser.add_argument("--engine", nargs="+", choices=engines, default=["local"])
    parser.add_argument("--memory", type=float, default=2, help="GB the local process may hold")
    parser.add_argument("--place", type=Path, help="where chunks lie until they are graded")
    parser.add_argument("--child", choices=["local", "spark", "warm"], help=argparse.SUPPRESS)
    parser.add_argument("--partitions", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.scales = [] if options.scales == ["all"] else options.scales
    if options.child == "warm":
        return warm()
    if options.child == "local":
        return local(options.scales)
    if options.child == "spark":
        return spark(options.scales, options.partitions)
    place = Path(tempfile.mkdtemp(prefix="tocsin-scale-", dir=options.place))
    try:
        subprocess.run([sys.executable, __file__, "--child", "warm"], check=True)
        facts = cohort(options.days, place)
        asked = ", ".join(options.scales) or "all scales"
        print(f"{asked}; {options.days:g} days; load {os.getloadavg()[0]:.1f}")
        print("peak GB RAM of spark: its Python driver only; core h/1M: core hours for a million patients")
        print(HEAD, flush=True)
        for patients in options.patients:
            costs = {}
            for engine in options.engine:
                costs[engine] = (here if engine == "local" else there)(patients, facts, place, options)
                print(line(patients, engine, costs[engine]), flush=True)
            if len(costs) == 2 and not any(cost.failed for cost in costs.values()):
                ours, theirs = costs["local"], costs["spark"]
                same = "identical" if ours.check == theirs.check else "DIFFERENT"
                print(f"spark / local: {theirs.cpu / ours.cpu:.1f} x CPU without its start; answers {same}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return None


if __name__ == "__main__":
    main()
