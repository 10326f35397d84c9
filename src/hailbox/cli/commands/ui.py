"""Show the stack in the browser: a page on this machine, until Ctrl-C.

It is served on 127.0.0.1 alone, on a free port, to requests with the token in the printed address. It needs nothing
on the engine, and what can be done on its pages are the commands of this program.
"""

from __future__ import annotations

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.consolepage import ListenPort, NoBrowser, show
from hailbox.cli.output import Invocation


@command()
def ui(
    context_for: ContextFor, invocation: Invocation, no_browser: NoBrowser = False, listen_port: ListenPort = 0
) -> CommandOutput:
    return show(context_for, invocation, no_browser, listen_port)
