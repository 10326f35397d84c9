"""`Engine` on a Docker engine (Docker Engine API v1.41, and later ones)."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hailbox import surroundings
from hailbox.engine import composecli
from hailbox.engine.docker import objects, stream
from hailbox.engine.port import (
    NO_OPTIONS,
    ComposeVersion,
    Container,
    ContainerDetails,
    EngineMode,
    EngineVersion,
    Execution,
    Helper,
    Image,
    Marker,
    Network,
    NetworkAddresses,
    Recipe,
    Usage,
    Volume,
)
from hailbox.model import diskspace
from hailbox.model.errors import DockerClientMissingError, EngineFailedError, HelperFailedError, ImageError

if TYPE_CHECKING:  # the package takes 0.1 s to import: at the first request, and not before
    from hailbox.engine.docker.address import Address
    from hailbox.engine.docker.tunnel import Tunnel

NEARLY_FULL: Final = 64 << 20
"""Bytes left on the engine's disk below which a failed build is put down to the full disk."""

_GONE: Final = object()
_KEPT_BUILD_LINES: Final = 12

_BLOCK: Final = 1 << 20
"""Bytes of an archive at a time."""

_TRANSFER_DEADLINE: Final = 3600
"""Seconds until the engine has extracted an archive whose last byte was sent."""


