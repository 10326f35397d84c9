"""Bring the stack up, run a command with the stack's addresses in its environment, and tear the stack down.

The exit status is the command's (with --json 5 if that is not 0, and what the command prints goes to standard
error). A stack that was there before stays. Options of hailbox stand before the command:

    hailbox run --stack ci -- pytest -q
"""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import ImagesFrom, Profile
from hailbox.cli.output import Invocation
from hailbox.commands.run import run as run_with_stack
from hailbox.model.errors import CommandFailedError, UsageError

Command = Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run, with its own options.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave the stack as it is when the command has ended.")]


@command(changes=True, takes_all=True)
def run(
    context_for: ContextFor,
    invocation: Invocation,
    command: Command,
    keep: Keep = False,
    profile: Profile = None,
    images_from: ImagesFrom = None,
) -> CommandOutput:
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise UsageError("there is no command to run", "write for example: hailbox run -- pytest")
    ended = run_with_stack(
        context_for(profile=profile, images_from=images_from), words, keep=keep, output_to_errors=invocation.json
    )
    if invocation.json and ended.status:
        failed = CommandFailedError(
            f"{words[0]} ended with status {ended.status}", "see what it printed, on standard error"
        )
        return CommandOutput(ended, None, error=failed)
    return CommandOutput(ended, None, status=ended.status)
