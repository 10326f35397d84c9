"""Helper containers beside a stack: ending faults, and finishing or discarding what a killed command left."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Engine
from hailbox.helper import kinds, lostprocesses
from hailbox.helper.run import Work, run
from hailbox.model import names
from hailbox.model.errors import EngineFailedError, HelperFailedError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe

_RESTORE_DEADLINE: Final = kinds.RESTORE.deadline
"""Seconds; what is copied back may be large, and stopping half-way is worse than waiting."""

_RESTORED: Final = "-restored"
"""Ends the name of a helper that has restored: its data is in use, and never replaced again."""

_READY_DEADLINE: Final = 45.0
"""Seconds in which a restoring helper says that it listens; it says so before it has copied anything."""

_STOP_TIMEOUT: Final = 3
_ACTIVE: Final = (ContainerState.RUNNING, ContainerState.RESTARTING, ContainerState.PAUSED)
_ENDED_WELL: Final = (0, 75)
"""Exit statuses of a fault's agent that has undone it, or whose replica was gone."""


def of_kind(observed: Observed, kind: str) -> list[Container]:
    """The helper containers of one purpose: names.FAULT, DISPOSABLE or RESTORE.

    What claims to restore and names no snapshot was not made by hailbox, and would be waited for in vain.
    """
    return [
        container
        for container in observed.containers
        if names.purpose(container.labels.get(names.HELPER)) == kind
        and (kind != names.RESTORE or names.SNAPSHOT_NAME in container.labels)
    ]


def unfinished_restores(observed: Observed) -> list[Container]:
    """The helpers that have not yet put all of a snapshot in its place."""
    return [container for container in of_kind(observed, names.RESTORE) if not container.name.endswith(_RESTORED)]


def active_faults(observed: Observed) -> list[Container]:
    """The helpers of the faults that are in effect."""
    return [container for container in of_kind(observed, names.FAULT) if container.state in _ACTIVE]


def fault_id(container: Container) -> str:
    """What the user calls a fault: `pause-chunkd-1`."""
    return container.name.removeprefix(names.fault_container(container.labels[names.STACK], ""))


def fault_targets(container: Container) -> list[str]:
    """The replicas that a fault is about; none where the label of its helper is missing."""
    return container.labels.get(names.FAULT_TARGETS, "").split()


def end_faults(context: Context, observed: Observed, chosen: Iterable[Container] | None = None) -> tuple[str, ...]:
    """End these faults (None: all), remove their helpers, and return which were in effect."""
    helpers = of_kind(observed, names.FAULT) if chosen is None else list(chosen)

    def end(container: Container) -> str | None:
        active = container.state in _ACTIVE
        if active:
            if container.state is ContainerState.PAUSED:
                context.engine.unpause_container(container.id)
            context.engine.stop_container(container.id, stop_timeout=_STOP_TIMEOUT)
            if context.engine.container_details(container.id).exit_code not in _ENDED_WELL:
                _make_good(context, observed, container)
        context.engine.remove_container(container.id)
        return fault_id(container) if active else None

    if not helpers:
        return ()
    with context.span("end faults"), ThreadPoolExecutor() as pool:
        return tuple(sorted(name for name in pool.map(end, helpers) if name))


def _make_good(context: Context, observed: Observed, helper: Container) -> None:
    """The agent could not undo its fault: a start of the replica's container does."""
    for replica in fault_targets(helper)[:1]:
        for container in observed.of(replica):
            if container.state is ContainerState.RUNNING:
                context.engine.restart_container(container.id, stop_timeout=1)


def settle(context: Context, observed: Observed) -> tuple[str, ...]:
    """Leave no helper: end all faults (returned), discard copies that were not finished, finish restoring."""
    ended = finish(context, observed)
    if of_kind(observed, names.RESTORE):
        end_restores(context, of_kind(observe(context.engine, context.stack), names.RESTORE))
    return ended


def finish(context: Context, observed: Observed) -> tuple[str, ...]:
    """As `settle`, but leave the helpers that have restored a snapshot to `end_restores`."""
    ended = end_faults(context, observed)
    for container in of_kind(observed, names.DISPOSABLE):
        context.engine.remove_container(container.id)
    for container in unfinished_restores(observed):
        _finish_restore(context, observed, container)
    return ended


