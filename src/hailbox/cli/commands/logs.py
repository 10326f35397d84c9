"""Print what the services logged, merged in order of time.

With --follow it goes on across restarts and new containers until the stack is down; with --json as well, each line is
a JSON object, and the last one is the envelope. On a terminal times are local, and each replica has a colour of its
own; elsewhere times are UTC.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Annotated

import typer

from hailbox.cli import colour, output
from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.cli.options import Services
from hailbox.cli.output import Invocation
from hailbox.commands.follow import follow as followed
from hailbox.commands.logs import LogLine
from hailbox.commands.logs import logs as read
from hailbox.fault import duration
from hailbox.model.errors import UsageError

Tail = Annotated[
    int | None, typer.Option("--tail", "-n", min=0, metavar="N", help="Only the last N lines of each replica.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as lines come.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only lines since 90s, 5m or 2h ago, or since an ISO time."),
]
Grep = Annotated[
    str | None,
    typer.Option("--grep", "-g", metavar="RE", help="Only lines in which this regular expression matches."),
]


@command()
def logs(
    context_for: ContextFor,
    invocation: Invocation,
    services: Services = None,
    tail: Tail = None,
    follow: Follow = False,
    since: Since = None,
    grep: Grep = None,
) -> CommandOutput:
    begin = _moment(since, time.time()) if since else None
    fits = _filter(grep)
    shown = _shown(terminal=sys.stdout.isatty())
    if follow:
        invocation.by_line = True
        for entry in fits(followed(context_for(), services or (), tail=tail, since=begin)):
            if invocation.json:
                output.write_json_line(dataclasses.asdict(entry))
            else:
                output.write_painted(shown(entry))
        return CommandOutput(None, None)
    collected = list(fits(read(context_for(), services or (), tail=tail, since=begin)))
    if invocation.json:
        return CommandOutput(collected, None)
    for entry in collected:
        output.write_painted(shown(entry))
    return CommandOutput(collected, None)


def _moment(text: str, now: float) -> float:
    """Seconds of the epoch. Raises UsageError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now - duration.seconds(text, "--since")
    return found.timestamp()


def _filter(grep: str | None) -> Callable[[Iterable[LogLine]], Iterator[LogLine]]:
    """Lets the lines through that the expression is found in. Raises UsageError."""
    try:
        wanted = re.compile(grep or "")
    except re.error as error:
        raise UsageError(
            f"--grep {grep!r} is no regular expression: {error}", "put \\ before what is meant as it is"
        ) from error
    return lambda lines: (line for line in lines if wanted.search(line.text))


def _shown(*, terminal: bool) -> Callable[[LogLine], str]:
    """How a line is shown."""
    palette = colour.Palette(used=colour.wanted(terminal=terminal))

    def show(entry: LogLine) -> str:
        name = palette.paint(entry.replica, f"{output.plain_text(entry.replica):<12}")
        when = _local(entry.time) if terminal else f"{entry.time.removesuffix('Z')[:23]}Z"
        return f"{when}  {name} {output.plain_text(entry.text)}"

    return show


def _local(moment: str) -> str:
    """The time of a line in this machine's zone, to the millisecond; as it is where it is none."""
    try:
        found = datetime.fromisoformat(f"{moment[:19]}+00:00").astimezone()
    except ValueError:
        return moment[:23]
    return f"{found:%H:%M:%S}{moment[19:23]}"
