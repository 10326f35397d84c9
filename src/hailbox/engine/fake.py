"""An engine in memory, for tests of the driver: it keeps containers, volumes and networks as the real one does.

`interrupt` is called before and after every request and before every single step of a Compose run, with a name of
that moment; an exception that it raises is how a test kills the driver there. What was done stays done.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml

from hailbox.engine.port import (
    NO_OPTIONS,
    ComposeVersion,
    Container,
    ContainerDetails,
    ContainerState,
    EngineMode,
    EngineVersion,
    Execution,
    Helper,
    Image,
    Marker,
    Network,
    NetworkAddresses,
    PublishedPort,
    Recipe,
    Usage,
    Volume,
)
from hailbox.model import limits, names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import EngineFailedError
from hailbox.model.limits import Limits
from haild.credentials import fill, generate

P = ParamSpec("P")
T = TypeVar("T")

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Interrupt = Callable[[str], None]


def _nothing(_moment: str) -> None:
    """No test wants to interrupt."""


def _request(method: Callable[P, T]) -> Callable[P, T]:
    """A request to the engine: it can be interrupted before and after."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        engine = args[0]
        assert isinstance(engine, FakeEngine)  # noqa: S101 - for the type checker; every caller is a method
        engine.interrupt(f"before {method.__name__}")
        answer = method(*args, **kwargs)
        engine.interrupt(f"after {method.__name__}")
        return answer

    return call


