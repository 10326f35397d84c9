"""The seam: every request of the driver to the engine or to Compose is a method of `Engine`.

`docker.DockerEngine` is the real one, `fake.FakeEngine` an in-memory one for tests. All methods raise
`EngineUnreachableError`, `EngineDeniedError` or `EngineFailedError`; "could not ask" is never an empty answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from hailbox.model.limits import Limits

NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class ContainerState(StrEnum):
    """As the engine's API names them."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"

    @property
    def has_process(self) -> bool:
        """Whether processes of the container exist; one that is being restarted is between two."""
        return self in (ContainerState.RUNNING, ContainerState.PAUSED)


@dataclass(frozen=True)
class EngineVersion:
    """What the engine says of itself; `version` as dotted text, `architecture` as Docker names it (amd64, arm64)."""

    version: str
    api: str
    operating_system: str
    architecture: str
    product: str = "Docker"
    """Or `Podman`, which speaks Docker's API as well as its own."""


@dataclass(frozen=True)
class EngineMode:
    """How an engine is set up."""

    rootless: bool = False
    """Whether it runs without the rights of the machine's administrator."""
    control_groups: str = ""
    """The version of control groups that it has: 1 or 2."""
    storage: str = ""
    """What keeps its images and containers: overlay2, vfs, containerd's overlayfs."""

    @property
    def has_limits(self) -> bool:
        """Whether it can limit and freeze containers: without rights it has only control groups of version 2."""
        return not (self.rootless and self.control_groups == "1")


@dataclass(frozen=True)
class PublishedPort:
    """One port of a container that the host listens on."""

    container_port: int
    protocol: str
    host_address: str
    host_port: int


@dataclass(frozen=True)
class Container:
    """One container as a listing shows it."""

    id: str
    name: str
    image: str
    image_id: str
    state: ContainerState
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PublishedPort, ...] = ()
    mounts: tuple[str, ...] = ()
    """Names of the volumes that are mounted."""
    networks: tuple[str, ...] = ()
    """Names of the networks that it is attached to."""
    young: bool = False
    """Whether it may have been started less than a minute ago."""


Recipe = Mapping[str, Any]
"""All that a container is made from, in the engine's own words."""


@dataclass(frozen=True)
class ContainerDetails:
    """What only an inspection of one container shows. Times are the engine's, in seconds since the epoch, and long
    before it for what has not happened."""

    exit_code: int
    out_of_memory: bool
    error: str
    started_at: float
    finished_at: float
    restart_count: int
    pid: int
    limits: Limits | None = None
    """None where the engine does not say."""


@dataclass(frozen=True)
class Usage:
    """What a running container takes at one moment."""

    memory: int
    """Bytes, without the page cache that the kernel would give up."""
    processor: float
    """Seconds of processor time since its start."""
    received: int
    """Bytes that came over its networks since its start."""
    sent: int


@dataclass(frozen=True)
class Volume:
    """A named volume."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A network."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkAddresses:
    """Who has which address in a network."""

    gateway: str
    """The engine's machine."""
    containers: Mapping[str, str]
    """By the name of a container."""


@dataclass(frozen=True)
class Image:
    """An image and its tags (`repository:tag`)."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    """Bytes."""
    created: int = 0
    """Seconds since the epoch, as a listing tells it; 0 where one image was asked for."""


@dataclass(frozen=True)
class ComposeVersion:
    """Which Compose was found: the command that runs it, and its version as dotted text."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Helper:
    """A short-lived container that does a piece of work beside the stack: it sees no network, no host and no
    volume but those named here, and runs as root with no capability but those named here."""

    name: str
    image: str
    command: tuple[str, ...]
    """In place of the image's entry point."""
    labels: Mapping[str, str]
    mounts: Mapping[str, str] = field(default_factory=dict)
    """By volume name: where it is mounted; with `:ro` after it read-only."""
    network: str = "none"
    """Or `container:ID`, whose network name space it then shares."""
    host_processes: bool = False
    """Whether it sees all processes of the engine's host."""
    capabilities: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    memory: int = 256 << 20
    """Bytes, the page cache of the files that it reads and writes included."""
    pids: int = 64
    """How many processes and threads it may have at once."""
    restart_on_failure: bool = False
    """Whether the engine starts it again when it ends with a status other than 0 without having been stopped."""


