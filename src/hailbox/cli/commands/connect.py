"""Keep the stack's ports reachable here while its engine is on another machine.

For an engine that ssh reaches (DOCKER_HOST=ssh://USER@HOST, or such a context): the addresses that `hailbox env`
prints work on this machine until Ctrl-C. With --json the addresses are a line of JSON as soon as they work, and the
envelope is the last line. Where the engine is on this machine there is nothing to do.
"""

from __future__ import annotations

import dataclasses

from hailbox.cli import interruption, output
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.output import Invocation
from hailbox.cli.render import table
from hailbox.commands import connect as connections
from hailbox.commands.connect import Connection


@command()
def connect(context_for: ContextFor, invocation: Invocation) -> CommandOutput:
    context = context_for()
    connection = connections.connect(context)
    if connection.engine is None:
        return CommandOutput(connection, _already_here, essential=True)
    interruption.raise_instead()
    invocation.by_line = True
    try:
        if invocation.json:
            output.write_json_line(dataclasses.asdict(connection))
        else:
            output.write(_connected(connection))
        connections.hold(context, connection)
    except KeyboardInterrupt:
        interruption.ignore()  # the ways are closed, which takes a moment
    return CommandOutput(None, None)


def _already_here(connection: Connection) -> str:
    return f"{_addresses(connection)}\nThe engine is on this machine: nothing has to be connected."


def _connected(connection: Connection) -> str:
    return (
        f"{_addresses(connection)}\n"
        f"Connected to {connection.engine} until Ctrl-C; "
        f'in another terminal: eval "$(hailbox --stack {connection.stack} env)"'
    )


def _addresses(connection: Connection) -> str:
    return table(("REPLICA", "ADDRESS"), sorted(connection.endpoints.items()))