def _finish_restore(context: Context, observed: Observed, helper: Container) -> None:
    """Put a snapshot, whole, in place of the data while the services are down; then start those that ran.

    The helper is the record that data is being replaced: until all is in its place no service is started, and every
    command begins the copying again. Then the helper gets another name; after that only the old content is removed,
    while the services write again. Raises HelperFailedError.
    """
    engine = context.engine
    context.tell(context.stack, Phase.RESTORING, helper.labels.get(names.SNAPSHOT_NAME, ""))
    services = [c for c in observed.containers if names.HELPER not in c.labels and c.labels.get(names.SERVICE)]
    running = [c for c in services if c.state.has_process]
    # A process that the engine has lost track of would go on writing into what is being replaced.
    lostprocesses.end_suspected(context, observed)
    # Containers in any other state could be started by the engine in the midst of the copying.
    unsteady = [c for c in services if c not in running and c.state is not ContainerState.EXITED]
    with ThreadPoolExecutor(max_workers=len(services) + 1) as pool:
        ready = pool.submit(_make_ready, engine, helper)
        with context.span("kill"):
            killed = [pool.submit(engine.kill_container, container.id) for container in running]
            killed += [pool.submit(engine.remove_container, container.id) for container in unsteady]
            for future in killed:
                future.result()
        with context.span("copy"):
            says = _within(_READY_DEADLINE, ready, context, helper)
            engine.kill_container(helper.id, signal=names.GO)
            if not next(says, b"").endswith(b" restored"):
                _check_end(context, helper)

        def start(container: Container) -> None:
            context.tell(container.labels.get(names.REPLICA, container.name), Phase.STARTING)
            # A container whose port or network was taken meanwhile is re-created by Compose.
            with contextlib.suppress(EngineFailedError):
                engine.start_container(container.id)

        engine.rename_container(helper.id, helper.name + _RESTORED)
        with context.span("start"):
            for started in [pool.submit(start, container) for container in running]:
                started.result()


def end_restores(context: Context, restored: Iterable[Container]) -> None:
    """Remove the helpers that have restored a snapshot, once the old content is gone. Raises HelperFailedError."""
    engine = context.engine
    for helper in restored:
        if helper.state is ContainerState.PAUSED:
            engine.unpause_container(helper.id)
        engine.kill_container(helper.id, signal=names.GO)
        if engine.await_exit(helper.id, deadline=_RESTORE_DEADLINE) != 0:
            volumes = {volume: f"/volumes/{volume}" for volume in helper.mounts}
            run(context, Work(kinds.REMOVE_DISCARDED, helper.image_id, volumes))
        engine.remove_container(helper.id)


def _check_end(context: Context, helper: Container) -> None:
    """Wait until the restoring helper has ended. Raises HelperFailedError."""
    engine = context.engine
    status = engine.await_exit(helper.id, deadline=_RESTORE_DEADLINE)
    if status != 0:
        lines = [line.partition(b" ")[2] for line in engine.logs(helper.id, tail=5)]
        failed = HelperFailedError.of(helper.name, status, lines)
        remedy = f"run it again; to give the data up: hailbox --stack {context.stack} reset"
        raise HelperFailedError(failed.problem, remedy)


def _within(deadline: float, ready: Future[Iterator[bytes]], context: Context, helper: Container) -> Iterator[bytes]:
    """What the helper says, once it is ready. Raises HelperFailedError where it is not by the deadline."""
    try:
        return ready.result(timeout=deadline)
    except TimeoutError:
        context.engine.kill_container(helper.id)  # which ends the wait for its words
        raise HelperFailedError(
            f"the helper container {helper.name}, which is to restore a snapshot, does not begin",
            f"if hailbox did not make it, remove it: docker rm -f {helper.name}; then run: "
            f"hailbox --stack {context.stack} up",
        ) from None


def _make_ready(engine: Engine, helper: Container) -> Iterator[bytes]:
    """Have the restoring helper run, and listen to the signal on which it begins; returns what it says from then on.

    Each line begins with its time and a blank; the lines end with the helper.
    """
    if helper.state is ContainerState.PAUSED:
        # Its patience may have ended while it was frozen: it begins again.
        engine.unpause_container(helper.id)
        engine.kill_container(helper.id)
        engine.await_exit(helper.id, deadline=_STOP_TIMEOUT * 10)
    ended = helper.state in (ContainerState.EXITED, ContainerState.PAUSED)
    earlier = sum(1 for _ in engine.logs(helper.id)) if ended else 0
    if helper.state is not ContainerState.RUNNING:
        engine.start_container(helper.id)
    lines = engine.logs(helper.id, follow=True)
    for _line in itertools.islice(lines, earlier + 1):
        """Only their number counts: the last says that it is ready."""
    return lines
