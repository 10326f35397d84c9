"""How this host reaches one replica of a stack: its port on loopback, and the credentials it wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hailbox.context import Context
from hailbox.model.errors import UnknownServiceError
from hailbox.observe import present
from hailbox.stack import credentials, selection
from hailbox.stack.ports import LOOPBACK


class _Names(NamedTuple):
    """What a service calls its port, and the credentials for it; iwhd wants none."""

    port: str
    user: str = ""
    secret: str = ""


SERVICES: Final = {
    "cld": _Names("cld", "CLD_USER", "CLD_SECRET"),
    "chunkd": _Names("chunk", "CHUNK_USER", "CHUNK_SECRET"),
    "tabled": _Names("s3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "iwhd": _Names("iwhd"),
}
"""Those that can be reached, lowest first."""


@dataclass(frozen=True)
class Access:
    """One replica, where it listens, and its user."""

    replica: str
    host: str
    port: int
    user: str
    secret: str = field(repr=False)


def access(context: Context, service: str, replica: str | None = None) -> Access:
    """How to reach that replica of `service`, one of SERVICES; its first one if none is named.

    Raises UnknownStackError, and UnknownServiceError where the stack has no such replica.
    """
    known = SERVICES[service]
    observed = present(context.engine, context.stack)
    secrets = credentials.require(context.engine, observed)
    ports = {name: number for (name, port), number in observed.ports.items() if port == known.port}
    if not ports:
        raise UnknownServiceError(
            f"stack {context.stack} has no {service}",
            f"see what it has with: hailbox --stack {context.stack} status",
        )
    first = min(ports, key=lambda name: (len(name), name))
    chosen = selection.one(context.stack, dict.fromkeys(sorted(ports), ""), replica or first)
    user, secret = (secrets[name] if name else "" for name in (known.user, known.secret))
    way = context.engine.reach([ports[chosen]])[ports[chosen]]
    return Access(chosen, LOOPBACK, way, user, secret)
