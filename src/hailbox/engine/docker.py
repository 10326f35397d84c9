"""The real engine, through the Docker SDK's low-level client."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import docker
import docker.errors
import docker.utils
import requests
import requests.exceptions
from docker.context import ContextAPI
from docker.types import LogConfig

from hailbox.engine import composecli, rawstream
from hailbox.engine.port import (
    ComposeVersion,
    Container,
    ContainerDetails,
    ContainerState,
    EngineVersion,
    Execution,
    Helper,
    Image,
    Network,
    PublishedPort,
    Volume,
)
from hailbox.model.errors import (
    DiskFullError,
    DockerClientMissingError,
    EngineDeniedError,
    EngineFailedError,
    EngineUnreachableError,
    HailboxError,
    HelperFailedError,
    ImageError,
    UsageError,
)

REQUEST_TIMEOUT = 60
"""Seconds; removing a container of a loaded engine may take several."""

NEARLY_FULL = 64 << 20
"""Bytes left on the engine's disk below which a failed build is put down to the full disk."""

_KEPT_BUILD_LINES = 12

_HELPER_MEMORY = "256m"


def _engine_address() -> str | None:
    """Where the engine is: DOCKER_HOST, else the docker client's context (DOCKER_CONTEXT, or the current one).

    None for the SDK's default. Raises UsageError if DOCKER_CONTEXT names none.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return host
    if name := os.environ.get("DOCKER_CONTEXT"):
        chosen = ContextAPI.get_context(name)
        if chosen is None:
            raise UsageError(f"DOCKER_CONTEXT is {name!r}, and there is no such context", "see: docker context ls")
        return str(chosen.Host) if name != "default" else None
    with contextlib.suppress(docker.errors.DockerException, OSError, ValueError):
        context = ContextAPI.get_current_context()
        if context is not None and context.name != "default" and context.Host:
            return str(context.Host)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """This exception and all that it came from, the SDK's and urllib3's wrappings included."""
    while error is not None:
        yield error
        for argument in error.args:
            if isinstance(argument, BaseException):
                yield from _chain(argument)
        error = error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    """Why nobody answers: the system's word for it, else the SDK's."""
    said = [link.strerror for link in _chain(error) if isinstance(link, OSError) and link.strerror]
    return said[-1] if said else (str(error).splitlines() or [type(error).__name__])[0]


def _translate(error: Exception, address: str) -> HailboxError:
    # In the chain: the SDK wraps what the first request, for the engine's version, came to.
    answered = [link for link in _chain(error) if isinstance(link, docker.errors.APIError)]
    if answered:
        said = (str(answered[0].explanation or answered[0]).splitlines() or [""])[0]
        if answered[0].response is not None and answered[0].response.status_code in (401, 403):
            return EngineDeniedError(
                f"the engine at {address} refuses this request: {said}", "ask whoever runs it for access"
            )
        return EngineFailedError(
            f"the engine at {address} answered with an error: {said}",
            "run the command again; `docker info` shows whether the engine is well",
        )
    if any(isinstance(link, PermissionError) for link in _chain(error)):
        return EngineDeniedError(
            f"the engine at {address} refuses this user",
            "join the group docker and log in again, run as root, or set DOCKER_HOST to your own engine",
        )
    if any(isinstance(link, requests.exceptions.ReadTimeout) for link in _chain(error)):
        return EngineUnreachableError(
            f"the engine at {address} did not answer within {REQUEST_TIMEOUT} s", "see whether it hangs: docker info"
        )
    return EngineUnreachableError(
        f"no engine answers at {address}: {_reason(error)}",
        "start it (systemctl start docker, or Docker Desktop), or set DOCKER_HOST; `make engine` in a checkout of "
        "hailbox installs and starts one on Debian or Ubuntu",
    )


@contextlib.contextmanager
def _asking(address: str) -> Iterator[None]:
    try:
        yield
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError) as error:
        raise _translate(error, address) from error


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    """What should be removed, stopped or killed and is not there any more, or is on its way, needs nothing."""
    try:
        yield
    except docker.errors.APIError as error:
        if error.response is None or error.response.status_code not in (404, 409):
            raise


def _refuse_errors(answer: requests.Response) -> None:
    """Raise the SDK's own exception for an answer that is an error, where a request goes around the SDK."""
    try:
        answer.raise_for_status()
    except requests.exceptions.HTTPError as error:
        docker.errors.create_api_error_from_http_exception(error)


