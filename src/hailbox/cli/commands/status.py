"""Show each service, whether it works, and where it is reached."""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command, diagnosed
from hailbox.commands.status import status as look
from hailbox.model.errors import NotWorkingError
from hailbox.stack.selection import stack_down

Why = Annotated[bool, typer.Option("--why", help="Also say what is at the root of the trouble.")]


@command()
def status(context_for: ContextFor, why: Why = False) -> CommandOutput:
    if why:
        from hailbox.doctor import examine  # most of the program, and few ask for it

        return diagnosed(examine.why(context_for()))
    result = look(context_for())
    sick = [replica.replica for replica in result.replicas if not replica.working]
    error: NotWorkingError | None = None
    if result.down:
        error = stack_down(result.stack)
    elif sick:
        error = NotWorkingError(
            f"{', '.join(sick)} of stack {result.stack} {'do' if len(sick) > 1 else 'does'} not work",
            f"bring it up, or heal it, with: hailbox --stack {result.stack} up",
        )
    return CommandOutput(result, render.stack, error=error, essential=True)
