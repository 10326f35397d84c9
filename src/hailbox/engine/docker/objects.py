"""The engine's own words for its objects, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from hailbox.engine.port import (
    Container,
    ContainerDetails,
    ContainerState,
    EngineMode,
    EngineVersion,
    Helper,
    Image,
    Network,
    NetworkAddresses,
    PublishedPort,
    Recipe,
    Usage,
    Volume,
)
from hailbox.model import names
from hailbox.model.limits import Limits

_OLD: Final = re.compile(r"Up (About an? (minute|hour)|\d+ (minute|hour|day|week|month|year)s)\b")
"""How a listing says that a container has run for a minute or longer."""


def having(labels: Mapping[str, str | None]) -> dict[str, Any]:
    """The filter of a listing: objects with these labels (None: any value)."""
    return {"label": [name if value is None else f"{name}={value}" for name, value in labels.items()]}


def version(answer: Mapping[str, Any]) -> EngineVersion:
    """What the engine says of itself."""
    parts = [str(part.get("Name")) for part in answer.get("Components") or ()]
    product = "Podman" if "Podman Engine" in parts else "Docker"
    return EngineVersion(answer["Version"], answer["ApiVersion"], answer["Os"], answer["Arch"], product)


def mode(answer: Mapping[str, Any]) -> EngineMode:
    """How the engine is set up (Engine API, `GET /info`)."""
    status = dict(pair for pair in answer.get("DriverStatus") or () if len(pair) == 2)
    containerd = "containerd's " if "containerd" in str(status.get("driver-type", "")) else ""
    return EngineMode(
        rootless="name=rootless" in (answer.get("SecurityOptions") or ()),
        control_groups=str(answer.get("CgroupVersion") or ""),
        storage=f"{containerd}{answer.get('Driver') or ''}",
    )


_PODMAN_STATES: Final = {
    "configured": ContainerState.CREATED,
    "initialized": ContainerState.CREATED,
    "stopping": ContainerState.RUNNING,
    "stopped": ContainerState.EXITED,
}
"""Podman's own states, which it shows for moments in place of Docker's (podman-ps(1), --filter status)."""


def _state(word: str) -> ContainerState:
    return _PODMAN_STATES.get(word) or ContainerState(word)


def container(entry: Mapping[str, Any]) -> Container:
    """A container, from an entry of a listing."""
    return Container(
        id=entry["Id"],
        name=entry["Names"][0].removeprefix("/") if entry["Names"] else entry["Id"][:12],
        image=entry["Image"],
        image_id=entry["ImageID"],
        state=_state(entry["State"]),
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


def usage(answer: Mapping[str, Any]) -> Usage | None:
    """What a container takes, from its statistics; None where it does not run. Memory as the docker client reckons
    it: less the inactive part of the page cache, which both versions of control groups tell."""
    memory = answer.get("memory_stats") or {}
    if "usage" not in memory:
        return None
    parts = memory.get("stats") or {}
    inactive = int(parts.get("total_inactive_file", parts.get("inactive_file", 0)))
    networks = (answer.get("networks") or {}).values()
    return Usage(
        memory=max(0, int(memory["usage"]) - inactive),
        processor=int(answer["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9,
        received=sum(int(each["rx_bytes"]) for each in networks),
        sent=sum(int(each["tx_bytes"]) for each in networks),
    )


def details(answer: Mapping[str, Any]) -> ContainerDetails:
    """What only an inspection shows."""
    state = answer["State"]
    return ContainerDetails(
        exit_code=state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        error=state["Error"],
        started_at=seconds(state["StartedAt"]),
        finished_at=seconds(state["FinishedAt"]),
        restart_count=answer["RestartCount"],
        pid=state["Pid"],
        limits=limits(answer["HostConfig"]),
    )


_FURTHER: Final = {
    "MemoryReservation": "memory-reservation",
    "CpuShares": "cpu-shares",
    "CpusetCpus": "cpuset-cpus",
    "CpusetMems": "cpuset-mems",
    "CpuRealtimeRuntime": "cpu-rt-runtime",
    "BlkioWeight": "blkio-weight",
}
"""The other settings of `docker update` by their names in HostConfig. Memory with swap follows from memory."""


def _limit(value: int | None) -> int | None:
    """`docker update` writes -1 for unlimited; 0 or nothing is what an engine has that cannot limit this."""
    return max(value, 0) if value else None


def limits(host: Mapping[str, Any]) -> Limits:
    """What a container may use, from its HostConfig; podman leaves out what is not set."""
    cpus = (host.get("NanoCpus") or 0) / 1e9
    if not cpus and (host.get("CpuQuota") or 0) > 0:
        cpus = host["CpuQuota"] / (host.get("CpuPeriod") or 100_000)
    return Limits(
        memory=_limit(host.get("Memory")),
        pids=_limit(host.get("PidsLimit")),
        cpus=cpus,
        restart=(host.get("RestartPolicy") or {}).get("Name") or "no",
        others=tuple(f"{name} {host[key]}" for key, name in _FURTHER.items() if host.get(key)),
    )


def recipe(answer: Mapping[str, Any], container_id: str) -> Recipe:
    """What another container has to be made from to be the same as the inspected one."""
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


def helper(described: Helper) -> Recipe:
    """What a helper container is made from."""
    devices = [{"PathOnHost": d, "PathInContainer": d, "CgroupPermissions": "rwm"} for d in described.devices]
    return {
        "Image": described.image,
        "Entrypoint": list(described.command),
        "Cmd": [],
        "Labels": dict(described.labels),
        "User": "0:0",
        "WorkingDir": "/",
        # For a network of none the engine would still have itself run in the container's name space: 0.15 s.
        "NetworkDisabled": described.network == "none",
        "HostConfig": {
            "Binds": [f"{volume}:{place}" for volume, place in described.mounts.items()],
            "NetworkMode": described.network,
            "PidMode": "host" if described.host_processes else "",
            "CapDrop": ["ALL"],
            "CapAdd": list(described.capabilities),
            "Devices": devices,
            "ReadonlyRootfs": True,
            "SecurityOpt": ["no-new-privileges:true"],
            "Memory": described.memory,
            "PidsLimit": described.pids,
            "RestartPolicy": {"Name": "on-failure" if described.restart_on_failure else "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        },
    }


def volume(entry: Mapping[str, Any]) -> Volume:
    """A volume, from an entry of a listing."""
    return Volume(entry["Name"], entry["Labels"] or {})


def network(entry: Mapping[str, Any]) -> Network:
    """A network, from an entry of a listing."""
    return Network(entry["Id"], entry["Name"], entry["Labels"] or {})


def addresses(answer: Mapping[str, Any]) -> NetworkAddresses:
    """The addresses in a network, from an inspection of it."""
    gateways = [str(block["Gateway"]) for block in answer["IPAM"]["Config"] or () if block.get("Gateway")]
    there = (answer.get("Containers") or {}).values()
    return NetworkAddresses(
        gateways[0] if gateways else "", {entry["Name"]: entry["IPv4Address"].partition("/")[0] for entry in there}
    )


def image(entry: Mapping[str, Any]) -> Image:
    """An image, from an entry of a listing or from an inspection."""
    labels = entry.get("Labels") or (entry.get("Config") or {}).get("Labels") or {}
    # A listing shows an image without a tag as one that is called so.
    tags = tuple(tag for tag in entry.get("RepoTags") or () if tag != "<none>:<none>")
    created = made if isinstance(made := entry.get("Created"), int) else 0
    return Image(entry["Id"], tags, labels, entry.get("Size", 0), created)


def seconds(text: str) -> float:
    """A time of the engine's (RFC 3339), in seconds since the epoch."""
    # Nanoseconds are more digits than fromisoformat(3.11) takes.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()


def split(reference: str) -> tuple[str, str]:
    """Repository, and tag or digest (`latest` where it has none)."""
    repository, at, digest = reference.partition("@")
    if at:
        return repository, digest
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "latest")


MARKER_IMAGE: Final = "hailbox/lock:1"
"""An image without any file: what is made from it never runs."""

MARKER_LABELS: Final = {names.IMAGE: names.LOCK_IMAGE}

EMPTY_ARCHIVE: Final = bytes(1024)
"""A tar archive without a member: two blocks of zeros."""


def marker(labels: Mapping[str, str]) -> dict[str, Any]:
    """The configuration of a container that never runs."""
    return {
        "Image": MARKER_IMAGE,
        "Cmd": ["-"],
        "Labels": dict(labels),
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "none"}},
    }
