"""Remove everything of the stack: containers, data, network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import DryRun
from hailbox.cli.output import Invocation
from hailbox.commands.down import Removal, remove_all
from hailbox.commands.down import destroy as remove

Images = Annotated[bool, typer.Option("--images", help="Also remove the images built by hailbox.")]


All = Annotated[bool, typer.Option("--all", help="Remove every stack on this engine.")]


@command(changes=True)
def destroy(
    context_for: ContextFor,
    invocation: Invocation,
    dry_run: DryRun = False,
    images: Images = False,
    all: All = False,
) -> CommandOutput:
    if all:
        context = context_for()
        invocation.stack = None
        return CommandOutput(remove_all(context, dry_run=dry_run, images=images), _removals)
    return CommandOutput(remove(context_for(), dry_run=dry_run, images=images), render.removal("destroy"))


def _removals(result: Sequence[Removal]) -> str:
    if not result:
        return "destroy: there is no stack on this engine"
    return "\n".join(render.removal(f"stack {removal.stack}: destroy")(removal) for removal in result)
