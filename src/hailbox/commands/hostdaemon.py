"""`config SERVICE`: the configuration with which a daemon on this machine takes part in a stack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import NetworkAddresses
from hailbox.model import names
from hailbox.model.catalog import Profile, Replica
from hailbox.model.config import CONFIGURATION_FILES
from hailbox.model.errors import UnknownServiceError, UsageError
from hailbox.observe import Observed, present
from hailbox.stack import credentials
from hailbox.stack.choice import choose
from hailbox.stack.ports import LOOPBACK
from haild.credentials import fill

_ADDRESSES: Final = (
    re.compile(r"<Host>(?P<host>[a-z]+)(-(?P<number>\d+))?</Host><Port>(?P<port>\d+)</Port>"),
    re.compile(r'"host": "(?P<host>[a-z]+)(-(?P<number>\d+))?",\s*"port": (?P<port>\d+)'),
)
"""How our templates name another daemon: in a `.conf` file, and in iwhd's JSON."""


@dataclass(frozen=True)
class HostDaemon:
    """What a daemon on this machine needs to take part in a stack."""

    service: str
    files: dict[str, str]
    """By name; `@directory@` stands for the place where they are."""
    main: str | None
    """The name of the file that its command line names; None if it has options only."""
    command: tuple[str, ...]
    """Our daemon's command line, with `@directory@` for the place of the files and of the data."""
    hosts: dict[str, str]
    """By name that other daemons publish: its address, for /etc/hosts."""

    def at(self, directory: str) -> HostDaemon:
        """The same with the files in that directory."""
        files = {name: text.replace("@directory@", directory) for name, text in self.files.items()}
        command = tuple(word.replace("@directory@", directory) for word in self.command)
        return HostDaemon(self.service, files, self.main, command, self.hosts)


def configuration(context: Context, service: str) -> HostDaemon:
    """The configuration of one more daemon of that service, or of the one that `--without` left out.

    Raises UnknownStackError, and UnknownServiceError where the stack's profile has no such service.
    """
    observed = present(context.engine, context.stack)
    whole = choose(context, observed).whole
    replicas = [replica for replica in whole.replicas if replica.service == service]
    if not replicas:
        raise UnknownServiceError(
            f"profile {whole.name} has no service {service!r}", f"it has: {', '.join(whole.services)}"
        )
    secrets = credentials.require(context.engine, observed)
    network = context.engine.network_addresses(names.project(context.stack))
    described = context.catalog.services[service]
    own = _number(observed, replicas)
    data = described.data or ""
    placed = {
        "@files@": "@directory@",
        "@replica@": own.name,
        "@number@": str(own.number),
        "@container@": names.container(context.stack, own.name),
    }

    def written(text: str) -> str:
        for placeholder, value in placed.items():
            text = text.replace(placeholder, value)
        return _on_this_machine(fill(text, secrets).replace(data, "@directory@/data"), observed, whole)

    files = {name: written(text) for name, text in described.configurations[own.configuration].items()}
    main = CONFIGURATION_FILES.get(service)
    if service == "chunkd" and network is not None and main is not None:
        files[main] += f"<ForceHost>{network.gateway}</ForceHost>\n"
    words = [written(str(word)) for word in described.compose.get("command", ())]
    hosts = _hosts(context.stack, network, whole)
    return HostDaemon(service, files, main, ("python3", "-m", f"haild.{service}", *words), hosts)


def write(daemon: HostDaemon, directory: Path) -> None:
    """Write the files of a daemon, and make the directory for its data. Raises UsageError where that cannot be."""
    try:
        (directory / "data").mkdir(parents=True, exist_ok=True)
        for name, text in daemon.files.items():
            path = directory / name
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{directory} cannot be written to: {error.strerror}", "name another directory") from error


def _number(observed: Observed, replicas: list[Replica]) -> Replica:
    """The first of these replicas that the stack does not run, else one more."""
    for replica in replicas:
        if not observed.of(replica.name):
            return replica
    last = replicas[-1]
    return Replica(last.service, last.number + 1, last.configuration, last.arguments)


def _on_this_machine(text: str, observed: Observed, profile: Profile) -> str:
    """Addresses of other daemons of the stack as they are here. One that is not in the stack is on this machine."""
    known = {replica: number for (replica, _), number in observed.ports.items() if observed.of(replica)}

    def here(found: re.Match[str]) -> str:
        service, number = found["host"], found["number"] or "1"
        if service not in profile.services:
            return found[0]
        port = known.get(names.replica(service, int(number)), int(found["port"]))
        name = f"{service}-{number}" if found["number"] else service
        return found[0].replace(name, LOOPBACK).replace(found["port"], str(port))

    for pattern in _ADDRESSES:
        text = pattern.sub(here, text)
    return text


def _hosts(stack: str, network: NetworkAddresses | None, profile: Profile) -> dict[str, str]:
    """chunkd publishes its host name in cld, which this machine does not know."""
    if network is None:
        return {}
    addresses: Mapping[str, str] = network.containers
    nodes = [replica for replica in profile.replicas if replica.service == "chunkd"]
    found = {replica.name: addresses.get(names.container(stack, replica.name), "") for replica in nodes}
    return {name: address for name, address in found.items() if address}
