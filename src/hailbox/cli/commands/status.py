"""Show each service, whether it works, and where it is reached."""

from __future__ import annotations

import sys
import threading
import time
from typing import Annotated, Final, NoReturn

import typer

from hailbox.cli import colour, output, render
from hailbox.cli.command import CommandOutput, ContextFor, command, diagnosed
from hailbox.cli.output import Invocation
from hailbox.commands.result import StackResult
from hailbox.commands.status import status as look
from hailbox.context import Context
from hailbox.model.errors import NotWorkingError, UsageError
from hailbox.stack.selection import stack_down

Why = Annotated[bool, typer.Option("--why", help="Also say what is at the root of the trouble.")]


Watch = Annotated[
    bool,
    typer.Option(
        "--watch", "-w", help="Go on until Ctrl-C: a live table on a terminal, else a line for each change."
    ),
]
_EVERY: Final = 1.0
"""Seconds from the end of one look to the next."""


@command()
def status(context_for: ContextFor, invocation: Invocation, why: Why = False, watch: Watch = False) -> CommandOutput:
    if watch:
        if why:
            raise UsageError("--watch and --why exclude each other", "leave one of them out")
        _watch(invocation, context_for())
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


def _watch(invocation: Invocation, context: Context) -> NoReturn:
    """Look again and again. Raises what `status` raises, and ends with an interruption."""
    live = sys.stdout.isatty() and not invocation.json and colour.able()
    before: dict[str, tuple[bool, str]] = {}
    drawn = 0
    while True:
        result = look(context)
        now = {replica.replica: (replica.working, replica.reason) for replica in result.replicas}
        if live:
            text = output.plain_text(render.stack(result))
            output.write_painted(f"\x1b[{drawn}F\x1b[J{text}" if drawn else text)
            drawn = text.count("\n") + 1
        else:
            _tell_changes(invocation, result, before, now)
        before = now
        threading.Event().wait(_EVERY)


def _tell_changes(
    invocation: Invocation, result: StackResult, before: dict[str, tuple[bool, str]], now: dict[str, tuple[bool, str]]
) -> None:
    for name in sorted({*before, *now}):
        if before.get(name) == now.get(name):
            continue
        working, reason = now.get(name, (False, "it is not part of the stack any more"))
        if invocation.json:
            output.write_json_line({"stack": result.stack, "replica": name, "working": working, "reason": reason})
        else:
            moment = time.strftime("%H:%M:%S")
            output.write(f"{moment}  {name:<14} {'working' if working else f'not working: {reason}'}")
