"""The program of the helper that ends lost processes; it runs in a container and has the standard library only.

It sees all processes of the engine's host, and has the data volumes of a stack mounted below `/volumes`. A process is
lost if it has one of these mounted, too, and is in a container with a process name space of its own that this engine
has started, but in none of those that the engine says run; in one that it knows, only if the process is older than
the engine, for it may be about to run. Processes of other engines' containers are never touched. A lost process is
sent SIGKILL, and waited for. Prints, as JSON, a list of what was found.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

VOLUMES = "/volumes/"
PATIENCE = 10.0
"""Seconds for all to end; one that waits for a disk does not before the disk has answered."""

_CONTAINER = re.compile(r"[0-9a-f]{64}")


def mounts(process: Path) -> Iterator[tuple[str, str]]:
    """What a process has mounted, as device and directory there, and where; see proc(5) on mountinfo."""
    for line in (process / "mountinfo").read_text(errors="surrogateescape").splitlines():
        _, _, device, root, place, *_ = line.split(" ")
        yield f"{device} {root}", place


def began(process: Path) -> int:
    """When a process was started, in ticks since the boot (proc(5), stat). Raises OSError if it is gone."""
    return int((process / "stat").read_text().rpartition(")")[2].split()[19])


def engine_began(proc: Path) -> int:
    """When the engine was started; 0 if it is not seen. One in a container is younger than that of the host."""
    found = []
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text() == "dockerd\n":
                found.append(began(process))
    return min(found, default=0)


def started_by_us(process: Path, volumes: Collection[str], containers: Collection[str]) -> bool:
    """Whether the engine whose volumes those are has started the process, in one of those containers.

    An engine keeps a container's host name beside its volumes, and mounts it there: `ROOT/containers/ID/hostname`
    beside `ROOT/volumes/NAME/_data`, on one device. Another engine's root, or a mount made by hand, is not that.
    """
    roots = {source.rsplit("/volumes/", 1)[0] for source in volumes if source.endswith("/_data")}
    wanted = {f"{root}/containers/{identifier}/hostname" for root in roots for identifier in containers}
    # The kernel marks what was removed since (proc(5)).
    return any(source.removesuffix("//deleted") in wanted for source, _ in mounts(process))


def look(
    process: Path, volumes: dict[str, str], running: Collection[str], known: Collection[str], engine: int
) -> dict[str, Any] | None:
    """Describe the process if it is a stray. `engine`: when that began. Raises OSError if it is gone."""
    # A container in a container has the ids of both in its path.
    containers = _CONTAINER.findall((process / "cgroup").read_text())
    if not containers or set(containers) & set(running):
        return None
    if set(containers) & set(known) and began(process) >= engine:
        return None
    if not started_by_us(process, volumes, containers):
        return None
    for source, _ in mounts(process):
        if source in volumes:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            return {"pid": int(process.name), "container": containers[-1], "volume": volumes[source], "says": command}
    return None


def lost(proc: Path, running: Collection[str], known: Collection[str]) -> Iterator[tuple[dict[str, Any], int]]:
    """Each stray, and a pidfd, which never means another process."""
    # In the host's, which this program is in, is the engine: it may have a volume mounted, and be in a container.
    host = os.readlink(proc / "self" / "ns" / "pid")
    engine = engine_began(proc)
    volumes = {source: place[len(VOLUMES) :] for source, place in mounts(proc / "self") if place.startswith(VOLUMES)}
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "ns" / "pid") == host or look(process, volumes, running, known, engine) is None:
                continue
            handle = os.pidfd_open(int(process.name))
            # Only now can its number not have been given away between the look and this.
            found = look(process, volumes, running, known, engine)
            if found is None:
                os.close(handle)
            else:
                yield found, handle


def end(proc: Path, running: Collection[str], known: Collection[str]) -> list[dict[str, Any]]:
    """Kill all lost processes; returns what they are, and of each whether it has ended.

    `known`: containers of the engine that may be about to run.
    """
    found = list(lost(proc, running, known))
    for _, handle in found:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    for stray, handle in found:
        stray["ended"] = bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])
        os.close(handle)
    return [stray for stray, _ in found]


def main(arguments: Sequence[str]) -> int:
    """Print, as JSON, what was ended. `arguments`: the ids of the containers that run, and of those that are known
    and do not, each a JSON list."""
    running, known = map(json.loads, arguments)
    print(json.dumps(end(Path("/proc"), running, known)))  # noqa: T201
    return 0
