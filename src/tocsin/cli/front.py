"""The front door of the command line: names the commands, loads one only when it is called.

Exit codes: 0 answered (even with rejected rows), 1 nothing usable or a file unreadable, 2 bad usage,
130 stopped with Ctrl-C; a file being written is then not there at all.
"""

from __future__ import annotations

import importlib
import sys

import click

COMMANDS = {
    "grade": ("tocsin.cli.grade", "Grade patients over time, with reasons."),
    "episodes": ("tocsin.cli.grade", "Find episodes: onset, peak, trigger, how each ended."),
    "score": ("tocsin.cli.score", "Calculate published scores, with what is missing and the evidence."),
    "complications": ("tocsin.cli.complications", "Find complications over time, with stages and reasons."),
    "advise": ("tocsin.cli.advise", "Say what guidelines, label and record ask for now."),
    "triage": ("tocsin.cli.triage", "Say how urgently a person at home should seek care."),
    "about": ("tocsin.cli.triage", "Print the leaflet for patients: what CRS is, when to seek care."),
    "simulate": ("tocsin.cli.simulate", "Simulate virtual patients and published trials."),
    "cohort": ("tocsin.cli.cohort", "Report on a cohort: shares, times, figures, tables, exports."),
    "watch": ("tocsin.cli.watch", "Watch a ward live: board, alerts, doors for facts."),
    "token": ("tocsin.cli.token", "Make, list, revoke and rotate tokens for programs."),
    "account": ("tocsin.cli.account", "List, close and open the accounts of people."),
    "approve": ("tocsin.cli.approve", "Note that a named clinician approved definitions."),
    "audit": ("tocsin.cli.audit", "Check and list what was read and changed."),
    "backup": ("tocsin.cli.keep", "Copy the live service's store into one file."),
    "restore": ("tocsin.cli.keep", "Fill an empty store from a backup."),
    "erase": ("tocsin.cli.keep", "Take one person out of a store for good."),
    "retain": ("tocsin.cli.keep", "Erase who was discharged long ago."),
    "facts": ("tocsin.cli.facts", "Write the facts table of any source."),
    "explain": ("tocsin.cli.show", "Show a definition as a page, with its sources."),
    "cite": ("tocsin.cli.show", "Print the reference behind a key."),
    "list": ("tocsin.cli.show", "List a shelf: scales, measures, drugs, ..."),
    "demo": ("tocsin.cli.demo", "Grade and draw the example patients and a simulated ward."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when called, so that `--help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from tocsin.definitions.schema import near

            ctx.fail(f"no command `{args[0]}`{near(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error a person can mend is shown as text, never as a traceback."""
        from tocsin.citations import CitationError
        from tocsin.definitions.schema import TocsinError

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("stopped; nothing half-written was left behind", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            raise  # the reader of our output has gone; click closes quietly
        except (TocsinError, CitationError, OSError) as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="tocsin", message="%(prog)s %(version)s")
def cli() -> None:
    """Tocsin grades cytokine release syndrome over time, from real records, with reasons.

    For research and decision support by trained staff; not a diagnosis.

    \b
    Example:
        tocsin grade examples/axi-cel-course.csv
    """


def main() -> None:
    """Entry point of the `tocsin` command."""
    sys.exit(cli.main())
