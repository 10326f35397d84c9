"""Whether a replica that runs is cut off: its port from this machine, or the services that it needs from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.helper import reach
from hailbox.helper.reach import Way
from hailbox.model import names
from hailbox.observe import Observed
from hailbox.probe import port
from hailbox.probe.outcome import Outcome, Reached

_HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class Lost:
    """What is lost on the way; all empty if nothing is."""

    peers: tuple[str, ...] = ()
    """Replicas that run and are not reached from the container."""
    nameless: bool = False
    """Whether no name server of the container's knows them."""
    port: int | None = None
    """The replica's port on the engine's machine, if it leads nowhere, and the daemon listens."""


def look(context: Context, observed: Observed, container: Container, outcome: Outcome) -> Lost:
    """Look from the container's own network name space. Raises DiskFullError where no helper can be made."""
    service = context.catalog.services.get(container.labels.get(names.SERVICE, ""))
    if service is None or not service.ports:
        return Lost()
    own = f"127.0.0.1:{service.ports[0].container}"
    peers = _peers(context, observed, service.needs)
    ways = reach.look(context, observed, container, (own, *peers))
    lost = {
        peers[target]: way for target, way in ways.items() if target in peers and way in (Way.SILENT, Way.UNKNOWN)
    }
    if lost:
        return Lost(tuple(sorted(lost)), nameless=Way.UNKNOWN in lost.values())
    published = next((number for (name, _), number in observed.ports.items() if name == outcome.replica), None)
    if outcome.reached is not Reached.NOTHING or published is None or ways.get(own) is not Way.OPEN:
        return Lost()
    closed = port.is_closed(_HOST, context.engine.reach([published])[published])
    return Lost(port=published if closed else None)


def _peers(context: Context, observed: Observed, needs: tuple[str, ...]) -> dict[str, str]:
    """The running replicas of these services, by the address that others of the stack reach them at."""
    found: dict[str, str] = {}
    for container in observed.containers:
        service = context.catalog.services.get(container.labels.get(names.SERVICE, ""))
        runs = container.state is ContainerState.RUNNING and names.project(context.stack) in container.networks
        if service is not None and service.name in needs and service.ports and runs:
            replica = container.labels.get(names.REPLICA, "")
            found[f"{replica}:{service.ports[0].container}"] = replica
    return found
