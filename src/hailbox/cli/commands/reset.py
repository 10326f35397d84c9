"""Discard the data, of all services or of some, and bring the stack up again."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Annotated

import typer

from hailbox.cli import envelope, output, render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import DryRun, ImagesFrom, Services, Timings
from hailbox.cli.output import Invocation
from hailbox.commands.quickreset import QuickReset
from hailbox.commands.reset import reset as start_over
from hailbox.context import Context
from hailbox.model.errors import HailboxError, UsageError
from hailbox.snapshot.restore import restore

To = Annotated[
    str | None, typer.Option("--to", metavar="SNAPSHOT", help="To the data of a snapshot instead of to none.")
]


Quick = Annotated[
    bool,
    typer.Option(
        "--quick", help="Have the daemons discard their data themselves; where that is not possible, reset."
    ),
]
Repeat = Annotated[
    bool,
    typer.Option("--repeat", help="Reset quickly once for each line of standard input; answer with a line of JSON."),
]


@command(changes=True)
def reset(
    context_for: ContextFor,
    invocation: Invocation,
    services: Services = None,
    to: To = None,
    quick: Quick = False,
    repeat: Repeat = False,
    dry_run: DryRun = False,
    images_from: ImagesFrom = None,
    timings: Timings = False,
) -> CommandOutput:
    if quick or repeat:
        if services or to is not None or dry_run:
            raise UsageError("a quick reset is of the whole stack", "leave services, --to and --dry-run out")
        return _quickly(invocation, context_for(images_from=images_from), repeat=repeat, timings=timings)
    if to is not None:
        if services:
            raise UsageError("a snapshot is of all services", "leave the services out, or leave --to out")
        return CommandOutput(
            restore(context_for(images_from=images_from), to, dry_run=dry_run), render.restored(timings=timings)
        )
    result = start_over(context_for(images_from=images_from), services or (), dry_run=dry_run)
    return CommandOutput(result, render.reset_with_timings if timings else render.reset)


def _quickly(invocation: Invocation, context: Context, *, repeat: bool, timings: bool) -> CommandOutput:
    again = QuickReset(context)
    if not repeat:
        return CommandOutput(again(), render.reset_with_timings if timings else render.reset)
    invocation.json = invocation.by_line = True
    for _ in sys.stdin:
        again.context = dataclasses.replace(context, started=time.monotonic(), spans=[])
        try:
            output.result(invocation, again(), None)
        except HailboxError as error:
            failed = envelope.envelope(invocation.command, invocation.stack, None, [error])
            output.write_json_line(failed)
    return CommandOutput(None, None)
