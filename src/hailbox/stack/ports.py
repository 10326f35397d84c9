"""Which ports of the host a stack gets, and who holds one that it cannot have."""

from __future__ import annotations

import errno
import socket
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hailbox.context import Context
from hailbox.model import names
from hailbox.model.catalog import Port, Profile, Replica
from hailbox.model.compose import preferred_port
from hailbox.model.errors import PortTakenError, UnknownServiceError, UsageError
from hailbox.observe import Observed
from hailbox.stack import portholder

LOOPBACK: Final = "127.0.0.1"

_FIRST, _LAST = 20000, 29999
"""Where other stacks than the default one have their ports: below the range of outgoing connections."""


@dataclass(frozen=True)
class Substitution:
    """A port that the stack has in place of the one it would have had."""

    replica: str
    port: str
    wanted: int
    given: int
    holder: str


@dataclass(frozen=True)
class Assignment:
    """The ports by replica and port name, and what had to be replaced."""

    ports: Mapping[tuple[str, str], int]
    substitutions: tuple[Substitution, ...]


def is_free(number: int, protocols: tuple[str, ...]) -> bool:
    """Whether that port of the loopback address can be listened on."""
    for protocol in protocols:
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # Connections that ended a moment ago do not hold the port; a listener does all the same.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, number))
                if kind == socket.SOCK_STREAM:
                    probe.listen(1)
            except PermissionError:
                # A port below 1024 that only root may open; the engine, which is to listen there, may be root.
                continue
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    return False
                raise
    return True


def _candidates(stack: str, replica: Replica, port: Port) -> Iterator[int]:
    """Free ports are looked for from a place that the name decides, so that a stack finds the same ones again."""
    size = _LAST - _FIRST + 1
    start = zlib.crc32(f"{stack}/{replica.name}/{port.name}".encode()) % size
    for step in range(size):
        yield _FIRST + (start + step) % size


def _held(observed: Observed) -> dict[int, str]:
    """The ports that the stack's own containers hold just now, and the replicas that do."""
    return {
        port.host_port: container.labels.get(names.REPLICA, "")
        for container in observed.containers
        for port in container.ports
    }


def assign(context: Context, profile: Profile, observed: Observed, left_out: Collection[str] = ()) -> Assignment:
    """Choose a port of the host for every port of every replica.

    In this order: what the user insists on, what the replica has already, what the default stack prefers, a free
    one. Raises PortTakenError, naming the holder, if another program holds a port that the user insists on, and
    UsageError if the user wants one twice.
    """
    wanted = _insisted(context, profile, left_out)
    known = observed.ports
    held = _held(observed)
    claimed = {number: key for ports in (known, wanted) for key, number in ports.items()}
    chosen: dict[tuple[str, str], int] = {}
    substitutions: list[Substitution] = []
    for replica in profile.replicas:
        for port in context.catalog.services[replica.service].ports:
            key = (replica.name, port.name)

            def usable(number: int, key: tuple[str, str] = key, port: Port = port) -> bool:
                if claimed.get(number, key) != key:
                    return False
                if number in held:
                    return held[number] == key[0]
                return number not in chosen.values() and is_free(number, port.protocols)

            if key in wanted:
                if not usable(wanted[key]):
                    _refuse(context, replica, wanted[key], port)
                chosen[key] = wanted[key]
                continue
            preferred = preferred_port(port, replica) if context.stack == names.DEFAULT_STACK else None
            if key in known and usable(known[key]):
                chosen[key] = known[key]
            elif preferred is not None and usable(preferred):
                chosen[key] = preferred
            else:
                chosen[key] = _free(context, replica, port, usable)
            if preferred is not None and chosen[key] != preferred:
                holder = portholder.describe(context.engine, preferred, port.protocols)
                substitutions.append(Substitution(replica.name, port.name, preferred, chosen[key], holder))
    return Assignment(chosen, tuple(substitutions))


def _insisted(context: Context, profile: Profile, left_out: Collection[str]) -> dict[tuple[str, str], int]:
    by_name = {replica.name: replica for replica in profile.replicas}
    wanted: dict[tuple[str, str], int] = {}
    for name, number in context.config.ports.items():
        if name.partition("-")[0] in left_out:
            continue
        replica = by_name.get(name) or by_name.get(names.replica(name, 1))
        if replica is None:
            raise UnknownServiceError(
                f"a port is chosen for {name!r}, which profile {profile.name} does not have",
                f"it has: {', '.join(by_name)}",
            )
        for port in context.catalog.services[replica.service].ports:
            if number in wanted.values():
                raise UsageError(f"port {number} is chosen twice", f"choose another one for {replica.name}")
            wanted[replica.name, port.name] = number
    return wanted


def _free(context: Context, replica: Replica, port: Port, usable: portholder.Usable) -> int:
    for number in _candidates(context.stack, replica, port):
        if usable(number):
            return number
    raise PortTakenError(
        f"no port from {_FIRST} to {_LAST} is free for {replica.name}", "end some programs that listen"
    )


def _refuse(context: Context, replica: Replica, number: int, port: Port) -> None:
    holder = portholder.describe(context.engine, number, port.protocols)
    raise PortTakenError(
        f"port {number}, which you chose for {replica.name}, is held by {holder}",
        "end it, choose another port, or choose none: then a free one is taken",
    )
