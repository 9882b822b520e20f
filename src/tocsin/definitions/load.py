"""Reads the shelves: one TOML file, one thing, its stem its id; lazily, each file once.

A site adds or overrides with folders of its own, later folders winning; two files with one id inside
one folder are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

from tocsin.definitions.measure import read_measure
from tocsin.definitions.scale import read_scale
from tocsin.definitions.schema import SHELVES, Code, DefinitionError, Measure, Scale, near

HERE = Path(__file__).parent


class Measures(Mapping[str, Measure]):
    """All ids the `measure` column may hold; each file is parsed when first asked for."""

    def __init__(self, files: dict[str, tuple[str, Path]]) -> None:
        self._files = files
        self._read: dict[str, Measure] = {}

    def __getitem__(self, name: str) -> Measure:
        if name not in self._read:
            if name not in self._files:
                raise KeyError(name)
            self._read[name] = read_measure(*self._files[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._files))

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files



class Library:
    """The built-in shelves plus a site's own folders."""

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        self.folders = (HERE, *folders)
        for folder in folders:
            if not folder.is_dir():
                raise DefinitionError(
                    f"{folder}: no such folder\n  fix: --definitions takes a folder of shelves"
                )
        files: dict[str, tuple[str, Path]] = {}
        for folder in self.folders:
            seen: dict[str, Path] = {}
            for shelf in SHELVES:
                for path in sorted((folder / shelf).glob("*.toml")):
                    if path.stem in seen:
                        raise DefinitionError(
                            f"{path}: `{path.stem}` is already defined in {seen[path.stem]}\n"
                            "  why: ids are unique over all shelves; two meanings would mix two rules\n"
                            "  fix: rename or remove one of the two files"
                        )
                    seen[path.stem] = path
                    files[path.stem] = (shelf, path)
        self.measures = Measures(files)

    def measure(self, name: str) -> Measure:
        """The measure of this id; an unknown one is refused with its near miss."""
        try:
            return self.measures[name]
        except KeyError:
            raise DefinitionError(f"no measure `{name}`{near(name, self.measures)}") from None

    def files(self, shelf: str) -> dict[str, Path]:
        """Id to file of one shelf, the site's own winning."""
        return {
            path.stem: path for folder in self.folders for path in sorted((folder / shelf).glob("*.toml"))
        }

    @cached_property
    def scales(self) -> tuple[str, ...]:
        return tuple(sorted(self.files("scales")))

    @cached_property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Class of drug or therapy to the ids in it."""
        found: dict[str, list[str]] = {}
        for name in self.measures:
            for kind in self.measures[name].classes:
                found.setdefault(kind, []).append(name)
        return {kind: tuple(names) for kind, names in found.items()}

    def codes(self) -> Mapping[tuple[str, str], tuple[str, Code]]:
        """(system, code) to (measure id, code), over all shelves."""
        return self._codes

    @cached_property
    def _codes(self) -> Mapping[tuple[str, str], tuple[str, Code]]:
        found: dict[tuple[str, str], tuple[str, Code]] = {}
        for name in self.measures:
            for code in self.measures[name].codes:
                key = (code.system, code.code)
                if key in found and found[key][0] != name:
                    raise DefinitionError(
                        f"{code.system} {code.code} means both `{found[key][0]}` and `{name}`\n"
                        "  why: a coded row would be read as one of two things by chance\n"
                        "  fix: keep the code in one of the two files"
                    )
                found[key] = (name, code)
        return found

    def scale(self, name: str) -> Scale:
        """One scale, checked whole; raises `DefinitionError`."""
        if name not in self._scales:
            files = {**self.files("complications"), **self.files("scales")}
            if name not in files:
                known = ", ".join(self.scales)
                raise DefinitionError(f"no scale `{name}`{near(name, files)}\n  fix: one of {known}")
            self._scales[name] = read_scale(files[name], self)
        return self._scales[name]

    @cached_property
    def _scales(self) -> dict[str, Scale]:
        return {}

    def definition_hash(self, name: str) -> str:
        """SHA-256 of every definition file that can change this scale's answers."""
        return self.scale(name).hash



@lru_cache(maxsize=8)
def library(folders: tuple[Path, ...] = ()) -> Library:
    """The shelves, with `folders` of the site's own on top.

    >>> library().scale("astct-2019").outcome
    'crs'
    """
    return Library(folders)