def _has(labels: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(name in labels and value in (None, labels[name]) for name, value in wanted.items())


@dataclass(frozen=True)
class VolumeContent:
    """What is in a volume, as far as the driver can tell."""

    credentials: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The configuration files beside the credentials, by path."""
    written: int = 0
    """A number that a test puts there to see whether the data survives."""


class FakeEngine:
    """`Engine` without an engine."""

    def __init__(self) -> None:
        self.interrupt: Interrupt = _nothing
        self.all_containers: dict[str, Container] = {}
        self.all_volumes: dict[str, Volume] = {}
        self.contents: dict[str, VolumeContent] = {}
        self.all_networks: dict[str, Network] = {}
        self.all_images: dict[str, Image] = {}
        self.set_up = EngineMode(control_groups="2", storage="overlay2")
        self.registry: dict[str, Image] = {}
        """What can be pulled, and was pushed."""
        self.steps: dict[str, tuple[str, ...]] = {}
        """By id of an image, what it was made by."""
        self.markers: dict[str, Marker] = {}
        """By name; not among the containers, and asked for at no moment that a test can interrupt."""
        self.helpers: dict[str, Helper] = {}
        """The helper containers that were ever made, by id."""
        self.work: Callable[[Helper], bytes] = lambda helper: b""
        """What a helper does when it is started, and what it prints; a test puts its own here."""
        self.signalled: Callable[[Helper, str], None] = lambda helper, signal: None
        """What a helper does when it gets a signal other than SIGKILL; a test puts its own here."""
        self.output: dict[str, bytes] = {}
        self.streams: dict[str, list[bytes]] = {}
        """By container: the lines that the next streamed command prints."""
        self.free: int | None = None
        """What `disk_free` answers."""
        self.clock_ahead = 0.0
        """Seconds by which the engine's clock is ahead of ours."""
        self.details: dict[str, ContainerDetails] = {}
        """What an inspection shows, by container, where a test wants something else than the usual."""
        self.limits: dict[str, Limits] = {}
        """What the containers that Compose ever made may use, by id; a test changes them as `docker update` does."""
        self.commands: dict[str, list[str]] = {}
        """The command lines of the containers that Compose ever made, by id."""
        self._ids = itertools.count(1)
        self._marker_ids = itertools.count(1)

    def reach(self, ports: Iterable[int], *, same: bool = False) -> Mapping[int, int]:
        return {port: port for port in ports}

    def elsewhere(self) -> str | None:
        return None

    def await_lost_ways(self) -> None:
        return

    @_request
    def version(self) -> EngineVersion:
        return EngineVersion("20.10.24", "1.41", "linux", "amd64")

    @_request
    def mode(self) -> EngineMode:
        return self.set_up

    @_request
    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        return [self._listed(each) for each in self.all_containers.values() if _has(each.labels, labels)]

    def _listed(self, container: Container) -> Container:
        """As the engine does it: its image's id in place of a name that has gone; ports only while it runs."""
        if container.image not in self.all_images:
            container = replace(container, image=container.image_id)
        return container if container.state.has_process else replace(container, ports=())

    @_request
    def container_details(self, container_id: str) -> ContainerDetails:
        self._container(container_id)
        if container_id in self.details:
            return self.details[container_id]
        return ContainerDetails(0, False, "", 1.7e9, 1.7e9, 0, 1, self.limits.get(container_id))

    @_request
    def container_usage(self, container_id: str) -> Usage | None:
        running = self._container(container_id).state is ContainerState.RUNNING
        return Usage(48 << 20, 1.5, 1 << 20, 2 << 20) if running else None

    @_request
    def container_recipe(self, container_id: str) -> Recipe:
        return {
            "like": self._container(container_id),
            "command": self.commands.get(container_id, []),
            "limits": self.limits.get(container_id),
        }

    @_request
    def create_container(self, name: str, recipe: Recipe) -> str:
        like: Container = recipe["like"]
        if missing := [mount for mount in like.mounts if mount not in self.all_volumes]:
            raise EngineFailedError(f"no such volume: {missing[0]}", "make it first")
        identifier = self._new_container(name, replace(like, state=ContainerState.CREATED))
        self.commands[identifier] = recipe["command"]
        if recipe["limits"] is not None:
            self.limits[identifier] = recipe["limits"]
        return identifier

    def _new_container(self, name: str, like: Container) -> str:
        if any(container.name == name for container in self.all_containers.values()):
            raise EngineFailedError(f"the name {name} is taken", "remove that container")
        identifier = f"container-{next(self._ids)}"
        self.all_containers[identifier] = replace(like, id=identifier, name=name)
        return identifier

    @_request
    def volumes(self, labels: Mapping[str, str | None]) -> list[Volume]:
        return [volume for volume in self.all_volumes.values() if _has(volume.labels, labels)]

    @_request
    def networks(self, labels: Mapping[str, str | None]) -> list[Network]:
        return [network for network in self.all_networks.values() if _has(network.labels, labels)]

    @_request
    def network_addresses(self, name: str) -> NetworkAddresses | None:
        there = [container for container in self.all_containers.values() if name in container.networks]
        addresses = {container.name: f"192.0.2.{number}" for number, container in enumerate(there, 2)}
        return NetworkAddresses("192.0.2.1", addresses)

    @_request
    def images(self, labels: Mapping[str, str | None], *, hidden: bool = False) -> list[Image]:
        return [image for image in self.all_images.values() if _has(image.labels, labels)]

    @_request
    def image(self, reference: str) -> Image | None:
        return self.all_images.get(reference)

    @_request
    def image_steps(self, reference: str) -> tuple[str, ...]:
        return self.steps.get(reference, ())

    @_request
    def start_container(self, container_id: str) -> None:
        self._start(container_id)

    @_request
    def restart_container(self, container_id: str, *, stop_timeout: int) -> None:
        self._start(container_id)

    @_request
    def stop_container(self, container_id: str, *, stop_timeout: int) -> None:
        self._end(container_id)

    @_request
    def kill_container(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        if signal != "SIGKILL" and (helper := self.helpers.get(container_id)):
            if self._container(container_id).state is ContainerState.RUNNING:
                self.signalled(helper, signal)
        else:
            self._end(container_id)

    @_request
    def pause_container(self, container_id: str) -> None:
        self._set_state(container_id, ContainerState.PAUSED)

    @_request
    def unpause_container(self, container_id: str) -> None:
        self._set_state(container_id, ContainerState.RUNNING)

    @_request
    def rename_container(self, container_id: str, name: str) -> None:
        self.all_containers[container_id] = replace(self._container(container_id), name=name)

    def create_marker(self, name: str, labels: Mapping[str, str]) -> str | None:
        if name in self.markers:
            return None
        self.markers[name] = Marker(f"marker-{next(self._marker_ids)}", dict(labels), 0)
        return self.markers[name].id

    def marker(self, name: str) -> Marker | None:
        return self.markers.get(name)

    def beat_marker(self, marker_id: str, beats: int) -> None:
        self.markers = {
            name: replace(marker, beats=beats) if marker.id == marker_id else marker
            for name, marker in self.markers.items()
        }

    def remove_marker(self, marker_id: str) -> None:
        self.markers = {name: marker for name, marker in self.markers.items() if marker.id != marker_id}

    @_request
    def remove_container(self, container_id: str) -> None:
        self.all_containers.pop(container_id, None)

    @_request
    def remove_volume(self, name: str) -> None:
        if any(name in container.mounts for container in self.all_containers.values()):
            raise EngineFailedError(f"volume {name} is in use", "remove the containers first")
        self.all_volumes.pop(name, None)
        self.contents.pop(name, None)

    @_request
    def remove_network(self, network_id: str) -> None:
        self.all_networks.pop(network_id, None)

    @_request
    def remove_image(self, reference: str) -> None:
        self.all_images.pop(reference, None)

    @_request
    def read_files(self, container_id: str, directory: str) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for name in self.all_containers[container_id].mounts if container_id in self.all_containers else ():
            content = self.contents[name]
            if content.credentials is not None:
                found |= {"credentials.json": content.credentials.encode(), **content.files}
        return found

    @_request
    def read_archive(self, container_id: str, directory: str) -> Iterator[bytes]:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in self.all_containers[container_id].mounts:
                text = str(self.contents[name].written).encode()
                entry = tarfile.TarInfo(f"{directory.rpartition('/')[2]}/written")
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text))
        return iter([archive.getvalue()])

    @_request
    def write_archive(self, container_id: str, directory: str, archive: Iterator[bytes]) -> None:
        with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
            content = tar.extractfile("written")
            number = int(content.read()) if content else 0
        for name in self.all_containers[container_id].mounts:
            self.contents[name] = replace(self.contents[name], written=number)

    @_request
    def execute(self, container_id: str, command: Sequence[str]) -> Execution:
        self._running(container_id)
        return Execution(0, " ".join(command).encode(), b"")

    def stream(self, container_id: str, command: Sequence[str]) -> Iterator[bytes]:
        self._running(container_id)
        yield from self.streams.pop(container_id, ())

    @_request
    def attached_command(self, container_id: str, command: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        self._running(container_id)
        return ("docker", "exec", container_id, *command)

    @_request
    def logs(
        self, container_id: str, *, tail: int | None = None, follow: bool = False, since: int | None = None
    ) -> Iterator[bytes]:
        self._container(container_id)
        return iter([b"2026-01-01T00:00:00Z " + line for line in self.output.get(container_id, b"").splitlines()])

    @_request
    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        if name not in self.all_volumes:
            self.all_volumes[name] = Volume(name, dict(labels))
            self.contents[name] = VolumeContent()

    @_request
    def disk_free(self) -> int | None:
        return self.free

    @_request
    def clock(self) -> float:
        return time.time() + self.clock_ahead

    @_request
    def create_helper(self, helper: Helper) -> str:
        made = Container(
            id="",
            name=helper.name,
            image=helper.image,
            image_id=f"sha256:{helper.image}",
            state=ContainerState.CREATED,
            labels=dict(helper.labels),
            mounts=tuple(helper.mounts),
        )
        identifier = self._new_container(helper.name, made)
        self.helpers[identifier] = helper
        return identifier

    @_request
    def await_exit(self, container_id: str, *, deadline: float) -> int:
        self._end(container_id)
        return 0

    def run_helper(self, helper: Helper, *, deadline: float) -> bytes:
        identifier = self.create_helper(helper)
        self.start_container(identifier)
        self.await_exit(identifier, deadline=deadline)
        self.remove_container(identifier)
        return self.output.get(identifier, b"")

    @_request
    def pull_image(self, reference: str) -> None:
        if reference not in self.registry:
            raise EngineFailedError(
                f"cannot pull {reference}: the registry in memory has it not", "check the network"
            )
        self.all_images[reference] = replace(self.registry[reference], tags=(reference,))

    @_request
    def tag_image(self, reference: str, name: str) -> None:
        self.all_images[name] = replace(self.all_images[reference], tags=(name,))

    @_request
    def push_image(self, reference: str) -> None:
        self.registry[reference] = self.all_images[reference]

    @_request
    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        self.all_images[reference] = Image(f"sha256:{next(self._ids)}", (reference,), dict(labels))

    @_request
    def build_image(
        self, context: bytes, reference: str, *, labels: Mapping[str, str], options: Mapping[str, str] = NO_OPTIONS
    ) -> Iterator[str]:
        self.all_images[reference] = Image(f"sha256:{next(self._ids)}", (reference,), dict(labels), len(context))
        return iter(())

    def pack_directory(self, directory: Path, dockerfile: str) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())

    @_request
    def compose_version(self) -> ComposeVersion:
        return ComposeVersion(("docker-compose",), "5.6.1")

    @_request
    def compose(self, project: str, file: str, arguments: Sequence[str]) -> None:
        document = yaml.load(file, _Loader)  # noqa: S506 - a safe loader
        for volume in document["volumes"].values():
            self.interrupt(f"compose: volume {volume['name']}")
            if volume["name"] not in self.all_volumes:
                self.all_volumes[volume["name"]] = Volume(volume["name"], volume["labels"])
                self.contents[volume["name"]] = VolumeContent()
        network = document["networks"]["default"]
        self.interrupt(f"compose: network {network['name']}")
        if network["name"] not in {known.name for known in self.all_networks.values()}:
            identifier = f"network-{next(self._ids)}"
            self.all_networks[identifier] = Network(identifier, network["name"], network["labels"])
        volume_names = {key: volume["name"] for key, volume in document["volumes"].items()}
        created = [
            self._create(definition, volume_names, network["name"]) for definition in document["services"].values()
        ]
        for identifier in created if arguments[0] == "up" else ():
            self.interrupt(f"compose: start {self.all_containers[identifier].name}")
            self._start(identifier)

    def _create(self, definition: Mapping[str, Any], volume_names: Mapping[str, str], networks: str) -> str:
        name = definition["container_name"]
        self.interrupt(f"compose: create {name}")
        for container in list(self.all_containers.values()):
            if container.name == name:
                if container.labels == definition["labels"]:
                    return container.id
                del self.all_containers[container.id]
                self.interrupt(f"compose: re-create {name}")
        identifier = f"container-{next(self._ids)}"
        self.commands[identifier] = definition.get("command", [])
        self.limits[identifier] = limits.of_definition(definition)
        self.all_containers[identifier] = Container(
            id=identifier,
            name=name,
            image=definition["image"],
            image_id=known.id if (known := self.all_images.get(definition["image"])) else "sha256:unknown",
            state=ContainerState.CREATED,
            labels=definition["labels"],
            ports=tuple(_published(text) for text in definition.get("ports", ())),
            mounts=tuple(volume_names[text.split(":")[0]] for text in definition["volumes"]),
            networks=() if "network_mode" in definition else (networks,),
        )
        return identifier

    def _container(self, identifier: str) -> Container:
        try:
            return self.all_containers[identifier]
        except KeyError:
            raise EngineFailedError(f"no such container: {identifier}", "look again") from None

    def _running(self, identifier: str) -> None:
        if self._container(identifier).state is not ContainerState.RUNNING:
            raise EngineFailedError(f"container {identifier} is not running", "start it")

    def _set_state(self, identifier: str, state: ContainerState) -> None:
        self.all_containers[identifier] = replace(self._container(identifier), state=state)

    def _start(self, identifier: str) -> None:
        container = self._container(identifier)
        if helper := self.helpers.get(identifier):
            self._set_state(identifier, ContainerState.RUNNING)
            self.output[identifier] = self.work(helper)
            return
        if container.labels.get(names.REPLICA) != ONE_SHOT:
            self._set_state(identifier, ContainerState.RUNNING)
            return
        self._set_state(identifier, ContainerState.EXITED)
        for name in container.mounts:
            credentials = self.contents[name].credentials or json.dumps(generate())
            words = self.commands.get(identifier, [])
            files = {
                words[at + 1]: fill(words[at + 2].replace("$$", "$"), json.loads(credentials)).encode()
                for at, word in enumerate(words)
                if word == "--file"
            }
            self.contents[name] = replace(self.contents[name], credentials=credentials, files=files)

    def _end(self, identifier: str) -> None:
        if identifier in self.all_containers:
            self._set_state(identifier, ContainerState.EXITED)


def _published(text: str) -> PublishedPort:
    address, host, rest = text.split(":")
    container, _, protocol = rest.partition("/")
    return PublishedPort(int(container), protocol, address, int(host))
