"""The commands `hailbox fault …`: faults on purpose, for who hacks on fail-over."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hailbox.cli.command import Shown, verb

if TYPE_CHECKING:
    from hailbox.fault.active import Cleared
    from hailbox.fault.result import Fault

Make = Any

Replica = Annotated[str, typer.Argument(metavar="REPLICA", help="For example chunkd-2.")]
For = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="End it by itself after: 500ms, 10s, 2m. Default: when cleared."),
]


def _inject(make: Make, kind: str, replica: str, duration: str | None, **more: Any) -> Shown:
    from hailbox.fault import duration as durations
    from hailbox.fault.inject import Asked, inject

    seconds = durations.seconds(duration, "--for") if duration else None
    context = make()

    def one(fault: Fault) -> str:
        return f"in effect: {_line(fault)}\nend it with: hailbox --stack {context.stack} fault clear {fault.id}"

    return Shown(inject(context, Asked(kind, replica, seconds=seconds, **more)), one)


def _line(fault: Fault) -> str:
    left = f"ends in {math.ceil(max(0.0, fault.until - time.time()))} s" if fault.until else "until it is cleared"
    return "  ".join(filter(None, (fault.id, fault.detail, left)))


def kill(make: Make, replica: Replica, duration: For = None) -> Shown:
    """Kill the daemon with SIGKILL, and keep it dead."""
    return _inject(make, "kill", replica, duration)


def stop(make: Make, replica: Replica, duration: For = None) -> Shown:
    """Stop the daemon with SIGTERM, and keep it down."""
    return _inject(make, "stop", replica, duration)


def pause(make: Make, replica: Replica, duration: For = None) -> Shown:
    """Freeze the daemon: connections stay, nothing is answered."""
    return _inject(make, "pause", replica, duration)


def partition(
    make: Make,
    first: Annotated[str, typer.Argument(metavar="A", help="A replica.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    duration: For = None,
) -> Shown:
    """Lose every packet between two replicas."""
    return _inject(make, "partition", first, duration, peer=second)


def isolate(make: Make, replica: Replica, duration: For = None) -> Shown:
    """Lose every packet to and from a replica, also the host's."""
    return _inject(make, "isolate", replica, duration)


def fill_disk(make: Make, replica: Replica, duration: For = None) -> Shown:
    """Let no file in the replica's data directory grow: "no space left on device". No disk is really filled."""
    return _inject(make, "fill-disk", replica, duration)


def corrupt(
    make: Make,
    replica: Replica,
    file: Annotated[
        str, typer.Option("--file", metavar="PATH", help="In its data directory. Default: the largest object's body.")
    ] = "",
    duration: For = None,
) -> Shown:
    """Flip 64 bytes in the middle of a file of its data; they are flipped back when the fault ends."""
    return _inject(make, "corrupt", replica, duration, file=file)


def slow(
    make: Make,
    replica: Replica,
    delay: Annotated[
        str | None, typer.Option("--delay", metavar="DURATION", help="What it sends comes that much later.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", metavar="SHARE", help="That share of it gets lost: 30%.")
    ] = None,
    duration: For = None,
) -> Shown:
    """Delay what a replica sends, or lose some of it."""
    from hailbox.fault import duration as durations

    return _inject(
        make,
        "slow",
        replica,
        duration,
        delay=durations.seconds(delay, "--delay") if delay else 0.0,
        loss=durations.share(loss, "--loss") if loss else 0.0,
    )


def _all(faults: list[Fault]) -> str:
    return "\n".join(map(_line, faults)) or "no faults in effect"


def ls(make: Make) -> Shown:
    """List the faults that are in effect."""
    from hailbox.fault.active import ls as run

    return Shown(run(make()), _all, essential=True)


def _cleared(result: Cleared) -> str:
    return "\n".join(f"ended: {name}" for name in result.faults) or "no fault was in effect"


def clear(
    make: Make,
    faults: Annotated[
        list[str] | None, typer.Argument(metavar="[FAULT|REPLICA]...", help="Which to end; none given: all.")
    ] = None,
) -> Shown:
    """End faults."""
    from hailbox.fault.active import clear as run

    return Shown(run(make(), faults or ()), _cleared)


app = typer.Typer(
    name="fault",
    help="Faults on purpose: of processes, network and data.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
for function in (kill, stop, pause, partition, isolate, slow, fill_disk, corrupt, ls, clear):
    name = function.__name__.replace("_", "-")
    app.command(name)(verb(function, f"fault {name}"))