class DockerEngine:
    """`Engine` on the engine that DOCKER_HOST, the docker client's context or the default socket names.

    Nothing is read or asked before the first request. That raises UsageError where a context is chosen that is not
    there. Any number of threads may ask at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Address | None = None
        self._client: Any = None
        self._version: EngineVersion | None = None
        self._tunnel: Tunnel | None = None

    @property
    def _address(self) -> Address:
        from hailbox.engine.docker import address

        if self._found is None:
            self._found = address.find()
        return self._found

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        from hailbox.engine.docker import client, failures

        with self._lock:
            where = self._address
        try:
            with self._lock:
                if self._client is None:
                    self._client, self._version = client.connect(where)
            yield self._client
        except failures.FAILURES as error:
            raise failures.translate(error, where, self._name) from error

    @property
    def _name(self) -> str:
        """Where the engine is and, if it is no Docker, what it is."""
        known = self._version
        other = f" ({known.product} {known.version})" if known is not None and known.product != "Docker" else ""
        return f"{self._address.text}{other}"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Tell of an answer that lacks what the API says of it: a defect of the engine's, or what is no engine."""
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise EngineFailedError(
                f"the engine at {self._name} answered something else than its API says: "
                f"{type(error).__name__} {error}",
                "see what it is and whether it is well: docker version",
            ) from error

    @contextlib.contextmanager
    def _removing(self, *fine: int) -> Iterator[Any]:
        """Treat 404 and the given statuses as success: the object is gone, or is what it should become."""
        from hailbox.engine.docker import failures

        with self._asking() as client:
            try:
                yield client
            except failures.FAILURES as error:
                if failures.status_of(error) not in (404, *fine):
                    raise

    def reach(self, ports: Iterable[int], *, same: bool = False) -> Mapping[int, int]:
        if self.elsewhere() is None:
            return {port: port for port in ports}
        from hailbox.engine.docker.tunnel import Tunnel

        with self._lock:
            if self._tunnel is None:
                self._tunnel = Tunnel(self._address.text)
            return self._tunnel.reach(ports, same=same)

    def elsewhere(self) -> str | None:
        return self._address.text if self._address.over_ssh else None

    def await_lost_ways(self) -> None:
        if self._tunnel is not None:
            self._tunnel.await_end()

    def version(self) -> EngineVersion:
        with self._asking() as client:
            answer = client.version()
        with self._reading():
            return objects.version(answer)

    def mode(self) -> EngineMode:
        with self._reading():
            return objects.mode(self._info())

    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        with self._asking() as client:
            entries = client.containers(all=True, filters=objects.having(labels))
        with self._reading():
            return [objects.container(entry) for entry in entries]

    def container_details(self, container_id: str) -> ContainerDetails:
        with self._asking() as client:
            answer = client.inspect_container(container_id)
        with self._reading():
            return objects.details(answer)

    def container_usage(self, container_id: str) -> Usage | None:
        with self._asking() as client:
            answer = client.stats(container_id, stream=False, one_shot=True)
        with self._reading():
            return objects.usage(answer)

    def container_recipe(self, container_id: str) -> Recipe:
        with self._asking() as client:
            answer = client.inspect_container(container_id)
        with self._reading():
            return objects.recipe(answer, container_id)

    def create_container(self, name: str, recipe: Recipe) -> str:
        with self._asking() as client:
            answer = client.create_container_from_config(dict(recipe), name)
        return str(answer["Id"])

    def volumes(self, labels: Mapping[str, str | None]) -> list[Volume]:
        with self._asking() as client:
            answer = client.volumes(filters=objects.having(labels))
        with self._reading():
            return [objects.volume(entry) for entry in answer["Volumes"] or ()]

    def networks(self, labels: Mapping[str, str | None]) -> list[Network]:
        with self._asking() as client:
            entries = client.networks(filters=objects.having(labels))
        with self._reading():
            return [objects.network(entry) for entry in entries]

    def network_addresses(self, name: str) -> NetworkAddresses | None:
        answer = None
        with self._removing() as client:
            answer = client.inspect_network(name)
        with self._reading():
            return None if answer is None else objects.addresses(answer)

    def images(self, labels: Mapping[str, str | None]) -> list[Image]:
        with self._asking() as client:
            entries = client.images(filters=objects.having(labels))
        with self._reading():
            return [objects.image(entry) for entry in entries]

    def image(self, reference: str) -> Image | None:
        found: Any = _GONE
        with self._removing() as client:
            found = client.inspect_image(reference)
        with self._reading():
            return None if found is _GONE else objects.image(found)

    def image_steps(self, reference: str) -> tuple[str, ...]:
        steps: list[Any] = []
        with self._removing() as client:
            steps = client.history(reference)
        return tuple(f"{step['Created']} {step['CreatedBy']}" for step in steps)

    def start_container(self, container_id: str) -> None:
        with self._asking() as client:
            client.start(container_id)

    def restart_container(self, container_id: str, *, stop_timeout: int) -> None:
        with self._asking() as client:
            client.restart(container_id, timeout=stop_timeout)

    def stop_container(self, container_id: str, *, stop_timeout: int) -> None:
        with self._removing(409) as client:
            client.stop(container_id, timeout=stop_timeout)

    def kill_container(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        with self._removing(409) as client:
            client.kill(container_id, signal)

    def pause_container(self, container_id: str) -> None:
        with self._asking() as client:
            client.pause(container_id)

    def unpause_container(self, container_id: str) -> None:
        with self._asking() as client:
            client.unpause(container_id)

    def rename_container(self, container_id: str, name: str) -> None:
        with self._asking() as client:
            client.rename(container_id, name)

    def create_marker(self, name: str, labels: Mapping[str, str]) -> str | None:
        from hailbox.engine.docker import failures

        with self._asking() as client:
            for image_is_there in (False, True):
                try:
                    return str(client.create_container_from_config(objects.marker(labels), name)["Id"])
                except failures.FAILURES as error:
                    status = failures.status_of(error)
                    if status == 409:
                        return None
                    if status != 404 or image_is_there:
                        raise
                    said = client.import_image_from_data(
                        objects.EMPTY_ARCHIVE,
                        *objects.split(objects.MARKER_IMAGE),
                        changes=[f'LABEL {key}="{value}"' for key, value in objects.MARKER_LABELS.items()],
                    )
                    self._name_imported(said, objects.MARKER_IMAGE)
        return None

    def marker(self, name: str) -> Marker | None:
        answer = None
        with self._removing() as client:
            answer = client.inspect_container(name)
        if answer is None:
            return None
        beats = answer["HostConfig"]["RestartPolicy"]["MaximumRetryCount"]
        return Marker(answer["Id"], answer["Config"]["Labels"] or {}, beats)

    def beat_marker(self, marker_id: str, beats: int) -> None:
        # What never runs is never restarted: the count is free to be used as a clock that all can read.
        with self._asking() as client:
            client.update_container(marker_id, restart_policy={"Name": "on-failure", "MaximumRetryCount": beats})

    def remove_marker(self, marker_id: str) -> None:
        self.remove_container(marker_id)

    def remove_container(self, container_id: str) -> None:
        from hailbox.engine.docker import failures

        with self._removing() as client:
            try:
                client.remove_container(container_id, force=True, v=False)
            except failures.FAILURES as error:
                if failures.status_of(error) != 409:
                    raise
                # A removal is under way, begun by a command that was killed. The volumes are in use until it ends.
                client.wait(container_id, condition="removed")

    def remove_volume(self, name: str) -> None:
        with self._removing() as client:
            client.remove_volume(name, force=True)

    def remove_network(self, network_id: str) -> None:
        with self._removing() as client:
            client.remove_network(network_id)

    def remove_image(self, reference: str) -> None:
        with self._removing() as client:
            client.remove_image(reference)

    def read_files(self, container_id: str, directory: str) -> Mapping[str, bytes]:
        archive = b""
        with self._removing() as client:
            # Not client.get_archive, which waits for a silent engine without end.
            answer = client.get(
                f"{_root(client)}/containers/{container_id}/archive",
                params={"path": directory},
                timeout=client.timeout,
            )
            answer.raise_for_status()
            archive = answer.content
        return stream.files_of(archive) if archive else {}

    def read_archive(self, container_id: str, directory: str) -> Iterator[bytes]:
        with self._asking() as client:
            answer = client.get(
                f"{_root(client)}/containers/{container_id}/archive",
                params={"path": directory},
                timeout=client.timeout,
                stream=True,
            )
            answer.raise_for_status()
            with contextlib.closing(answer):
                yield from answer.iter_content(_BLOCK)

    def write_archive(self, container_id: str, directory: str, archive: Iterator[bytes]) -> None:
        with self._asking() as client:
            answer = client.put(
                f"{_root(client)}/containers/{container_id}/archive",
                params={"path": directory},
                data=archive,
                timeout=_TRANSFER_DEADLINE,
            )
            answer.raise_for_status()

    def execute(self, container_id: str, command: Sequence[str]) -> Execution:
        with self._asking() as client:
            made = client.exec_create(container_id, list(command))
            # Not client.exec_start, which upgrades the connection. Without that the stream is the answer's body.
            answer = client.post(f"{_root(client)}/exec/{made['Id']}/start", json={"Detach": False, "Tty": False})
            answer.raise_for_status()
            output, errors = stream.separate([answer.content])
            ended = client.exec_inspect(made["Id"])
        return Execution(ended["ExitCode"], output, errors)

    def stream(self, container_id: str, command: Sequence[str]) -> Iterator[bytes]:
        with self._asking() as client:
            made = client.exec_create(container_id, list(command))
            answer = client.post(
                f"{_root(client)}/exec/{made['Id']}/start",
                json={"Detach": False, "Tty": False},
                stream=True,
                timeout=(client.timeout, None),
            )
            with answer:
                answer.raise_for_status()
                yield from stream.lines(stream.output(answer))

    def attached_command(self, container_id: str, command: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        options = ("--interactive", "--tty") if terminal else ("--interactive",)
        client = surroundings.which("docker")
        podman = surroundings.which("podman") if self.version().product == "Podman" else None
        if client is None and podman is not None and self._address.on_this_machine:
            return (podman, "--remote", "--url", self._address.text, "exec", *options, container_id, *command)
        if client is None:
            raise DockerClientMissingError(
                "the docker client is not on the PATH; hailbox needs it to connect a command with this terminal",
                "install it (docker-cli, or docker.io), or run: hailbox --json exec REPLICA COMMAND, which needs no "
                "client and gives the command no input",
            )
        # The client finds the engine where we did: by DOCKER_HOST, DOCKER_CONTEXT or its current context.
        where = ("--host", self._address.text) if self._address.by_itself else ()
        return (client, *where, "exec", *options, container_id, *command)

    def logs(
        self, container_id: str, *, tail: int | None = None, follow: bool = False, since: int | None = None
    ) -> Iterator[bytes]:
        query = {
            "stdout": 1,
            "stderr": 1,
            "timestamps": 1,
            "follow": int(follow),
            "tail": "all" if tail is None else tail,
            "since": since,
        }
        with self._asking() as client:
            answer = client.get(
                f"{_root(client)}/containers/{container_id}/logs",
                params=query,
                stream=True,
                # What is followed may be silent for long.
                timeout=(client.timeout, None if follow else client.timeout),
            )
            with answer:
                answer.raise_for_status()
                yield from stream.lines(content for _, content in stream.frames(answer.iter_content(None)))

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        with self._asking() as client:
            client.create_volume(name, labels=dict(labels))

    def _info(self) -> Any:
        with self._asking() as client:
            return client.info()

    def disk_free(self) -> int | None:
        if not self._address.on_this_machine:
            return None
        root = self._info().get("DockerRootDir") or ""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(root).free
        return None

    def clock(self) -> float:
        with self._reading():
            return objects.seconds(self._info()["SystemTime"])

    def create_helper(self, helper: Helper) -> str:
        return self.create_container(helper.name, objects.helper(helper))

    def await_exit(self, container_id: str, *, deadline: float) -> int:
        with self._asking() as client:
            answer = client.wait(container_id, timeout=math.ceil(deadline))
        return int(answer["StatusCode"])

    def run_helper(self, helper: Helper, *, deadline: float) -> bytes:
        identifier = self.create_helper(helper)
        try:
            self.start_container(identifier)
            status = self.await_exit(identifier, deadline=deadline)
            said = [line.partition(b" ")[2] for line in self.logs(identifier)]
        finally:
            self.remove_container(identifier)
        if status != 0:
            raise HelperFailedError.of(helper.name, status, said)
        return b"\n".join(said)

    def pull_image(self, reference: str) -> None:
        from hailbox.engine.docker import registries

        with self._asking() as client:
            registries.pull(client, reference)

    def tag_image(self, reference: str, name: str) -> None:
        with self._asking() as client:
            client.tag(reference, *objects.split(name))

    def push_image(self, reference: str) -> None:
        from hailbox.engine.docker import registries

        with self._asking() as client:
            registries.push(client, reference)

    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        repository, tag = objects.split(reference)
        changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
        with self._asking() as client:
            said = client.import_image_from_file(str(archive), repository, tag, changes=changes)
        self._name_imported(said, reference)

    def _name_imported(self, said: str, reference: str) -> None:
        from hailbox.engine.docker import registries

        made = registries.imported(said, reference)
        if self.image(reference) is None:
            self.tag_image(made, reference)  # Podman 4 forgets the tag

    def build_image(
        self, context: bytes, reference: str, *, labels: Mapping[str, str], options: Mapping[str, str] = NO_OPTIONS
    ) -> Iterator[str]:
        said: list[str] = []
        query = {"t": reference, "labels": json.dumps(dict(labels)), "rm": 1, "forcerm": 1, "networkmode": "none"}
        with self._asking() as client:
            # Not client.build: that asks every credential helper of the user's, and we need no registry.
            answer = client.post(
                f"{_root(client)}/build",
                params={**query, **options},
                data=context,
                headers={"Content-Type": "application/x-tar"},
                stream=True,
            )
            answer.raise_for_status()
            for step in map(json.loads, stream.lines(answer.iter_content(None))):
                text = str(step.get("stream") or step.get("error") or "").rstrip()
                if text:
                    said.append(text)
                    yield text
                if "error" in step:
                    self._refuse_build(reference, said)

    def _refuse_build(self, reference: str, said: Sequence[str]) -> NoReturn:
        self.check_disk()
        last = "\n  ".join(said[-_KEPT_BUILD_LINES:])
        raise ImageError(
            f"the image {reference} could not be built; the engine said:\n  {last}",
            "mend what it names and run `hailbox build`",
        )

    def check_disk(self) -> None:
        """Raise DiskFullError if the disk with the engine's data, where we can see it, is full."""
        left = self.disk_free()
        if left is not None and left < NEARLY_FULL:
            raise diskspace.engine_full(f"{left >> 20} MiB left")

    def pack_directory(self, directory: Path, dockerfile: str) -> bytes:
        from hailbox.engine.docker import buildcontext

        try:
            return buildcontext.pack(directory, dockerfile)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its .dockerignore is not UTF-8"
            raise ImageError(f"{directory} cannot be read: {reason}", "make it readable") from error

    def compose_version(self) -> ComposeVersion:
        return composecli.find()

    def compose(self, project: str, file: str, arguments: Sequence[str]) -> None:
        composecli.run(project, file, arguments, engine=self._address.environment)


def _root(client: Any) -> str:
    """Where the paths of the API begin, for requests that the package has no method for, or none that fits."""
    return f"{client.base_url}/v{client.api_version}"
