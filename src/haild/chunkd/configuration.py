"""chunkd's configuration file and options (chunkd.md section 9), as values."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from haild.client.cld.addresses import ConfiguredServer
from haild.daemon.settings import Element, SettingsError, port_number
from haild.wire.numbers import decimal

DEFAULT_FILE: Final = Path("/etc/chunkd.conf")
DEFAULT_PID_FILE: Final = Path("/var/run/chunkd.pid")
MAXIMUM_NID: Final = 2**32 - 1
DEFAULT_TIMEOUT: Final = 60.0
"""Seconds that a client may take for the rest of a request, or without taking any of a response."""
DEFAULT_SCRUB_DAYS: Final = 7.0
"""Days in which the background scrub reads every object once."""

_INFO_PATH: Final = re.compile(r"/[A-Za-z0-9._/-]{1,255}")
_TLS_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True)
class Listener:
    """One Listen element. Port 0 means `auto`."""

    port: int
    node: str | None = None
    port_file: Path | None = None


@dataclass(frozen=True)
class Tls:
    """The SSL element: PEM files, and the oldest version of TLS that is accepted (our addition)."""

    private_key: Path
    certificate: Path
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2


@dataclass(frozen=True)
class Configuration:
    """A complete configuration. `secrets` None: every user's secret is the name (chunkd.md section 2.1)."""

    listeners: tuple[Listener, ...]
    path: Path
    info_path: str
    pid_file: Path = DEFAULT_PID_FILE
    nid: int | None = None
    cld_servers: tuple[ConfiguredServer, ...] = ()
    cld_user: str = "tabled"
    cld_key: str = "tabled"
    force_host: str | None = None
    tls: Tls | None = None
    check_users: frozenset[bytes] = frozenset()
    secrets: Path | None = None
    timeout: float = DEFAULT_TIMEOUT
    scrub_days: float = DEFAULT_SCRUB_DAYS
    """0 turns the background scrub off."""


def _required(element: Element, name: str) -> str:
    value = element.value(name)
    if value is None:
        raise SettingsError(f"<{name}> is missing in <{element.name}>" if element.name else f"<{name}> is missing")
    return value


def _path(element: Element, name: str) -> Path | None:
    value = element.value(name)
    return None if value is None else Path(value)


def _listener(element: Element) -> Listener:
    port = port_number(_required(element, "Port"), auto=True)
    return Listener(port, element.value("Node"), _path(element, "PortFile"))


def _cld_server(element: Element) -> ConfiguredServer:
    host = _required(element, "Host")
    port_file = _path(element, "PortFile")
    port = element.value("Port")
    if (port is None) == (port_file is None):
        raise SettingsError("<CLD> needs either <Port> or <PortFile>")
    return ConfiguredServer(host, None if port is None else port_number(port), port_file)


def _tls(element: Element) -> Tls:
    version = element.value("MinimumVersion") or "1.2"
    if version not in _TLS_VERSIONS:
        raise SettingsError(f"<MinimumVersion> {version!r} is none of {', '.join(_TLS_VERSIONS)}")
    return Tls(Path(_required(element, "PrivateKey")), Path(_required(element, "Cert")), _TLS_VERSIONS[version])


def _nid(text: str | None) -> int | None:
    if text is None:
        return None
    number = decimal(text, 1, MAXIMUM_NID)
    if number is None:
        raise SettingsError(f"<NID> {text!r} is not a number from 1 to {MAXIMUM_NID}")
    return number


def _number(element: Element, name: str, default: float, *, least: float) -> float:
    text = element.value(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or float(text) < least:
        raise SettingsError(f"<{name}> {text!r} is not a number of at least {least:g}")
    return float(text)


def read(root: Element) -> Configuration:
    """The configuration in the parsed text `root`. Raises SettingsError that names the element at fault."""
    listeners = tuple(_listener(element) for element in root.all("Listen"))
    if not listeners:
        raise SettingsError("<Listen> is missing")
    info_path = _required(root, "InfoPath")
    if not _INFO_PATH.fullmatch(info_path) or info_path.endswith("/") or "//" in info_path:
        raise SettingsError(f"<InfoPath> {info_path!r} is not an absolute path in CLD")
    tls = None
    for element in root.all("SSL"):
        tls = _tls(element)
    users = (user for check in root.all("Check") for user in check.all("User"))
    return Configuration(
        listeners=listeners,
        path=Path(_required(root, "Path")),
        info_path=info_path,
        pid_file=_path(root, "PID") or DEFAULT_PID_FILE,
        nid=_nid(root.value("NID")),
        cld_servers=tuple(_cld_server(element) for element in root.all("CLD")),
        cld_user=root.value("CLDUser") or "tabled",
        cld_key=root.value("CLDKey") or "tabled",
        force_host=root.value("ForceHost"),
        tls=tls,
        check_users=frozenset(user.text.encode() for user in users),
        secrets=_path(root, "Users"),
        timeout=_number(root, "Timeout", DEFAULT_TIMEOUT, least=0.1),
        scrub_days=_number(root, "ScrubDays", DEFAULT_SCRUB_DAYS, least=0),
    )
