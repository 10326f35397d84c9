"""The real engine, by its HTTP API (Docker Engine API v1.41, and later ones)."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import math
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from hailbox.engine import address, composecli, rawstream, registry
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
    Recipe,
    Volume,
)
from hailbox.engine.transport import TIMEOUT, RefusalError, Transport, lines, pieces
from hailbox.model import diskspace
from hailbox.model.errors import (
    DockerClientMissingError,
    EngineDeniedError,
    EngineFailedError,
    EngineUnreachableError,
    HailboxError,
    HelperFailedError,
    ImageError,
)

NEARLY_FULL = 64 << 20
"""Bytes left on the engine's disk below which a failed build is put down to the full disk."""

_KEPT_BUILD_LINES = 12

_OLD = re.compile(r"Up (About an? (minute|hour)|\d+ (minute|hour|day|week|month|year)s)\b")
"""How a listing says that a container has run for a minute or longer."""


def _translate(error: Exception, where: str) -> HailboxError:
    if isinstance(error, RefusalError):
        said = (error.said.splitlines() or [""])[0]
        if error.status in (401, 403):
            return EngineDeniedError(
                f"the engine at {where} refuses this request: {said}", "ask whoever runs it for access"
            )
        if diskspace.is_full(said):
            return diskspace.engine_full(said)
        return EngineFailedError(
            f"the engine at {where} answered with an error: {said}",
            "run the command again; `docker info` shows whether the engine is well",
        )
    if isinstance(error, PermissionError):
        return EngineDeniedError(
            f"the engine at {where} refuses this user",
            "join the group docker and log in again, run as root, or set DOCKER_HOST to your own engine",
        )
    if isinstance(error, TimeoutError):
        return EngineUnreachableError(
            f"the engine at {where} did not answer in time", "see whether it hangs: docker info"
        )
    reason = (isinstance(error, OSError) and error.strerror) or (str(error).splitlines() or [type(error).__name__])[0]
    remedy = (
        "start it (systemctl start docker, or Docker Desktop), or set DOCKER_HOST; `make engine` in a checkout of "
        "hailbox installs and starts one on Debian or Ubuntu"
    )
    if where.startswith("ssh:"):
        remedy = f"see what this says: docker --host {where} version"
    return EngineUnreachableError(f"no engine answers at {where}: {reason}", remedy)


@contextlib.contextmanager
def _gone_is_fine(*statuses: int) -> Iterator[None]:
    """What should be removed and is not there any more needs nothing; neither does what these statuses say."""
    try:
        yield
    except RefusalError as error:
        if error.status not in (404, *statuses):
            raise


def _having(labels: Mapping[str, str | None]) -> dict[str, Any]:
    wanted = [name if value is None else f"{name}={value}" for name, value in labels.items()]
    return {"filters": {"label": wanted}}


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
        young=_OLD.match(entry.get("Status") or "") is None,
    )


def _seconds(text: str) -> float:
    """A time of the engine's (RFC 3339), in seconds since the epoch."""
    # Nanoseconds are more digits than fromisoformat(3.11) takes.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()


def _image(entry: Mapping[str, Any]) -> Image:
    labels = entry.get("Labels") or (entry.get("Config") or {}).get("Labels") or {}
    # A listing shows an image without a tag as one that is called so.
    tags = tuple(tag for tag in entry.get("RepoTags") or () if tag != "<none>:<none>")
    created = made if isinstance(made := entry.get("Created"), int) else 0
    return Image(entry["Id"], tags, labels, entry.get("Size", 0), created)


