"""The program `hailbox`: what holds for all of its commands, which are in `commands`."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

import hailbox
from hailbox import surroundings
from hailbox.cli import commands, output
from hailbox.cli.command import before_command
from hailbox.cli.options import Debug, File, Json, Quiet, Stack
from hailbox.model.errors import DiskFullError, InterruptionError, UsageError

_ParseError: Final[type[Any]] = typer.BadParameter.__bases__[0]
"""Root of what is raised for a bad command line; typer has no name of its own for it."""

_NO_COMMAND: Final = tuple(kind for kind in _ParseError.__subclasses__() if kind.__name__ == "NoArgsIsHelpError")
"""Raised where a group of commands is named, and none of them."""


class _Commands(TyperGroup):
    """Loads the one command that was typed, and none for the help."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return commands.names()

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in commands.names():
            return None
        module = commands.load(cmd_name)
        found = getattr(module, "app", None) or getattr(module, cmd_name).app
        return typer.main.get_command(found)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        known = commands.names()
        limit = formatter.width - 6 - max(map(len, known))
        rows = [(name, TyperCommand(name, help=commands.summary(name)).get_short_help_str(limit)) for name in known]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="hailbox",
    cls=_Commands,
    help="The 2010 cloud-storage stack, iwhd on tabled on chunkd held together by cld, in containers.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        output.write(f"hailbox {hailbox.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    *,
    stack: Stack = None,
    file: File = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Keep what was given before the command; without a command show the help, and start nothing."""
    before_command.stack, before_command.file, before_command.json = stack, file, json
    before_command.quiet, before_command.debug = quiet, debug
    if context.invoked_subcommand is None:
        output.write(context.get_help())


def _typed_command() -> str | None:
    """The command as far as it was typed; the parser does not tell where an option's argument is missing."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    known = commands.names()
    for at, word in enumerate(words):
        if word in known:
            return " ".join(words[at : at + 2]) if hasattr(commands.load(word), "app") else word
    return None


def _refuse(error: Any) -> int:
    """Tell of a command line that cannot be parsed, in the form that all errors have."""
    command = error.ctx.command_path.partition(" ")[2] or None if error.ctx else _typed_command()
    invocation = output.Invocation(command, json="--json" in sys.argv[1:])
    problem = error.format_message().rstrip(".")
    if isinstance(error, _NO_COMMAND):
        if not invocation.json:
            output.write(problem)
            return UsageError.exit_status
        problem = f"{command} needs a command after it"
    wrong = UsageError(problem[:1].lower() + problem[1:], f"see what there is: hailbox {command or ''} --help")
    output.error(invocation, UsageError(wrong.problem, " ".join(wrong.remedy.split())))
    return wrong.exit_status


def main() -> None:
    """Entry point of the program."""
    surroundings.open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a log line may hold what the terminal cannot show
    try:
        status = _parse_and_run()
    except KeyboardInterrupt:
        status = InterruptionError.exit_status
    except output.ReaderGoneError:
        status = 0
    except DiskFullError as error:
        output.error(output.Invocation(None), error)
        status = error.exit_status
    sys.exit(status)


def _parse_and_run() -> int:
    try:
        with output.explained():
            return int(app(prog_name="hailbox", standalone_mode=False) or 0)
    except _ParseError as error:
        return _refuse(error)


if __name__ == "__main__":
    main()
