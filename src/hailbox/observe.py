"""What the engine holds of a stack. The engine is the only state there is."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from hailbox.engine.port import Container, Engine, Network, Volume
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import UnknownStackError
from hailbox.model.record import Record, newest


@dataclass(frozen=True)
class Observed:
    """All objects with the label of one stack."""

    stack: str
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    networks: tuple[Network, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing of the stack is there."""
        return not (self.containers or self.volumes or self.networks)

    @property
    def down(self) -> bool:
        """Whether something of the stack is there, but no container of a service."""
        services = (c for c in self.containers if c.labels.get(names.SERVICE) not in (None, ONE_SHOT))
        return not self.empty and next(services, None) is None

    def of(self, replica: str) -> tuple[Container, ...]:
        """The containers of that replica: one, none, or more where a command was killed while it re-created one."""
        return tuple(c for c in self.containers if c.labels.get(names.REPLICA) == replica)

    @functools.cached_property
    def record(self) -> Record | None:
        """What the stack is, by what it has; None if nothing says so."""
        things: tuple[Container | Volume | Network, ...] = (*self.containers, *self.volumes, *self.networks)
        return newest([thing.labels for thing in things])

    @property
    def ports(self) -> Mapping[tuple[str, str], int]:
        """By replica and port name: what the last `up` chose."""
        return self.record.ports if self.record else {}

    @property
    def own_services(self) -> frozenset[str]:
        """The services that run an image of the user's own."""
        return frozenset(self.record.images) if self.record else frozenset()

    def without(self, containers: Collection[Container], volumes: Collection[str] = ()) -> Observed:
        """What will be there when these are gone."""
        gone = {container.id for container in containers}
        return replace(
            self,
            containers=tuple(container for container in self.containers if container.id not in gone),
            volumes=tuple(volume for volume in self.volumes if volume.name not in volumes),
        )

    def data_volumes(self, replicas: frozenset[str] | None = None) -> tuple[Volume, ...]:
        """The volumes with data, of these replicas (None: of all)."""
        return tuple(
            volume
            for volume in self.volumes
            if volume.labels.get(names.KIND) == names.DATA
            and (replicas is None or volume.labels.get(names.REPLICA) in replicas)
        )


def observe(engine: Engine, stack: str) -> Observed:
    """Ask the engine for everything of that stack."""
    labels = {names.STACK: stack}
    return Observed(
        stack,
        tuple(engine.containers(labels)),
        tuple(engine.volumes(labels)),
        tuple(engine.networks(labels)),
    )


def present(engine: Engine, stack: str) -> Observed:
    """Ask the engine for everything of a stack that must be there. Raises UnknownStackError."""
    observed = observe(engine, stack)
    if observed.empty:
        others = ", ".join(stacks(engine))
        raise UnknownStackError(
            f"there is no stack {stack!r} on this engine",
            f"there are: {others}" if others else f"create it with: hailbox --stack {stack} up",
        )
    return observed


def stacks(engine: Engine) -> list[str]:
    """The names of all stacks of which the engine holds anything."""
    every = {names.STACK: None}
    found: list[Container | Volume | Network] = [
        *engine.containers(every),
        *engine.volumes(every),
        *engine.networks(every),
    ]
    return sorted({thing.labels[names.STACK] for thing in found})
