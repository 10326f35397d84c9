"""Discard the data, of all services or of some, and bring the stack up again."""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import DryRun, ImagesFrom, Services, Timings
from hailbox.commands.reset import reset as start_over
from hailbox.model.errors import UsageError
from hailbox.snapshot.restore import restore

To = Annotated[
    str | None, typer.Option("--to", metavar="SNAPSHOT", help="To the data of a snapshot instead of to none.")
]


@command(changes=True)
def reset(
    context_for: ContextFor,
    services: Services = None,
    to: To = None,
    dry_run: DryRun = False,
    images_from: ImagesFrom = None,
    timings: Timings = False,
) -> CommandOutput:
    if to is not None:
        if services:
            raise UsageError("a snapshot is of all services", "leave the services out, or leave --to out")
        return CommandOutput(
            restore(context_for(images_from=images_from), to, dry_run=dry_run), render.restored(timings=timings)
        )
    result = start_over(context_for(images_from=images_from), services or (), dry_run=dry_run)
    return CommandOutput(result, render.reset_with_timings if timings else render.reset)
