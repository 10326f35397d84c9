"""Faults on purpose: of processes, network and data."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any

import typer

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.fault import duration as durations
from hailbox.fault.active import Cleared
from hailbox.fault.active import clear as end
from hailbox.fault.active import ls as active
from hailbox.fault.inject import FaultRequest, inject
from hailbox.fault.result import Fault

app = typer.Typer(name="fault", help=__doc__, rich_markup_mode=None, no_args_is_help=True)

Replica = Annotated[str, typer.Argument(metavar="REPLICA", help="For example chunkd-2.")]
For = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="End it by itself after: 500ms, 10s, 2m. Default: when cleared."),
]


def _inject(context_for: ContextFor, kind: str, replica: str, duration: str | None, **more: Any) -> CommandOutput:
    seconds = durations.seconds(duration, "--for") if duration else None
    context = context_for()

    def one(fault: Fault) -> str:
        return f"in effect: {_line(fault)}\nend it with: hailbox --stack {context.stack} fault clear {fault.id}"

    return CommandOutput(inject(context, FaultRequest(kind, replica, seconds=seconds, **more)), one)


def _line(fault: Fault) -> str:
    left = f"ends in {math.ceil(max(0.0, fault.until - time.time()))} s" if fault.until else "until it is cleared"
    return "  ".join(filter(None, (fault.id, fault.detail, left)))


@command(app, changes=True)
def kill(context_for: ContextFor, replica: Replica, duration: For = None) -> CommandOutput:
    """Kill the daemon with SIGKILL, and keep it dead."""
    return _inject(context_for, "kill", replica, duration)


@command(app, changes=True)
def stop(context_for: ContextFor, replica: Replica, duration: For = None) -> CommandOutput:
    """Stop the daemon with SIGTERM, and keep it down."""
    return _inject(context_for, "stop", replica, duration)


@command(app, changes=True)
def pause(context_for: ContextFor, replica: Replica, duration: For = None) -> CommandOutput:
    """Freeze the daemon: connections stay, nothing is answered."""
    return _inject(context_for, "pause", replica, duration)


@command(app, changes=True)
def partition(
    context_for: ContextFor,
    first: Annotated[str, typer.Argument(metavar="A", help="A replica.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    duration: For = None,
) -> CommandOutput:
    """Lose every packet between two replicas."""
    return _inject(context_for, "partition", first, duration, peer=second)


@command(app, changes=True)
def isolate(context_for: ContextFor, replica: Replica, duration: For = None) -> CommandOutput:
    """Lose every packet to and from a replica, also the host's."""
    return _inject(context_for, "isolate", replica, duration)


@command(app, changes=True)
def fill_disk(context_for: ContextFor, replica: Replica, duration: For = None) -> CommandOutput:
    """Let no file in the replica's data directory grow: "no space left on device". No disk is really filled."""
    return _inject(context_for, "fill-disk", replica, duration)


@command(app, changes=True)
def corrupt(
    context_for: ContextFor,
    replica: Replica,
    file: Annotated[
        str, typer.Option("--file", metavar="PATH", help="In its data directory. Default: the largest object's body.")
    ] = "",
    duration: For = None,
) -> CommandOutput:
    """Flip 64 bytes in the middle of a file of its data; they are flipped back when the fault ends."""
    return _inject(context_for, "corrupt", replica, duration, file=file)


@command(app, changes=True)
def slow(
    context_for: ContextFor,
    replica: Replica,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="DURATION", help="What it sends comes that much later.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", metavar="SHARE", help="That share of it gets lost: 30%.")
    ] = None,
    duration: For = None,
) -> CommandOutput:
    """Delay what a replica sends, or lose some of it."""
    return _inject(
        context_for,
        "slow",
        replica,
        duration,
        delay=durations.seconds(delay, "--delay") if delay else 0.0,
        loss=durations.share(loss, "--loss") if loss else 0.0,
    )


def _all(faults: list[Fault]) -> str:
    return "\n".join(map(_line, faults)) or "no faults in effect"


@command(app)
def ls(context_for: ContextFor) -> CommandOutput:
    """List the faults that are in effect."""
    return CommandOutput(active(context_for()), _all, essential=True)


def _cleared(result: Cleared) -> str:
    return "\n".join(f"ended: {name}" for name in result.faults) or "no fault was in effect"


@command(app, changes=True)
def clear(
    context_for: ContextFor,
    faults: Annotated[
        list[str] | None, typer.Argument(metavar="[FAULT|REPLICA]...", help="Which to end; none given: all.")
    ] = None,
) -> CommandOutput:
    """End faults."""
    return CommandOutput(end(context_for(), faults or ()), _cleared)
