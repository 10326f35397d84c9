"""Processes of a stack's containers that the engine has lost track of, and their end.

An engine that is killed while it starts a container may believe, when it is back, that the container never ran (26.1
shows it as created), although its process runs. A start of the container then kills that process; the engine takes
the news of its end for that of the new one, and replaces this one in its turn, again and again. A removal of the
container leaves a process that belongs to no container and keeps the data from its successor. So such a process is
ended before its container is touched; then the container, of which the engine's idea is wrong, is removed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Engine
from hailbox.helper import kinds
from hailbox.helper.run import Work, image_of, run
from hailbox.model import names
from hailbox.model.errors import DiskFullError, EngineFailedError
from hailbox.model.progress import Phase
from hailbox.observe import Observed

_LOOKS: Final = 3
"""A look that finds something is followed by another: what the engine does meanwhile may leave one more process."""

_LOST: Final = 2.0
"""Seconds for which an engine tries to delete the new process whose end it believes in, before it starts the next;
from an end that was one to the next start it is a tenth of a second, and more only after several restarts."""
_LIFE: Final = 5.0
"""Seconds; no such process lives that long."""


@dataclass(frozen=True)
class LostProcess:
    """A process that was found and sent SIGKILL."""

    pid: int
    """In the process name space of the engine's host."""
    container: str
    """The id of the container that it was started in; the engine may know none of it."""
    volume: str
    """A data volume that it has mounted."""
    says: str
    """Its command line."""
    ended: bool


def end(context: Context, observed: Observed, misjudged: Collection[Container] = ()) -> tuple[str, ...]:
    """End all processes with data of the stack that no running container owns, and remove their containers.

    Also those of the `misjudged` containers. Returns what was done, in words: nothing where the engine does not let a
    helper see the processes of its host.
    """
    done: list[str] = []
    removed = set[str]()
    # A full disk, which leaves no room for a helper, is reported elsewhere.
    with context.span("look for lost processes"), contextlib.suppress(EngineFailedError, DiskFullError):
        # Some engines hang if a process is killed while its successor starts, so restarts are stopped first.
        for container in (*misjudged, *(c for c in observed.containers if c.state is ContainerState.RESTARTING)):
            context.engine.kill_container(container.id)
        for _ in range(_LOOKS):
            seen = _look(context, observed, {container.id for container in misjudged} - removed)
            for lost in seen:
                done.append(_told(lost))
                context.tell(_replica(observed, lost), Phase.HEALING, done[-1])
            suspects = {lost.container for lost in seen} | {container.id for container in misjudged}
            # A helper's container may be the record of what is half done.
            doomed = [c for c in observed.containers if c.id in suspects - removed and names.HELPER not in c.labels]
            for container in doomed:
                context.engine.remove_container(container.id)
                removed.add(container.id)
                done.append(f"removal of {container.name}, of which the engine was mistaken")
            if not seen and not doomed:
                break
    return tuple(done)


def end_suspected(context: Context, observed: Observed) -> tuple[str, ...]:
    """End such processes if there may be any: the look takes half a second, so it is not made without a sign."""
    misjudged = suspected(context, observed)
    return () if misjudged is None else end(context, observed, misjudged)


def suspected(context: Context, observed: Observed) -> list[Container] | None:
    """The containers of which the engine seems to be mistaken, where there may be lost processes; None where not."""
    data = {volume.name for volume in observed.data_volumes()}
    # What else has data mounted is a helper, which does not run when its work is done, or has not begun.
    keeping = [c for c in observed.containers if data & set(c.mounts) and names.HELPER not in c.labels]
    running = [container for container in keeping if container.state is ContainerState.RUNNING and container.young]
    with ThreadPoolExecutor(max_workers=len(running) + 1) as pool:
        restless = pool.map(lambda container: _is_restless(context.engine, container), running)
        misjudged = [container for container, is_so in zip(running, restless, strict=True) if is_so]
    if not misjudged and all(container.state.has_process for container in keeping):
        return None
    return misjudged


def _told(lost: LostProcess) -> str:
    """What became of it, in a few words."""
    return f"{'end' if lost.ended else 'kill, in vain,'} of process {lost.pid}, which the engine had lost track of"


def _is_restless(engine: Engine, container: Container) -> bool:
    """Whether the engine seems to replace the process of this container again and again."""
    try:
        details = engine.container_details(container.id)
    except EngineFailedError:  # it has been removed meanwhile
        return False
    lost = details.restart_count > 0 and details.started_at - details.finished_at >= _LOST
    return lost and engine.clock() - details.started_at < _LIFE


def _look(context: Context, observed: Observed, misjudged: Collection[str]) -> list[LostProcess]:
    data, image = [volume.name for volume in observed.data_volumes()], image_of(observed)
    if not data or image is None:
        return []
    # The containers of others that have the data are not ours to end.
    owners = [container for container in context.engine.containers({}) if container.id not in misjudged]
    running = [container.id for container in owners if container.state.has_process]
    known = [container.id for container in owners if not container.state.has_process]
    work = Work(
        kinds.LOST_PROCESSES,
        image,
        {volume: f"/volumes/{volume}:ro" for volume in data},
        (json.dumps(running), json.dumps(known)),
    )
    return [LostProcess(**entry) for entry in json.loads(run(context, work) or b"[]")]


def _replica(observed: Observed, lost: LostProcess) -> str:
    labels = [volume.labels for volume in observed.volumes if volume.name == lost.volume]
    return labels[0].get(names.REPLICA, lost.volume) if labels else lost.volume
