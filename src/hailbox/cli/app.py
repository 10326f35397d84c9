"""The program `hailbox`: its commands, and what holds for all of them."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer

import hailbox
from hailbox.cli import bench, doctor, fault, life, look, output, shell, snapshot
from hailbox.cli.command import Debug, Json, Quiet, Stack, before_command, verb
from hailbox.model.errors import InterruptionError, UsageError

_ParseError: type[Any] = typer.BadParameter.__bases__[0]
"""Root of what is raised for a bad command line; typer has no name of its own for it."""

_NO_COMMAND = tuple(kind for kind in _ParseError.__subclasses__() if kind.__name__ == "NoArgsIsHelpError")
"""Raised where a group of commands is named, and none of them."""

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
    look.profiles,
    look.compose,
    doctor.doctor,
    bench.bench,
    life.build,
    shell.shell,
):
    app.command()(verb(function))
# Behind REPLICA everything is the command's, also what looks like an option of ours.
app.command(context_settings={"allow_interspersed_args": False})(verb(shell.exec))
app.add_typer(snapshot.app)
app.add_typer(fault.app)


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


def _typed_command() -> str | None:
    """The command as far as it was typed; the parser does not tell where an option's argument is missing."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    groups = {group.typer_instance.info.name for group in app.registered_groups if group.typer_instance}
    known = {command.callback.__name__ for command in app.registered_commands if command.callback} | groups
    for at, word in enumerate(words):
        if word in known:
            return " ".join(words[at : at + 2]) if word in groups else word
    return None


def _refuse(error: Any) -> int:
    """Tell of a command line that cannot be parsed, in the form that all errors have."""
    command = error.ctx.command_path.partition(" ")[2] or None if error.ctx else _typed_command()
    asked = output.Asked(command, json="--json" in sys.argv[1:])
    problem = error.format_message().rstrip(".")
    if isinstance(error, _NO_COMMAND):
        if not asked.json:
            print(problem)  # noqa: T201
            return UsageError.exit_status
        problem = f"{command} needs a command behind it"
    wrong = UsageError(problem[:1].lower() + problem[1:], f"see what there is: hailbox {command or ''} --help")
    output.error(asked, UsageError(wrong.problem, " ".join(wrong.remedy.split())))
    return wrong.exit_status


def main() -> None:
    """Entry point of the program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a log line may hold what the terminal cannot show
    try:
        status = app(prog_name="hailbox", standalone_mode=False)
    except KeyboardInterrupt:
        status = InterruptionError.exit_status
    except _ParseError as error:
        status = _refuse(error)
    sys.exit(status)


if __name__ == "__main__":
    main()
