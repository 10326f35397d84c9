"""What the engine holds of a stack. The engine is the only state there is."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from hailbox.engine.port import Container, Engine, Network, Volume
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.config import SERVICES
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

    @property
    def with_data(self) -> frozenset[str]:
        """The replicas that have a volume with data; a volume that names no replica counts for none."""
        return frozenset(v.labels[names.REPLICA] for v in self.data_volumes() if v.labels.get(names.REPLICA))


def observe(engine: Engine, stack: str) -> Observed:
    """Ask the engine for everything of that stack.

    A volume without any label of ours, but with the exact name of one of the stack's, is the stack's, too, if
    anything else is: it was restored by hand, or made by the engine for a container whose volume was gone.
    """
    labels = {names.STACK: stack}
    containers, networks = engine.containers(labels), engine.networks(labels)
    volumes = engine.volumes({})
    found = [volume for volume in volumes if volume.labels.get(names.STACK) == stack]
    if containers or networks or found:
        found += [Volume(volume.name, meant) for volume in volumes if (meant := _meant(volume, stack))]
    return Observed(stack, tuple(containers), tuple(found), tuple(networks))


def _meant(volume: Volume, stack: str) -> dict[str, str]:
    """The labels that a volume of that name would have; none if it has labels of ours, or is not the stack's."""
    if any(label.startswith(names.PREFIX) for label in volume.labels):
        return {}
    if volume.name == names.credentials_volume(stack):
        return {names.STACK: stack, names.KIND: names.CREDENTIALS}
    replica = volume.name.removeprefix(names.data_volume(stack, ""))
    service, _, number = replica.rpartition("-")
    if replica == volume.name or service not in SERVICES or not (number.isascii() and number.isdecimal()):
        return {}
    return {names.STACK: stack, names.KIND: names.DATA, names.SERVICE: service, names.REPLICA: replica}


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
    return sorted(filter(names.is_stack, {thing.labels[names.STACK] for thing in found}))
