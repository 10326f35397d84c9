"""What there is on the engine, asked over its socket with the least that HTTP needs: one request, some milliseconds.

A shell waits for the answer. So everything that cannot be had at once, as from an engine over ssh or with TLS, is
left out: there are no names to choose from then, and no error.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from hailbox.model import names

TIMEOUT: Final = 0.1
"""Seconds for each step of the exchange."""
_SOCKETS: Final = ("/var/run/docker.sock", "/run/user/{uid}/docker.sock", "/run/user/{uid}/podman/podman.sock")


def _connect() -> socket.socket | None:
    host = os.environ.get("DOCKER_HOST", "")
    if host.startswith("unix://"):
        places = [host.removeprefix("unix://")]
    elif host.startswith("tcp://") and not os.environ.get("DOCKER_TLS_VERIFY"):
        name, _, port = host.removeprefix("tcp://").rpartition(":")
        try:
            return socket.create_connection((name, int(port)), TIMEOUT)
        except (OSError, ValueError):
            return None
    elif host:
        return None
    else:
        places = [place.format(uid=os.getuid()) for place in _SOCKETS]
    for place in places:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(place)
        except OSError:
            connection.close()
        else:
            return connection
    return None


def _ask(path: str) -> Any:
    """The JSON that the engine answers with; None if it does not answer."""
    connection = _connect()
    if connection is None:
        return None
    try:
        with connection:
            # HTTP/1.0: the answer ends with the connection, and comes in one piece.
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        return json.loads(body) if head.split(maxsplit=2)[1:2] == [b"200"] else None
    except (OSError, ValueError):
        return None


def _filters(label: str) -> str:
    return quote(json.dumps({"label": [label]}))


def _containers(label: str) -> Iterator[dict[str, str]]:
    """The labels of all containers with a label."""
    for found in _ask(f"/containers/json?all=1&filters={_filters(label)}") or ():
        yield found.get("Labels") or {}


def stacks() -> list[str]:
    """The names of all stacks that have a container."""
    return sorted({labels[names.STACK] for labels in _containers(names.STACK)})


def replicas(stack: str) -> list[str]:
    """The replicas of a stack, and its services."""
    found: set[str] = set()
    for labels in _containers(f"{names.STACK}={stack}"):
        if names.HELPER not in labels and labels.get(names.SERVICE) != labels.get(names.REPLICA):
            found |= {labels[key] for key in (names.SERVICE, names.REPLICA) if key in labels}
    return sorted(found)


def faults(stack: str) -> list[str]:
    """The ids of a stack's faults."""
    wanted = names.fault_container(stack, "")
    found = _ask(f"/containers/json?all=1&filters={_filters(f'{names.STACK}={stack}')}") or ()
    called = [name.lstrip("/") for container in found for name in container.get("Names") or ()]
    return sorted(name.removeprefix(wanted) for name in called if name.startswith(wanted))


def snapshots(stack: str) -> list[str]:
    """The names of a stack's snapshots."""
    found = (_ask(f"/volumes?filters={_filters(f'{names.STACK}={stack}')}") or {}).get("Volumes") or ()
    labels = [volume.get("Labels") or {} for volume in found]
    return sorted(each.get(names.SNAPSHOT_NAME, "") for each in labels if each.get(names.KIND) == names.SEAL)
