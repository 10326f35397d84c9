"""Show the stack in the browser; the same as ui."""

from __future__ import annotations

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.consolepage import ListenPort, NoBrowser, show
from hailbox.cli.output import Invocation


@command()
def console(
    context_for: ContextFor, invocation: Invocation, no_browser: NoBrowser = False, listen_port: ListenPort = 0
) -> CommandOutput:
    return show(context_for, invocation, no_browser, listen_port)
