"""Writes docs/reference/ from the code and the definitions; `--check` only says whether it is current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tocsin.citations import cite
from tocsin.cli.front import COMMANDS, cli
from tocsin.definitions.describe import findings, page, rungs, used
from tocsin.definitions.load import library
from tocsin.definitions.schema import SHELVES, Scale

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE = "<!-- Made by scripts/reference.py: change the code or the definitions, then `make reference`. -->"


def commands() -> str:
    """Every command's help, as the command itself prints it."""
    parts = [MADE, "", "# Commands", "", _help(cli, "tocsin")]
    context = click.Context(cli, info_name="tocsin")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        parts += [f"## tocsin {name}", "", _help(command, f"tocsin {name}")]
    return "\n".join(parts)


def _help(command: click.Command, name: str) -> str:
    with click.Context(command, info_name=name, terminal_width=100, max_content_width=100) as context:
        return f"```text\n{command.get_help(context)}\n```\n"


def definitions() -> str:
    """Every scale's grades, every finding once, when an episode is over, every shelf as a table."""
    lib = library()
    parts = [MADE, "", "# Definitions", ""]
    parts += ["`tocsin explain ID` prints any of these, with codes and readings.", ""]
    scales = [lib.scale(name) for name in lib.scales]
    for scale in scales:
        parts += [*(_deeper(line) for line in rungs(scale, lambda key: cite(key).text())), ""]
    parts += ["## Findings", "", *sorted({block for scale in scales for block in _blocks(scale)}), ""]
    parts += [*(_deeper(line) for line in page("closing", lib).splitlines()), ""]
    for shelf in SHELVES:
        parts += [f"## {shelf.capitalize()}", ""]
        parts += ["| id | title | unit | stands for | status |", "|---|---|---|---|---|"]
        parts += [*_rows(shelf), ""]
    return "\n".join(parts)


def _blocks(scale: Scale) -> Iterator[str]:
    """Each finding of a scale as one block, so that a finding many scales share is printed once."""
    for finding in used(scale):
        yield "\n".join(findings([finding]))


def _rows(shelf: str) -> Iterator[str]:
    lib = library()
    for name in sorted(lib.files(shelf)):
        thing = lib.measure(name)
        hold = "" if thing.hold_hours is None else f"{thing.hold_hours:g} h"
        yield f"| `{name}` | {thing.title} | {thing.unit or ''} | {hold} | {thing.status} |"


def _deeper(line: str) -> str:
    """A heading one level down; any other line as it is."""
    return f"#{line}" if line.startswith("#") else line


def main() -> None:
    """Write the pages, or with `--check` exit 1 if one is not current."""
    stale = []
    for name, text in (("cli.md", commands()), ("definitions.md", definitions())):
        path = REFERENCE / name
        if "--check" in sys.argv[1:]:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(path)
        else:
            REFERENCE.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{path.name} is not current\n  fix: make reference", file=sys.stderr)
    sys.exit(bool(stale))


if __name__ == "__main__":
    main()
