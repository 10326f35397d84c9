"""Applying a plan: Compose makes the containers, and they are started all at once.

Compose would start one after the other, and each takes the engine a quarter of a second, most of it on one processor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import EngineFailedError, EngineUnreachableError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe
from hailbox.stack import credentials, plan
from hailbox.stack.credentials import Kept
from hailbox.stack.plan import Plan
from hailbox.stack.situation import Situation

COMPOSE_CREATE: Final = ("create", "--no-build", "--pull", "never", "--remove-orphans")

_ATTEMPTS: Final = 3
_STARTABLE: Final = (ContainerState.CREATED, ContainerState.EXITED)


def converge(context: Context, situation: Situation, kept: Kept | None) -> tuple[Plan, Mapping[str, str]]:
    """Make what is missing or different, and start it. `kept` is what a one-shot that need not change has written.

    Returns the credentials, and the plan, which has new ports if some were taken. Raises EngineFailedError.
    """
    planned, observed = situation.planned, situation.observed
    for attempt in range(1, _ATTEMPTS + 1):
        _clear_the_way(context, planned, observed)
        for replica in planned.digests:
            if replica != ONE_SHOT:
                context.tell(replica, Phase.STARTING)
        try:
            return planned, apply(context, planned, kept)
        except EngineFailedError:
            # A port may have been taken since we looked; with the same ports a new attempt would be in vain.
            observed = observe(context.engine, context.stack)
            again = plan.build(context, observed, situation.choice, planned.blueprint.images)
            if attempt == _ATTEMPTS or again.blueprint.ports == planned.blueprint.ports:
                raise
            planned = again
    raise AssertionError("the last attempt returns or raises")


def apply(context: Context, planned: Plan, kept: Kept | None = None) -> Mapping[str, str]:
    """Have Compose make the containers, start them, and return the credentials.

    The one-shot makes those, and writes all configuration, unless `kept` has all that it would write.
    Raises EngineFailedError, NotWorkingError.
    """
    with context.span("Compose"):
        context.engine.compose(names.project(context.stack), planned.file, COMPOSE_CREATE)
    with context.span("start"):
        return _start(context, planned, kept if kept and kept.configures(planned.blueprint) else None)


def _start(context: Context, planned: Plan, kept: Kept | None) -> Mapping[str, str]:
    engine = context.engine
    observed = observe(engine, context.stack)
    stopped = [
        c for c in observed.containers if c.state in _STARTABLE and c.labels.get(names.REPLICA) in planned.digests
    ]
    one_shot = [c for c in stopped if c.labels.get(names.REPLICA) == ONE_SHOT]
    services = [c for c in stopped if c not in one_shot]

    def write_configuration() -> Mapping[str, str]:
        if kept is not None:
            return kept.credentials
        for container in one_shot:
            engine.start_container(container.id)
            with contextlib.suppress(EngineUnreachableError):  # it hangs, which is told below, or the engine is gone
                engine.await_exit(container.id, deadline=credentials.DEADLINE)
        return credentials.await_them(engine, context.stack)

    def start(container: Container) -> None:
        engine.start_container(container.id)

    with ThreadPoolExecutor(max_workers=len(services) + 1) as pool:
        writing = pool.submit(write_configuration)
        if planned.blueprint.own_images:
            # Ours wait for their configuration; a program that does not has to be started after it is written.
            writing.result()
        starting = [pool.submit(start, container) for container in services]
        for future in starting:
            future.result()
        return writing.result()


def _clear_the_way(context: Context, planned: Plan, observed: Observed) -> None:
    """Remove containers of ours that Compose would trip over, and let frozen ones go on."""
    for container in observed.containers:
        replica = container.labels.get(names.REPLICA, "")
        stray = replica not in planned.digests or container.name != names.container(context.stack, replica)
        lost = plan.is_cut_off(context.stack, container)  # Compose does not attach what exists to a new network
        if stray or lost or container.state in (ContainerState.DEAD, ContainerState.REMOVING):
            context.engine.remove_container(container.id)
        elif container.state is ContainerState.PAUSED:
            context.engine.unpause_container(container.id)
