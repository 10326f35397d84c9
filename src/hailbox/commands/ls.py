"""`ls`: which stacks there are on the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hailbox.commands.result import endpoints
from hailbox.engine.port import ContainerState, Engine
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.observe import Observed


@dataclass(frozen=True)
class StackSummary:
    """One stack on the engine, as a listing shows it; not probed."""

    stack: str
    profile: str
    running: int
    containers: int
    volumes: int
    endpoints: Mapping[str, str]


def ls(engine: Engine) -> list[StackSummary]:
    """All stacks of which the engine holds anything."""
    every = {names.STACK: None}
    containers, volumes, networks = engine.containers(every), engine.volumes(every), engine.networks(every)
    labelled = [thing.labels[names.STACK] for thing in containers]
    labelled += [thing.labels[names.STACK] for thing in volumes]
    labelled += [thing.labels[names.STACK] for thing in networks]
    summaries = []
    for name in sorted(filter(names.is_stack, set(labelled))):
        observed = Observed(
            name,
            tuple(thing for thing in containers if thing.labels[names.STACK] == name),
            tuple(thing for thing in volumes if thing.labels[names.STACK] == name),
            tuple(thing for thing in networks if thing.labels[names.STACK] == name),
        )
        services = [c for c in observed.containers if c.labels.get(names.REPLICA, ONE_SHOT) != ONE_SHOT]
        running = sum(container.state is ContainerState.RUNNING for container in services)
        summaries.append(
            StackSummary(
                stack=name,
                profile=(observed.record.profile if observed.record else "") or "?",
                running=running,
                containers=len(services),
                volumes=len(observed.volumes),
                endpoints=endpoints(observed.ports) if running else {},
            )
        )
    return summaries