@dataclass(frozen=True)
class Execution:
    """How a command in a container ended, and what it printed."""

    status: int
    output: bytes
    errors: bytes


@dataclass(frozen=True)
class Marker:
    """A container that never runs: its name is taken, and its labels say by what."""

    id: str
    labels: Mapping[str, str]
    beats: int
    """How often its maker has said since that it lives."""


class Markers(Protocol):
    """The part of an engine that gives a name to one taker at a time."""

    def create_marker(self, name: str, labels: Mapping[str, str]) -> str | None:
        """Take the name; returns the marker's id, or None if the name is taken."""

    def marker(self, name: str) -> Marker | None:
        """The marker of that name; None if the name is free."""

    def beat_marker(self, marker_id: str, beats: int) -> None:
        """Say that the marker's maker lives, for the time of that number."""

    def remove_marker(self, marker_id: str) -> None:
        """Give the name back; a marker that is gone already is no error."""


class Engine(Markers, Protocol):
    """What the driver asks of the engine and of Compose."""

    def reach(self, ports: Iterable[int], *, same: bool = False) -> Mapping[int, int]:
        """The ports of this machine's loopback that lead to those that the engine publishes on its machine's.

        The same ones where that is this machine. Where ssh leads there, ways of their own, which last until this
        program ends; with `same` they have the same numbers. Raises PortTakenError if such a number is not free.
        """

    def elsewhere(self) -> str | None:
        """The address of the engine's machine where its ports need a way; None where they are this machine's."""

    def await_lost_ways(self) -> None:
        """Return when the ways that `reach` made have ended; at once where there are none."""

    def version(self) -> EngineVersion:
        """Ask the engine what it is; the cheapest proof that it answers."""

    def mode(self) -> EngineMode:
        """How it is set up. Takes the engine longer than most."""

    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        """All containers, running or not, with these labels (None: any value)."""

    def container_details(self, container_id: str) -> ContainerDetails:
        """Inspect one container."""

    def container_usage(self, container_id: str) -> Usage | None:
        """What a container takes now; None if it does not run."""

    def container_recipe(self, container_id: str) -> Recipe:
        """What another container has to be made from to be the same as this one."""

    def create_container(self, name: str, recipe: Recipe) -> str:
        """Make a container without starting it; returns its id."""

    def volumes(self, labels: Mapping[str, str | None]) -> list[Volume]:
        """All volumes with these labels."""

    def networks(self, labels: Mapping[str, str | None]) -> list[Network]:
        """All networks with these labels."""

    def network_addresses(self, name: str) -> NetworkAddresses | None:
        """The addresses in a network; None if there is none of that name."""

    def images(self, labels: Mapping[str, str | None], *, hidden: bool = False) -> list[Image]:
        """All images with these labels; those of single steps of a build only where `hidden`."""

    def image(self, reference: str) -> Image | None:
        """The image of that reference; None if the engine says that there is none."""

    def image_steps(self, reference: str) -> tuple[str, ...]:
        """The steps that an image was made by, the newest first, each with the time when it was run; none if there is
        no such image."""

    def start_container(self, container_id: str) -> None:
        """Start a container that was created or has ended."""

    def restart_container(self, container_id: str, *, stop_timeout: int) -> None:
        """Stop (SIGTERM, after `stop_timeout` seconds SIGKILL) and start."""

    def stop_container(self, container_id: str, *, stop_timeout: int) -> None:
        """SIGTERM, after `stop_timeout` seconds SIGKILL."""

    def kill_container(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        """Send a signal; a container that does not run is no error."""

    def pause_container(self, container_id: str) -> None:
        """Freeze all its processes."""

    def unpause_container(self, container_id: str) -> None:
        """Let its processes go on."""

    def rename_container(self, container_id: str, name: str) -> None:
        """Give a container another name."""

    def remove_container(self, container_id: str) -> None:
        """Kill if need be, and remove; one that is gone already is no error."""

    def remove_volume(self, name: str) -> None:
        """Remove; one that is gone already is no error."""

    def remove_network(self, network_id: str) -> None:
        """Remove; one that is gone already is no error."""

    def remove_image(self, reference: str) -> None:
        """Remove the tag and, with its last tag, the image; one that is gone already is no error."""

    def read_files(self, container_id: str, directory: str) -> Mapping[str, bytes]:
        """The files in a directory of a container, running or not, volumes included, by their path from there; none
        if there is no such container or directory."""

    def read_archive(self, container_id: str, directory: str) -> Iterator[bytes]:
        """A directory of a container, running or not, volumes included, as blocks of a tar archive. Every path in it
        begins with the last part of the directory's."""

    def write_archive(self, container_id: str, directory: str, archive: Iterator[bytes]) -> None:
        """Extract the blocks of a tar archive into a directory of a container, running or not."""

    def execute(self, container_id: str, command: Sequence[str]) -> Execution:
        """Run a command in a running container to its end, without input; keeps all that it prints in memory."""

    def stream(self, container_id: str, command: Sequence[str]) -> Iterator[bytes]:
        """Run a command in a running container, without input; the lines of its output as they come. The command goes
        on when the reader is gone, so it has to end by itself."""

    def attached_command(self, container_id: str, command: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        """The command line of a program of this host that runs `command` in a running container, with its own
        standard streams and exit status; `terminal`: they are a terminal's. Raises DockerClientMissingError.
        """

    def logs(
        self, container_id: str, *, tail: int | None = None, follow: bool = False, since: int | None = None
    ) -> Iterator[bytes]:
        """Lines (without their ends) of standard output and error, each after its time stamp and a blank."""

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume; one of that name that is there already stays as it is."""

    def disk_free(self) -> int | None:
        """Bytes left where the engine keeps its data; None if that is not a disk of this machine."""

    def clock(self) -> float:
        """The engine's time, which is that of all containers: seconds since the epoch."""

    def create_helper(self, helper: Helper) -> str:
        """Make a helper container without starting it; returns its id."""

    def await_exit(self, container_id: str, *, deadline: float) -> int:
        """Wait until the container has ended; returns its exit status. Raises EngineUnreachableError after
        `deadline` seconds."""

    def run_helper(self, helper: Helper, *, deadline: float) -> bytes:
        """Run a helper to its end and remove it; returns what it printed.

        Raises HelperFailedError with its last lines if its exit status is not 0.
        """

    def pull_image(self, reference: str) -> None:
        """Pull from a registry. Raises EngineFailedError where none answers or has it."""

    def tag_image(self, reference: str, name: str) -> None:
        """Give an image one more name."""

    def push_image(self, reference: str) -> None:
        """Push an image to the registry that its name says, with the docker client's credentials. Raises ImageError
        if the registry does not take it."""

    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        """Make an image of a root file system's tar archive."""

    def build_image(
        self, context: bytes, reference: str, *, labels: Mapping[str, str], options: Mapping[str, str] = NO_OPTIONS
    ) -> Iterator[str]:
        """Build with the classic builder, without network, from a tar archive; yields the builder's lines.

        `options` are parameters of the engine's request in addition, such as `target`, or a `networkmode`.
        Raises ImageError with the builder's last lines, DiskFullError where no space was left.
        """

    def pack_directory(self, directory: Path, dockerfile: str) -> bytes:
        """A user's directory as a build context, less what its `.dockerignore` names. Raises ImageError."""

    def compose_version(self) -> ComposeVersion:
        """Find Compose. Raises ComposeMissingError or ComposeTooOldError."""

    def compose(self, project: str, file: str, arguments: Sequence[str]) -> None:
        """Run Compose with `file` (the text of a Compose file) for that project; `arguments` begin with the
        Compose command (`up`, `create`, …). Raises ComposeFailedError with the last lines that it printed.
        """
