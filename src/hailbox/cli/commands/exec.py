"""Run a command in the container of a replica.

It has this terminal or these pipes, and the exit status is its own: hailbox becomes the docker client, which has to
be on the PATH. Options of hailbox stand before REPLICA. With --json no client is needed: the command gets no input,
what it prints is shown at its end, and the exit status is 5 if its own is not 0.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli.attach import attach
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.output import Invocation
from hailbox.commands.execute import execute
from hailbox.model.errors import CommandFailedError, UsageError

Replica = Annotated[str, typer.Argument(metavar="REPLICA", help="For example chunkd-2.")]
Command = Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run, with its own options.")]


@command(name="exec", takes_all=True)
def exec(context_for: ContextFor, invocation: Invocation, replica: Replica, command: Command) -> CommandOutput:
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise UsageError("there is no command to run", f"write for example: hailbox exec {replica} -- ps")
    if not invocation.json:
        return attach(context_for, replica, words)
    ended = execute(context_for(), replica, words)
    data = {
        "replica": replica,
        "status": ended.status,
        "output": ended.output.decode("utf-8", "backslashreplace"),
        "errors": ended.errors.decode("utf-8", "backslashreplace"),
    }
    failed = CommandFailedError(
        f"{words[0]} in {replica} ended with status {ended.status}", "see what it printed: `output` and `errors`"
    )
    return CommandOutput(data, None, error=failed if ended.status else None)
