"""Print what the services logged, merged in order of time.

With --follow it goes on across restarts and new containers until the stack is down; with --json as well, each line is
a JSON object, and the last one is the envelope.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import typer

from hailbox.cli import output
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Services
from hailbox.cli.output import Invocation
from hailbox.commands.follow import follow as followed
from hailbox.commands.logs import LogLine
from hailbox.commands.logs import logs as read

Tail = Annotated[
    int | None, typer.Option("--tail", "-n", min=0, metavar="N", help="Only the last N lines of each replica.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as lines come.")]


@command()
def logs(
    context_for: ContextFor,
    invocation: Invocation,
    services: Services = None,
    tail: Tail = None,
    follow: Follow = False,
) -> CommandOutput:
    if follow:
        invocation.by_line = True
        for entry in followed(context_for(), services or (), tail=tail):
            if invocation.json:
                output.write_json_line(dataclasses.asdict(entry))
            else:
                output.write(_line(entry))
        return CommandOutput(None, None)
    collected = read(context_for(), services or (), tail=tail)
    return CommandOutput(collected, _lines if collected else None, essential=True)


def _line(entry: LogLine) -> str:
    return f"{entry.time.removesuffix('Z')[:23]}Z  {entry.replica:<12} {entry.text}"


def _lines(entries: Sequence[LogLine]) -> str:
    return "\n".join(map(_line, entries))
