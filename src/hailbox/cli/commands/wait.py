"""Wait until the stack works; for scripts beside an `up` elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from hailbox.cli import render
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.commands.status import wait as wait_until_working

Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long to wait.")]


For = Annotated[
    list[str] | None, typer.Option("--for", metavar="SERVICE", help="Wait for this service or replica; repeatable.")
]


@command()
def wait(context_for: ContextFor, timeout: Timeout = 60.0, wanted: For = None) -> CommandOutput:
    return CommandOutput(wait_until_working(context_for(), deadline=timeout, wanted=wanted or ()), render.stack)