def _label_filters(labels: Mapping[str, str | None]) -> dict[str, list[str]]:
    return {"label": [name if value is None else f"{name}={value}" for name, value in labels.items()]}


def _container(entry: Mapping[str, Any]) -> Container:
    return Container(
        id=entry["Id"],
        name=entry["Names"][0].removeprefix("/") if entry["Names"] else entry["Id"][:12],
        image=entry["Image"],
        image_id=entry["ImageID"],
        state=ContainerState(entry["State"]),
        labels=entry["Labels"] or {},
        ports=tuple(
            PublishedPort(port["PrivatePort"], port["Type"], port["IP"], port["PublicPort"])
            for port in entry["Ports"] or ()
            if "PublicPort" in port
        ),
        mounts=tuple(mount["Name"] for mount in entry["Mounts"] or () if mount.get("Type") == "volume"),
        networks=tuple((entry.get("NetworkSettings") or {}).get("Networks") or ()),
    )


def _image(entry: Mapping[str, Any]) -> Image:
    labels = entry.get("Labels") or (entry.get("Config") or {}).get("Labels") or {}
    return Image(entry["Id"], tuple(entry.get("RepoTags") or ()), labels, entry.get("Size", 0))


class DockerEngine:
    """`Engine` on the engine that DOCKER_HOST, the docker client's context or the default socket names."""

    def __init__(self) -> None:
        configured = _engine_address()
        self.address = configured or "unix:///var/run/docker.sock"
        with _asking(self.address):
            environment = dict(os.environ) | ({"DOCKER_HOST": configured} if configured else {})
            arguments = docker.utils.kwargs_from_env(environment=environment)
            self._api = docker.APIClient(version="auto", timeout=REQUEST_TIMEOUT, **arguments)
        self._compose_host = configured

    def version(self) -> EngineVersion:
        with _asking(self.address):
            answer = self._api.version(api_version=False)
        return EngineVersion(answer["Version"], answer["ApiVersion"], answer["Os"], answer["Arch"])

    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        with _asking(self.address):
            return [_container(entry) for entry in self._api.containers(all=True, filters=_label_filters(labels))]

    def container_details(self, container_id: str) -> ContainerDetails:
        with _asking(self.address):
            answer = self._api.inspect_container(container_id)
        state = answer["State"]
        return ContainerDetails(
            exit_code=state["ExitCode"],
            out_of_memory=state["OOMKilled"],
            error=state["Error"],
            started_at=state["StartedAt"],
            finished_at=state["FinishedAt"],
            restart_count=answer["RestartCount"],
            pid=state["Pid"],
        )

    def volumes(self, labels: Mapping[str, str | None]) -> list[Volume]:
        with _asking(self.address):
            entries = self._api.volumes(filters=_label_filters(labels))["Volumes"] or []
        return [Volume(entry["Name"], entry["Labels"] or {}) for entry in entries]

    def networks(self, labels: Mapping[str, str | None]) -> list[Network]:
        with _asking(self.address):
            entries = self._api.networks(filters=_label_filters(labels))
        return [Network(entry["Id"], entry["Name"], entry["Labels"] or {}) for entry in entries]

    def images(self, labels: Mapping[str, str | None]) -> list[Image]:
        with _asking(self.address):
            return [_image(entry) for entry in self._api.images(filters=_label_filters(labels))]

    def image(self, reference: str) -> Image | None:
        with _asking(self.address):
            try:
                return _image(self._api.inspect_image(reference))  # type: ignore[no-untyped-call]
            except docker.errors.NotFound:
                return None

    def start_container(self, container_id: str) -> None:
        with _asking(self.address):
            self._api.start(container_id)

    def restart_container(self, container_id: str, *, stop_timeout: int) -> None:
        with _asking(self.address):
            self._api.restart(container_id, timeout=stop_timeout)

    def stop_container(self, container_id: str, *, stop_timeout: int) -> None:
        with _asking(self.address), _gone_is_fine():
            self._api.stop(container_id, timeout=stop_timeout)

    def kill_container(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        with _asking(self.address), _gone_is_fine():
            self._api.kill(container_id, signal=signal)

    def pause_container(self, container_id: str) -> None:
        with _asking(self.address):
            self._api.pause(container_id)

    def unpause_container(self, container_id: str) -> None:
        with _asking(self.address):
            self._api.unpause(container_id)

    def remove_container(self, container_id: str) -> None:
        with _asking(self.address), _gone_is_fine():
            self._api.remove_container(container_id, force=True, v=False)

    def remove_volume(self, name: str) -> None:
        with _asking(self.address):
            try:
                self._api.remove_volume(name, force=True)
            except docker.errors.NotFound:
                return

    def remove_network(self, network_id: str) -> None:
        with _asking(self.address):
            try:
                self._api.remove_network(network_id)
            except docker.errors.NotFound:
                return

    def remove_image(self, reference: str) -> None:
        with _asking(self.address):
            try:
                self._api.remove_image(reference)
            except docker.errors.NotFound:
                return

    def read_file(self, container_id: str, path: str) -> bytes | None:
        with _asking(self.address):
            try:
                chunks, _ = self._api.get_archive(container_id, path)
                archive = b"".join(chunks)
            except docker.errors.NotFound:
                return None
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                if member.isfile() and (content := tar.extractfile(member)) is not None:
                    return content.read()
        return None

    def execute(self, container_id: str, command: Sequence[str]) -> Execution:
        with _asking(self.address):
            identifier = self._api.exec_create(container_id, list(command))["Id"]
            # Not exec_start of the SDK: it asks for an upgrade of the connection, and then overlooks what came in one
            # piece with the answer's head. Without an upgrade the stream is the answer's body, which ends with it.
            url = f"{self._api.base_url}/v{self._api.api_version}/exec/{identifier}/start"
            with self._api.post(
                url, json={"Detach": False, "Tty": False}, stream=True, timeout=(REQUEST_TIMEOUT, None)
            ) as answer:
                _refuse_errors(answer)
                output, errors = rawstream.separate(answer.iter_content(None))
            status = self._api.exec_inspect(identifier)["ExitCode"]
        return Execution(status, output, errors)

    def attached_command(self, container_id: str, command: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        client = shutil.which("docker")
        if client is None:
            raise DockerClientMissingError(
                "the docker client is not on the PATH; hailbox needs it to connect a command with this terminal",
                "install it (docker-cli, or docker.io), or run: hailbox --json exec REPLICA COMMAND, which needs no "
                "client and gives the command no input",
            )
        # The client finds the engine where we did: by DOCKER_HOST, DOCKER_CONTEXT or its current context.
        options = ("--interactive", "--tty") if terminal else ("--interactive",)
        return (client, "exec", *options, container_id, *command)

    def logs(
        self, container_id: str, *, tail: int | None = None, follow: bool = False, since: int | None = None
    ) -> Iterator[bytes]:
        with _asking(self.address):
            chunks = self._api.logs(
                container_id,
                stream=True,
                follow=follow,
                timestamps=True,
                tail="all" if tail is None else tail,
                since=since,
            )
            rest = b""
            for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
            if rest:
                yield rest

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        with _asking(self.address):
            self._api.create_volume(name, labels=dict(labels))

    def disk_free(self) -> int | None:
        if not self.address.startswith("unix:"):
            return None
        with _asking(self.address):
            root = self._api.info().get("DockerRootDir") or ""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(root).free
        return None

    def clock(self) -> float:
        with _asking(self.address):
            text = str(self._api.info()["SystemTime"])
        # Nanoseconds are more digits than fromisoformat(3.11) takes.
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()

    def create_helper(self, helper: Helper) -> str:
        binds = [f"{volume}:{place}" for volume, place in helper.mounts.items()]
        with _asking(self.address):
            host = self._api.create_host_config(
                binds=binds,
                network_mode=helper.network,
                pid_mode="host" if helper.host_processes else None,
                cap_drop=["ALL"],
                cap_add=list(helper.capabilities),
                devices=[f"{device}:{device}:rwm" for device in helper.devices],
                read_only=True,
                security_opt=["no-new-privileges:true"],
                mem_limit=_HELPER_MEMORY,
                restart_policy={"Name": "on-failure"} if helper.restart_on_failure else None,
                log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
            )
            answer = self._api.create_container(
                helper.image,
                [],
                entrypoint=list(helper.command),
                name=helper.name,
                labels=dict(helper.labels),
                user="0:0",
                working_dir="/",
                host_config=host,
            )
        return str(answer["Id"])

    def await_exit(self, container_id: str, *, deadline: float) -> int:
        with _asking(self.address):
            return int(self._api.wait(container_id, timeout=math.ceil(deadline))["StatusCode"])

    def run_helper(self, helper: Helper, *, deadline: float) -> bytes:
        identifier = self.create_helper(helper)
        try:
            self.start_container(identifier)
            status = self.await_exit(identifier, deadline=deadline)
            lines = [line.partition(b" ")[2] for line in self.logs(identifier)]
        finally:
            self.remove_container(identifier)
        if status != 0:
            raise HelperFailedError.of(helper.name, status, lines)
        return b"\n".join(lines)

    def pull_image(self, reference: str) -> None:
        repository, tag = docker.utils.parse_repository_tag(reference)
        with _asking(self.address):
            for line in self._api.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in line:
                    raise EngineFailedError(f"cannot pull {reference}: {line['error']}", "check the network")

    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        repository, tag = docker.utils.parse_repository_tag(reference)
        changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
        with _asking(self.address):
            self._api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)

    def build_image(self, context: bytes, reference: str, *, labels: Mapping[str, str]) -> Iterator[str]:
        said: list[str] = []
        with _asking(self.address):
            steps = self._api.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                tag=reference,
                labels=dict(labels),
                rm=True,
                forcerm=True,
                network_mode="none",
                decode=True,
            )
            for step in steps:
                text = str(step.get("stream") or step.get("error") or "").rstrip()
                if text:
                    said.append(text)
                    yield text
                if "error" in step:
                    self._refuse_build(reference, said)

    def _refuse_build(self, reference: str, said: Sequence[str]) -> NoReturn:
        self.check_disk()
        lines = "\n  ".join(said[-_KEPT_BUILD_LINES:])
        raise ImageError(
            f"the image {reference} could not be built; the engine said:\n  {lines}",
            "mend what it names and run `hailbox build`",
        )

    def check_disk(self) -> None:
        """Raise DiskFullError if the disk with the engine's data, where we can see it, is full."""
        with _asking(self.address):
            root = self._api.info().get("DockerRootDir") or ""
        with contextlib.suppress(OSError):
            left = shutil.disk_usage(root).free
            if left < NEARLY_FULL:
                raise DiskFullError(
                    f"the engine's disk is full: {left >> 20} MiB left at {root}",
                    "free some space (docker system df shows what takes it) and run the command again",
                )

    def compose_version(self) -> ComposeVersion:
        return composecli.find()

    def compose(self, project: str, file: str, arguments: Sequence[str]) -> None:
        composecli.run(project, file, arguments, docker_host=self._compose_host)