class DockerEngine:
    """`Engine` on the engine that DOCKER_HOST, the docker client's context or the default socket names.

    Nothing is asked of it before the first request. Raises UsageError where a context is chosen that is not there.
    """

    def __init__(self) -> None:
        self._address = address.find()
        self._transport = Transport(self._address)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Transport]:
        try:
            yield self._transport
        except (RefusalError, http.client.HTTPException, OSError, ValueError) as error:
            raise _translate(error, self._address.text) from error

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        with self._asking() as transport:
            return transport.ask("GET", path, query)

    def _post(self, path: str, query: Mapping[str, Any] | None = None, document: Any = None) -> Any:
        with self._asking() as transport:
            return transport.ask("POST", path, query, document)

    def version(self) -> EngineVersion:
        answer = self._get("/version")
        return EngineVersion(answer["Version"], answer["ApiVersion"], answer["Os"], answer["Arch"])

    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        return [_container(entry) for entry in self._get("/containers/json", {"all": True} | _having(labels))]

    def container_details(self, container_id: str) -> ContainerDetails:
        answer = self._get(f"/containers/{container_id}/json")
        state = answer["State"]
        return ContainerDetails(
            exit_code=state["ExitCode"],
            out_of_memory=state["OOMKilled"],
            error=state["Error"],
            started_at=_seconds(state["StartedAt"]),
            finished_at=_seconds(state["FinishedAt"]),
            restart_count=answer["RestartCount"],
            pid=state["Pid"],
        )

    def container_recipe(self, container_id: str) -> Recipe:
        answer = self._get(f"/containers/{container_id}/json")
        networks = {
            # What else is there belongs to this one container: its addresses, and its id as an alias (engine 20.10).
            network: {key: settings.get(key) for key in ("IPAMConfig", "Links", "DriverOpts")}
            | {"Aliases": [alias for alias in settings["Aliases"] or () if alias != container_id[:12]]}
            for network, settings in answer["NetworkSettings"]["Networks"].items()
        }
        return {
            **answer["Config"],
            "HostConfig": answer["HostConfig"],
            "NetworkingConfig": {"EndpointsConfig": networks},
        }

    def create_container(self, name: str, recipe: Recipe) -> str:
        return str(self._post("/containers/create", {"name": name}, dict(recipe))["Id"])

    def volumes(self, labels: Mapping[str, str | None]) -> list[Volume]:
        entries = self._get("/volumes", _having(labels))["Volumes"] or []
        return [Volume(entry["Name"], entry["Labels"] or {}) for entry in entries]

    def networks(self, labels: Mapping[str, str | None]) -> list[Network]:
        entries = self._get("/networks", _having(labels))
        return [Network(entry["Id"], entry["Name"], entry["Labels"] or {}) for entry in entries]

    def images(self, labels: Mapping[str, str | None]) -> list[Image]:
        return [_image(entry) for entry in self._get("/images/json", _having(labels))]

    def image(self, reference: str) -> Image | None:
        with self._asking() as transport, _gone_is_fine():
            return _image(transport.ask("GET", f"/images/{quote(reference, safe='/:@')}/json"))
        return None

    def start_container(self, container_id: str) -> None:
        self._post(f"/containers/{container_id}/start")

    def restart_container(self, container_id: str, *, stop_timeout: int) -> None:
        with self._asking() as transport:
            path = f"/containers/{container_id}/restart"
            transport.ask("POST", path, {"t": stop_timeout}, timeout=TIMEOUT + stop_timeout)

    def stop_container(self, container_id: str, *, stop_timeout: int) -> None:
        with self._asking() as transport, _gone_is_fine(409):
            path = f"/containers/{container_id}/stop"
            transport.ask("POST", path, {"t": stop_timeout}, timeout=TIMEOUT + stop_timeout)

    def kill_container(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        with self._asking() as transport, _gone_is_fine(409):
            transport.ask("POST", f"/containers/{container_id}/kill", {"signal": signal})

    def pause_container(self, container_id: str) -> None:
        self._post(f"/containers/{container_id}/pause")

    def unpause_container(self, container_id: str) -> None:
        self._post(f"/containers/{container_id}/unpause")

    def rename_container(self, container_id: str, name: str) -> None:
        self._post(f"/containers/{container_id}/rename", {"name": name})

    def remove_container(self, container_id: str) -> None:
        path = f"/containers/{container_id}"
        with self._asking() as transport, _gone_is_fine():
            try:
                transport.ask("DELETE", path, {"force": True, "v": False})
            except RefusalError as error:
                if error.status != 409:
                    raise
                # Somebody's request has begun to: of a command that was killed. Its volumes are in use until it ends.
                transport.ask("POST", f"{path}/wait", {"condition": "removed"})

    def remove_volume(self, name: str) -> None:
        self._remove(f"/volumes/{name}", {"force": True})

    def remove_network(self, network_id: str) -> None:
        self._remove(f"/networks/{network_id}")

    def remove_image(self, reference: str) -> None:
        self._remove(f"/images/{quote(reference, safe='/:@')}")

    def _remove(self, path: str, query: Mapping[str, Any] | None = None) -> None:
        with self._asking() as transport, _gone_is_fine():
            transport.ask("DELETE", path, query)

    def read_files(self, container_id: str, directory: str) -> Mapping[str, bytes]:
        archive, where = b"", f"/containers/{container_id}/archive"
        with (
            self._asking() as transport,
            _gone_is_fine(),
            transport.stream("GET", where, {"path": directory}, timeout=TIMEOUT) as answer,
        ):
            archive = answer.read()
        if not archive:
            return {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            # Every path begins with the last part of the directory's.
            return {
                member.name.partition("/")[2]: content.read()
                for member in tar
                if member.isfile() and (content := tar.extractfile(member)) is not None
            }

    def execute(self, container_id: str, command: Sequence[str]) -> Execution:
        asked = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
        with self._asking() as transport:
            identifier = transport.ask("POST", f"/containers/{container_id}/exec", document=asked)["Id"]
            # Without an upgrade of the connection the stream is the answer's body, which ends with it.
            start = {"Detach": False, "Tty": False}
            with transport.stream("POST", f"/exec/{identifier}/start", document=start) as answer:
                output, errors = rawstream.separate(pieces(answer))
            status = transport.ask("GET", f"/exec/{identifier}/json")["ExitCode"]
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
        query = {
            "stdout": True,
            "stderr": True,
            "timestamps": True,
            "follow": follow,
            "tail": "all" if tail is None else tail,
            "since": since,
        }
        path, timeout = f"/containers/{container_id}/logs", None if follow else TIMEOUT
        with self._asking() as transport, transport.stream("GET", path, query, timeout=timeout) as answer:
            yield from lines(payload for _, payload in rawstream.frames(pieces(answer)))

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._post("/volumes/create", document={"Name": name, "Labels": dict(labels)})

    def disk_free(self) -> int | None:
        if not self._address.text.startswith("unix:"):
            return None
        root = self._get("/info").get("DockerRootDir") or ""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(root).free
        return None

    def clock(self) -> float:
        return _seconds(self._get("/info")["SystemTime"])

    def create_helper(self, helper: Helper) -> str:
        devices = [{"PathOnHost": d, "PathInContainer": d, "CgroupPermissions": "rwm"} for d in helper.devices]
        described = {
            "Image": helper.image,
            "Entrypoint": list(helper.command),
            "Cmd": [],
            "Labels": dict(helper.labels),
            "User": "0:0",
            "WorkingDir": "/",
            # For a network of none the engine would still have itself run in the container's name space: 0.15 s.
            "NetworkDisabled": helper.network == "none",
            "HostConfig": {
                "Binds": [f"{volume}:{place}" for volume, place in helper.mounts.items()],
                "NetworkMode": helper.network,
                "PidMode": "host" if helper.host_processes else "",
                "CapDrop": ["ALL"],
                "CapAdd": list(helper.capabilities),
                "Devices": devices,
                "ReadonlyRootfs": True,
                "SecurityOpt": ["no-new-privileges:true"],
                "Memory": helper.memory or 0,
                "RestartPolicy": {"Name": "on-failure" if helper.restart_on_failure else "no"},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
            },
        }
        return self.create_container(helper.name, described)

    def await_exit(self, container_id: str, *, deadline: float) -> int:
        with self._asking() as transport:
            answer = transport.ask("POST", f"/containers/{container_id}/wait", timeout=math.ceil(deadline))
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
        repository, tag = registry.split(reference)
        headers = registry.authorization(repository)
        with self._asking() as transport:
            query = {"fromImage": repository, "tag": tag}
            with transport.stream("POST", "/images/create", query, headers=headers) as answer:
                for step in map(json.loads, lines(pieces(answer))):
                    if "error" in step:
                        raise EngineFailedError(f"cannot pull {reference}: {step['error']}", "check the network")

    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        repository, tag = registry.split(reference)
        changes = tuple(f'LABEL {name}="{value}"' for name, value in labels.items())
        query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": changes}
        with self._asking() as transport, archive.open("rb") as body:
            length = archive.stat().st_size
            with transport.stream("POST", "/images/create", query, body=body, length=length) as answer:
                for step in map(json.loads, lines(pieces(answer))):
                    if said := str(step.get("error", "")):
                        if diskspace.is_full(said):
                            raise diskspace.engine_full(said)
                        raise EngineFailedError(f"cannot import {reference}: {said}", "run the command again")

    def build_image(self, context: bytes, reference: str, *, labels: Mapping[str, str]) -> Iterator[str]:
        said: list[str] = []
        query = {"t": reference, "labels": dict(labels), "rm": True, "forcerm": True, "networkmode": "none"}
        with self._asking() as transport, transport.stream("POST", "/build", query, body=context) as answer:
            for step in map(json.loads, lines(pieces(answer))):
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

    def compose_version(self) -> ComposeVersion:
        return composecli.find()

    def compose(self, project: str, file: str, arguments: Sequence[str]) -> None:
        composecli.run(project, file, arguments, engine=self._address.environment)
