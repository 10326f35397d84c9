"""`Engine` on a Docker engine (Docker Engine API v1.41, and later ones)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hailbox import surroundings
from hailbox.engine import composecli
from hailbox.engine.docker import objects, stream
from hailbox.engine.docker.images import ImageRequests
from hailbox.engine.docker.requests import root
from hailbox.engine.port import (
    ComposeVersion,
    Container,
    ContainerDetails,
    Execution,
    Helper,
    Marker,
    Network,
    NetworkAddresses,
    Recipe,
    Usage,
    Volume,
)
from hailbox.model.errors import DockerClientMissingError, HelperFailedError

if TYPE_CHECKING:  # the package takes 0.1 s to import: at the first request, and not before
    pass

_BLOCK: Final = 1 << 20
"""Bytes of an archive at a time."""

_TRANSFER_DEADLINE: Final = 3600
"""Seconds until the engine has extracted an archive whose last byte was sent."""


class DockerEngine(ImageRequests):
    """`Engine` on the engine that DOCKER_HOST, the docker client's context or the default socket names."""

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

    def read_files(self, container_id: str, directory: str) -> Mapping[str, bytes]:
        archive = b""
        with self._removing() as client:
            # Not client.get_archive, which waits for a silent engine without end.
            answer = client.get(
                f"{root(client)}/containers/{container_id}/archive",
                params={"path": directory},
                timeout=client.timeout,
            )
            answer.raise_for_status()
            archive = answer.content
        return stream.files_of(archive) if archive else {}

    def read_archive(self, container_id: str, directory: str) -> Iterator[bytes]:
        with self._asking() as client:
            answer = client.get(
                f"{root(client)}/containers/{container_id}/archive",
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
                f"{root(client)}/containers/{container_id}/archive",
                params={"path": directory},
                data=archive,
                timeout=_TRANSFER_DEADLINE,
            )
            answer.raise_for_status()

    def execute(self, container_id: str, command: Sequence[str]) -> Execution:
        with self._asking() as client:
            made = client.exec_create(container_id, list(command))
            # Not client.exec_start, which upgrades the connection. Without that the stream is the answer's body.
            answer = client.post(f"{root(client)}/exec/{made['Id']}/start", json={"Detach": False, "Tty": False})
            answer.raise_for_status()
            output, errors = stream.separate([answer.content])
            ended = client.exec_inspect(made["Id"])
        return Execution(ended["ExitCode"], output, errors)

    def stream(self, container_id: str, command: Sequence[str]) -> Iterator[bytes]:
        with self._asking() as client:
            made = client.exec_create(container_id, list(command))
            answer = client.post(
                f"{root(client)}/exec/{made['Id']}/start",
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
                f"{root(client)}/containers/{container_id}/logs",
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

    def compose_version(self) -> ComposeVersion:
        return composecli.find()

    def compose(self, project: str, file: str, arguments: Sequence[str]) -> None:
        composecli.run(project, file, arguments, engine=self._address.environment)
