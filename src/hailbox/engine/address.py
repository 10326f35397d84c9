"""Where the engine is, as the docker client's users say it: DOCKER_HOST, or a context of the client.

Sources: "Use environment variables" and "Docker contexts" of the docker client's reference. In this order, as there:
DOCKER_HOST; the context that DOCKER_CONTEXT names; the client's current one (`currentContext` of its `config.json`);
the default socket.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from hailbox.model.errors import EngineUnreachableError, UsageError

DEFAULT: Final = "unix:///var/run/docker.sock"
_KNOWN: Final = ("unix", "tcp", "http", "https", "ssh")
_PORTS: Final = {False: 2375, True: 2376}
"""Of the engine without and with TLS."""


@dataclass(frozen=True)
class Certificates:
    """What TLS takes: a folder with `ca.pem`, `cert.pem` and `key.pem`, as far as they are there."""

    folder: Path | None
    verify: bool
    """Whether the engine has to show a certificate that we trust."""


@dataclass(frozen=True)
class Address:
    """One engine's address."""

    text: str
    """As the user wrote it."""
    chosen: bool = False
    """Whether the user chose it, so that Compose has to be told."""
    certificates: Certificates | None = None
    """None: no TLS."""

    @property
    def parts(self) -> SplitResult:
        """Scheme, host, port and path. Raises EngineUnreachableError where they make no sense."""
        try:
            parts = urlsplit(self.text if "://" in self.text else f"tcp://{self.text}")
            _ = parts.port  # a property that raises ValueError
        except ValueError as error:
            raise EngineUnreachableError(f"no engine answers at {self.text}: {error}", "mend DOCKER_HOST") from error
        if parts.scheme not in _KNOWN or not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise EngineUnreachableError(
                f"no engine answers at {self.text}, which is none of: unix:///PATH, tcp://HOST:PORT, ssh://USER@HOST",
                "mend DOCKER_HOST, or the docker client's context",
            )
        return parts

    @property
    def port(self) -> int:
        """Of an engine that is reached by TCP."""
        return self.parts.port or _PORTS[self.secure]

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.parts.scheme == "https" or (self.certificates is not None and self.parts.scheme == "tcp")

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead another program to the same engine."""
        if not self.chosen:
            return {}
        found = {"DOCKER_HOST": self.text}
        if self.certificates is not None:
            found["DOCKER_TLS_VERIFY"] = "1" if self.certificates.verify else ""
            if self.certificates.folder is not None:
                found["DOCKER_CERT_PATH"] = str(self.certificates.folder)
        return found


def find() -> Address:
    """Where the engine is. Raises UsageError if a context is chosen that is not there."""
    variables = os.environ
    if host := variables.get("DOCKER_HOST"):
        verify, folder = bool(variables.get("DOCKER_TLS_VERIFY")), variables.get("DOCKER_CERT_PATH")
        if not (verify or folder):
            return Address(host, chosen=True)
        return Address(host, chosen=True, certificates=Certificates(Path(folder or _configuration()), verify))
    name = variables.get("DOCKER_CONTEXT") or _current()
    return Address(DEFAULT) if name in (None, "default") else _context(str(name))


def _configuration() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; empty where there is none to read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def client_configuration() -> Mapping[str, Any]:
    """The docker client's `config.json`; empty where there is none to read."""
    return _read(_configuration() / "config.json")


def _current() -> str | None:
    name = client_configuration().get("currentContext")
    return name if isinstance(name, str) and name else None


def _context(name: str) -> Address:
    contexts, digest = _configuration() / "contexts", hashlib.sha256(name.encode()).hexdigest()
    described = _read(contexts / "meta" / digest / "meta.json")
    try:
        endpoint = described["Endpoints"]["docker"]
        host, unverified = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify"))
    except (LookupError, TypeError, AttributeError):
        source = "DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") else "the docker client's current context"
        raise UsageError(f"{source} is {name!r}, and there is no such context", "see: docker context ls") from None
    folder = contexts / "tls" / digest / "docker"
    if folder.is_dir():
        return Address(host, chosen=True, certificates=Certificates(folder, not unverified))
    return Address(host, chosen=True, certificates=Certificates(None, verify=False) if unverified else None)
