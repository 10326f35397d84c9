"""A stack on the in-memory engine: what it has, what it holds, and what is removed of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from hailbox.commands.down import Removal
from hailbox.context import Context
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState
from hailbox.model import names
from hailbox.probe.outcome import Credentials, Outcome, Reached
from hailbox.probe.watch import OnChange, Target

MakeContext = Callable[..., Context]
REPLICAS = ["chunkd-1", "cld-1", "credentials", "iwhd-1", "tabled-1"]
DATA = [f"hailbox-test-{replica}" for replica in ("chunkd-1", "cld-1", "iwhd-1", "tabled-1")]


class Removals:
    """Notes what is removed from the engine, by name."""

    def __init__(self, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.containers: list[str] = []
        self.volumes: list[str] = []
        self.networks: list[str] = []
        self.images: list[str] = []
        container, volume = fake.remove_container, fake.remove_volume
        network, image = fake.remove_network, fake.remove_image

        def remove_container(identifier: str) -> None:
            self.containers.append(fake.all_containers[identifier].name)
            container(identifier)

        def remove_volume(name: str) -> None:
            self.volumes.append(name)
            volume(name)

        def remove_network(identifier: str) -> None:
            self.networks.append(fake.all_networks[identifier].name)
            network(identifier)

        def remove_image(reference: str) -> None:
            self.images.append(reference)
            image(reference)

        monkeypatch.setattr(fake, "remove_container", remove_container)
        monkeypatch.setattr(fake, "remove_volume", remove_volume)
        monkeypatch.setattr(fake, "remove_network", remove_network)
        monkeypatch.setattr(fake, "remove_image", remove_image)

    def clear(self) -> None:
        for noted in (self.containers, self.volumes, self.networks, self.images):
            noted.clear()

    def agree_with(self, removal: Removal) -> bool:
        """Whether exactly what the result names was removed."""
        return (
            sorted(self.containers) == list(removal.containers)
            and sorted(self.volumes) == list(removal.volumes)
            and sorted(self.networks) == list(removal.networks)
            and sorted(self.images) == list(removal.images)
        )


def names_of(fake: FakeEngine) -> list[str]:
    """The replicas that have a container, in order, each as often as it has one."""
    return sorted(c.labels[names.REPLICA] for c in fake.all_containers.values())


def container_of(fake: FakeEngine, replica: str, stack: str = "test") -> Container:
    (found,) = [
        c
        for c in fake.all_containers.values()
        if c.labels.get(names.REPLICA) == replica and c.labels.get(names.STACK) == stack
    ]
    return found


def set_state(fake: FakeEngine, replica: str, state: ContainerState) -> None:
    found = container_of(fake, replica)
    fake.all_containers[found.id] = replace(found, state=state)


def write_data(fake: FakeEngine) -> None:
    for name in fake.contents:
        fake.contents[name] = replace(fake.contents[name], written=1)


def written(fake: FakeEngine) -> dict[str, int]:
    return {name: content.written for name, content in fake.contents.items() if not name.endswith("-credentials")}


class EngineProbes:
    """Calls a replica working if its one container runs, and is not in `sick`."""

    def __init__(self, engine: FakeEngine, stack: str) -> None:
        self.engine = engine
        self.stack = stack
        self.sick: set[str] = set()
        self.skew: dict[str, float] = {}
        """Seconds by which the clocks of those are ahead that refuse us for that."""

    def __call__(
        self, targets: Sequence[Target], credentials: Credentials, *, deadline: float, on_change: OnChange
    ) -> dict[str, Outcome]:
        return {target.replica: self._outcome(target.replica) for target in targets}

    def _outcome(self, replica: str) -> Outcome:
        states = [
            container.state
            for container in self.engine.all_containers.values()
            if container.labels.get(names.REPLICA) == replica and container.labels.get(names.STACK) == self.stack
        ]
        if replica in self.skew and states == [ContainerState.RUNNING]:
            return Outcome(replica, Reached.ANSWER, "RequestTimeTooSkewed", 0.1, self.skew[replica])
        working = states == [ContainerState.RUNNING] and replica not in self.sick
        return Outcome(replica, Reached.FUNCTION if working else Reached.NOTHING, "" if working else "no answer", 0.1)
