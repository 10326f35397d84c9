"""Remove everything of the stack: containers, data, network."""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import DryRun
from hailbox.commands.down import destroy as remove

Images = Annotated[bool, typer.Option("--images", help="Also remove the images built by hailbox.")]


@command(changes=True)
def destroy(context_for: ContextFor, dry_run: DryRun = False, images: Images = False) -> CommandOutput:
    return CommandOutput(remove(context_for(), dry_run=dry_run, images=images), render.removal("destroy"))
