"""Configuration of tabled: the file of tabled.md section 3, and our own additions."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from haild.client.cld.addresses import MAXIMUM_SERVERS, ConfiguredServer, DiscoveryError, service_name
from haild.daemon.errors import StartError
from haild.daemon.settings import Element, SettingsError, await_file, load, port_number
from haild.wire.numbers import decimal

DEFAULT_FILE: Final = Path("/etc/tabled.conf")
DEFAULT_PID_FILE: Final = Path("/var/run/tabled.pid")
DEFAULT_PORT: Final = 8080

logger = logging.getLogger(__name__)

_KNOWN: Final = frozenset(
    (
        "PID",
        "ForceHost",
        "Listen",
        "TDB",
        "TDBRepPort",
        "TDBRepName",
        "StatusPort",
        "Group",
        "ChunkUser",
        "ChunkKey",
        "CLD",
        "CLDUser",
        "CLDKey",
        "Users",
        "HostAlias",
        "AllowHost",
        "Region",
        "Copies",
        "Acknowledge",
        "RepairDelay",
        "BodyCache",
        "LifecycleDay",
        "RootKey",
        "Webhook",
        "TLSCertificate",
        "TLSKey",
    )
)


@dataclass(frozen=True)
class Configuration:
    """What the file says. Our additions, all optional, start at `cld_user`."""

    host: str
    port: int
    port_file: Path | None
    pid_file: Path
    directory: Path
    name: str
    group: str
    status_port: int | None
    chunk_user: str
    chunk_key: str
    cld: tuple[ConfiguredServer, ...]
    cld_user: str = "tabled"
    cld_key: str = "tabled"
    users_file: Path | None = None
    host_aliases: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Names that anonymous requests may have in Host beside `host`, its aliases and loopback; `*` is every name."""
    region: str = ""
    """The only region signatures may name; empty: any."""
    copies: int = 3
    acknowledge: int = 0
    """Copies that must be durable before a PUT is answered; 0: on all nodes there are, up to `copies`."""
    repair_delay: float = 8.0
    """Seconds that a lost node has to come back before its copies are made again."""
    body_cache: int = 16
    """MiB of memory for small bodies that nodes have taken or given a moment ago; 0: each GET asks a node."""
    lifecycle_day: int = 86400
    """Seconds that a day of lifecycle rules has; tests of rules want a short one."""
    webhooks: Mapping[str, str] = field(default_factory=dict)
    """Where events of buckets go: URLs by the destination's ARN; the empty ARN takes those that are not named."""
    tls_certificate: Path | None = None
    """PEM file of the certificate (chain) with which the client port speaks TLS; None: plain HTTP."""
    tls_key: Path | None = None
    """PEM file of its key; None: in the same file."""
    root_key: str = ""
    """What the keys of encrypted bodies are wrapped by in the end; empty: a file of the TDB directory has it."""

    @property
    def names(self) -> frozenset[str]:
        """The names of this server in Host (haild.http.origin), and every name below those of virtual hosts."""
        hosts = {name.lower().partition(":")[0] for name in (self.host, *self.host_aliases)}
        own = {socket.gethostname().lower(), *(name.lower() for name in self.allowed_hosts)}
        return frozenset(hosts | {f".{name}" for name in hosts} | own)


def read(path: Path) -> Configuration:
    """Read the file at `path`. Raises StartError."""
    await_file(path)
    try:
        root = load(path)
        return _from(root, path)
    except SettingsError as error:
        raise StartError(str(error)) from error


def require_cld(configuration: Configuration) -> None:
    """Raise StartError where neither the configuration nor the host's name can lead to CLD."""
    if not configuration.cld:
        try:
            service_name(configuration.host)
        except DiscoveryError as error:
            raise StartError(f"no <CLD> in the configuration, and {error}") from error


def directory_of(path: Path) -> Path | None:
    """The first TDB directory in the file, as tdbadm takes it (tabled.md 2.2). Raises StartError."""
    try:
        root = load(path)
    except SettingsError as error:
        raise StartError(str(error)) from error
    first = next((element for element in root.all("TDB") if element.text.strip()), None)
    return Path(first.text) if first else None


def _path(root: Element, name: str) -> Path | None:
    text = (root.value(name) or "").strip()
    return Path(text) if text else None


