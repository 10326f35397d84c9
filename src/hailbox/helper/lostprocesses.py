"""Processes of a stack's containers that the engine has lost track of, and their end.

An engine that is killed while it starts a container may believe, when it is back, that this one never ran (26.1 shows
it as created), while its process does. Whoever starts the container then has that process killed; the engine takes
the news of its end for that of the new one, and replaces this one in its turn, again and again. Whoever removes the
container leaves a process that nobody owns, and that keeps the data from its successor. So such a process is ended
before its container is touched, and the container, of which the engine's idea is wrong, is removed then.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Engine, Helper
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import DiskFullError, EngineFailedError
from hailbox.model.progress import Phase
from hailbox.observe import Observed

_DEADLINE = 30.0
_LOOKS = 3
"""A look that finds something is followed by another: what the engine does meanwhile may leave one more process."""

_LOST = 2.0
"""Seconds for which an engine tries to delete the new process whose end it believes in, before it starts the next;
from an end that was one to the next start it is a tenth of a second, and more only after several restarts."""
_LIFE = 5.0
"""Seconds that no such process lives."""


@dataclass(frozen=True)
class Stray:
    """A process that was found, and sent SIGKILL."""

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

    Those of the `misjudged` containers, too. Returns what was done, in words: nothing where the engine does not let a
    helper see the processes of its host.
    """
    done: list[str] = []
    removed = set[str]()
    # A disk without room for a helper is somebody else's to tell of.
    with context.span("look for stray processes"), contextlib.suppress(EngineFailedError, DiskFullError):
        # Who ends a process in the midst of the start of the next leaves some engines stuck: no more starts first.
        for container in (*misjudged, *(c for c in observed.containers if c.state is ContainerState.RESTARTING)):
            context.engine.kill_container(container.id)
        for _ in range(_LOOKS):
            seen = _look(context.engine, observed, {container.id for container in misjudged} - removed)
            for stray in seen:
                done.append(_told(stray))
                context.tell(_replica(observed, stray), Phase.HEALING, done[-1])
            suspects = {stray.container for stray in seen} | {container.id for container in misjudged}
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
    """The same, if there may be any: the look takes half a second."""
    data = {volume.name for volume in observed.data_volumes()}
    # What else has data mounted is a helper, which does not run when its work is done, or has not begun.
    keeping = [c for c in observed.containers if data & set(c.mounts) and names.HELPER not in c.labels]
    running = [container for container in keeping if container.state is ContainerState.RUNNING and container.young]
    with ThreadPoolExecutor(max_workers=len(running) + 1) as pool:
        restless = pool.map(lambda container: _is_restless(context.engine, container), running)
        misjudged = [container for container, is_so in zip(running, restless, strict=True) if is_so]
    if not misjudged and all(container.state.has_process for container in keeping):
        return ()
    return end(context, observed, misjudged)


def _told(stray: Stray) -> str:
    """What became of it, in a few words."""
    return f"{'end' if stray.ended else 'kill, in vain,'} of process {stray.pid}, which the engine had lost track of"


def _is_restless(engine: Engine, container: Container) -> bool:
    """Whether the engine seems to replace the process of this container again and again."""
    try:
        details = engine.container_details(container.id)
    except EngineFailedError:  # somebody has removed it
        return False
    lost = details.restart_count > 0 and details.started_at - details.finished_at >= _LOST
    return lost and engine.clock() - details.started_at < _LIFE


def _look(engine: Engine, observed: Observed, misjudged: Collection[str]) -> list[Stray]:
    data, one_shot = [volume.name for volume in observed.data_volumes()], observed.of(ONE_SHOT)
    if not data or not one_shot:
        return []
    # Others' containers that have the data are none of ours to end.
    owners = [container for container in engine.containers({}) if container.id not in misjudged]
    running = [container.id for container in owners if container.state.has_process]
    known = [container.id for container in owners if not container.state.has_process]
    program = (Path(__file__).parent / "programs" / "lostprocesses.py").read_text(encoding="utf-8")
    helper = Helper(
        name=f"{names.project(observed.stack)}-strays-{secrets.token_hex(4)}",
        image=one_shot[0].image_id,
        command=("python3", "-I", "-c", program, json.dumps(running), json.dumps(known)),
        labels={names.STACK: observed.stack, names.HELPER: names.SAVE},
        mounts={volume: f"/volumes/{volume}:ro" for volume in data},
        host_processes=True,
        capabilities=("SYS_PTRACE", "DAC_READ_SEARCH", "KILL"),
    )
    return [Stray(**entry) for entry in json.loads(engine.run_helper(helper, deadline=_DEADLINE) or b"[]")]


def _replica(observed: Observed, stray: Stray) -> str:
    labels = [volume.labels for volume in observed.volumes if volume.name == stray.volume]
    return labels[0].get(names.REPLICA, stray.volume) if labels else stray.volume
