"""The program `hailbox`: its commands, and what holds for all of them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

import hailbox
from hailbox.cli import life, look
from hailbox.cli.verb import INTERRUPTED, Debug, Json, Quiet, Stack, before_command, verb

app = typer.Typer(
    name="hailbox",
    help="The 2010 cloud-storage stack, iwhd on tabled on chunkd held together by cld, in containers.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for function in (
    life.up,
    life.down,
    life.reset,
    life.destroy,
    look.status,
    look.wait,
    look.logs,
    look.env,
    look.ls,
    look.compose,
    life.build,
):
    app.command()(verb(function))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hailbox {hailbox.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    *,
    stack: Stack = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Keep what was given before the command; without a command show the help, and start nothing."""
    before_command.stack, before_command.json = stack, json
    before_command.quiet, before_command.debug = quiet, debug
    if context.invoked_subcommand is None:
        print(context.get_help())  # noqa: T201


def main() -> None:
    """Entry point of the program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; that is its right.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