def _webhooks(root: Element) -> dict[str, str]:
    """The webhooks by ARN. Raises SettingsError."""
    found = {}
    for element in root.all("Webhook"):
        url = (element.value("Url") or "").strip()
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"<Webhook> needs a <Url> of http or https, and not {url!r}")
        found[(element.value("Arn") or "").strip()] = url
    return found


def root_key_of(path: Path) -> str:
    """The root key of encryption in the file; empty without one. Raises StartError."""
    try:
        return (load(path).value("RootKey") or "").strip()
    except SettingsError as error:
        raise StartError(str(error)) from error


def _from(root: Element, path: Path) -> Configuration:
    for child in root.children:
        if child.name not in _KNOWN:
            logger.warning("%s: unknown element <%s> is ignored", path, child.name)
    host = root.value("ForceHost") or socket.gethostname()[:63]
    directory = _directory(root)
    port, port_file = _listen(root)
    status = root.value("StatusPort")
    users = root.value("Users")
    return Configuration(
        host=host,
        port=port,
        port_file=port_file,
        pid_file=Path(root.value("PID") or DEFAULT_PID_FILE),
        directory=directory,
        name=(root.value("TDBRepName") or host)[:64],
        group=root.value("Group") or "default",
        status_port=None if status is None else port_number(status),
        chunk_user=root.value("ChunkUser") or "tabled",
        chunk_key=root.value("ChunkKey") or "tabled",
        cld=_cld(root),
        cld_user=root.value("CLDUser") or "tabled",
        cld_key=root.value("CLDKey") or "tabled",
        users_file=Path(users) if users else None,
        host_aliases=tuple(alias.text for alias in root.all("HostAlias") if alias.text.strip()),
        allowed_hosts=tuple(name.text.strip() for name in root.all("AllowHost") if name.text.strip()),
        region=root.value("Region") or "",
        copies=_number(root, "Copies", 3, 1, 16),
        acknowledge=_number(root, "Acknowledge", 0, 0, 16),
        repair_delay=float(_number(root, "RepairDelay", 8, 0, 86400)),
        body_cache=_number(root, "BodyCache", 16, 0, 1024),
        lifecycle_day=_number(root, "LifecycleDay", _day_of_environment(), 1, 86400),
        webhooks=_webhooks(root),
        tls_certificate=_path(root, "TLSCertificate"),
        tls_key=_path(root, "TLSKey"),
        root_key=(root.value("RootKey") or "").strip(),
    )


def _directory(root: Element) -> Path:
    directory: Path | None = None
    for element in root.all("TDB"):
        if Path(element.text).is_dir():
            directory = Path(element.text)
        else:
            logger.warning("<TDB> %r is not a directory and is ignored", element.text)
    if directory is None:
        raise StartError("no usable <TDB> directory in the configuration")
    return directory


def _listen(root: Element) -> tuple[int, Path | None]:
    port, port_file = DEFAULT_PORT, None
    for element in root.all("Listen"):
        text = element.value("Port")
        try:
            port = port_number(text or "", auto=True)
        except SettingsError as error:
            logger.warning("a <Listen> is ignored: %s", error)
            continue
        file = element.value("PortFile")
        port_file = Path(file) if file else None
    return port, port_file


def _cld(root: Element) -> tuple[ConfiguredServer, ...]:
    addresses = []
    for element in root.all("CLD"):
        host, port, file = element.value("Host"), element.value("Port"), element.value("PortFile")
        if host and port:
            addresses.append(ConfiguredServer(host, port_number(port)))
        elif host and file:
            addresses.append(ConfiguredServer(host, port_file=Path(file)))
        else:
            logger.warning("a <CLD> without Host, or without Port and PortFile, is ignored")
    return tuple(addresses[:MAXIMUM_SERVERS])


def _day_of_environment() -> int:
    """HAILD_LIFECYCLE_DAY, so that `hailbox.yaml` can set it without a whole configuration. Raises SettingsError."""
    text = os.environ.get("HAILD_LIFECYCLE_DAY", "86400")
    number = decimal(text.strip(), 1, 86400)
    if number is None:
        raise SettingsError(f"HAILD_LIFECYCLE_DAY {text!r} is not a number from 1 to 86400")
    return number


def _number(root: Element, name: str, default: int, least: int, most: int) -> int:
    text = root.value(name)
    if text is None:
        return default
    number = decimal(text.strip(), least, most)
    if number is None:
        raise SettingsError(f"<{name}> {text!r} is not a number from {least} to {most}")
    return number
