"""Where the engine is, as users of the docker client say it: DOCKER_HOST, or a context of that client.

Sources: "Use environment variables" and "Docker contexts" of the docker client's reference. In its order:
DOCKER_HOST; the context that DOCKER_CONTEXT names; the client's current one (`currentContext` of its `config.json`);
the default socket.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hailbox import surroundings
from hailbox.engine.docker.sdk import ContextAPI, DockerException, TLSConfig, context_configuration, kwargs_from_env
from hailbox.model.errors import UsageError

DEFAULT: Final = "unix:///var/run/docker.sock"
_PORTS: Final = {False: 2375, True: 2376}
"""Of an engine without and with TLS."""


@dataclass(frozen=True)
class Address:
    """One engine's address."""

    text: str
    """As the user wrote it."""
    chosen: bool = False
    """Whether the user chose it, so that Compose has to be told."""
    by_itself: bool = False
    """Whether hailbox found it without being told, so that every other program has to be told."""
    tls: TLSConfig | None = field(default=None, compare=False)

    @property
    def url(self) -> str:
        """The address with its port, which the package insists on."""
        try:
            parts = urlsplit(self.text)
            if parts.scheme in ("tcp", "http", "https") and parts.hostname and parts.port is None:
                secure = self.tls is not None or parts.scheme == "https"
                return parts._replace(netloc=f"{parts.netloc}:{_PORTS[secure]}").geturl()
        except ValueError:
            pass  # the package says what is wrong with it
        return self.text

    @property
    def over_ssh(self) -> bool:
        """Whether it is reached through the ssh program."""
        return self.text.startswith("ssh:")

    @property
    def on_this_machine(self) -> bool:
        """Whether the engine's files may be this machine's."""
        return self.text.startswith("unix:")

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead another program to the same engine."""
        if not self.chosen:
            return {}
        found = {"DOCKER_HOST": self.text}
        if self.tls is not None:
            found["DOCKER_TLS_VERIFY"] = "1" if self.tls.verify else ""
            certificate = (self.tls.cert or (None,))[0]
            if certificate:
                found["DOCKER_CERT_PATH"] = str(Path(certificate).parent)
        return found


def find() -> Address:
    """Where the engine is. Raises UsageError if what chooses it is not there or makes no sense."""
    if host := os.environ.get("DOCKER_HOST"):
        return Address(host, chosen=True, tls=_certificates(os.environ))
    name = os.environ.get("DOCKER_CONTEXT") or _current()
    return _default() if name in (None, "default") else _context(str(name))


def _default() -> Address:
    """The default socket; Podman's, the user's own before the system's, where nothing listens there."""
    if not _listens(DEFAULT.removeprefix("unix://")):
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        for folder in filter(os.path.isabs, (runtime, "/run")):
            if _listens(path := f"{folder}/podman/podman.sock"):
                return Address(f"unix://{path}", chosen=True, by_itself=True)
    return Address(DEFAULT)


def _listens(path: str) -> bool:
    """Whether an engine listens on a socket; also where it refuses this user, who is told so then."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def _folder() -> Path:
    """The docker client's folder; one that is not there where the user has no home directory."""
    return Path(os.environ.get("DOCKER_CONFIG") or (surroundings.home() or Path("/nonexistent")) / ".docker")


def _configuration() -> str:
    """Stands in for the package's search, which takes the current directory for the client's folder where there is no
    `config.json`."""
    return str(_folder() / "config.json")


context_configuration.find_config_file = _configuration


def _certificates(variables: Mapping[str, str]) -> TLSConfig | None:
    given = {key: variables[key] for key in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH") if variables.get(key)}
    if not given:
        return None
    given.setdefault("DOCKER_CERT_PATH", str(_folder()))
    try:
        found: TLSConfig | None = kwargs_from_env(environment=given).get("tls")
    except DockerException as error:
        raise UsageError(
            f"the certificates in {given['DOCKER_CERT_PATH']} cannot be used: {error}",
            "put ca.pem, cert.pem and key.pem there, or mend DOCKER_CERT_PATH and DOCKER_TLS_VERIFY",
        ) from error
    return found


def _current() -> str | None:
    name: Any = context_configuration.get_current_context_name()
    return name if isinstance(name, str) and name else None


def _context(name: str) -> Address:
    try:
        host, tls = _endpoint(name)
    except Exception as error:  # a damaged file: whatever the package's reading of it happens to raise
        source = "DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") else "the docker client's current context"
        raise UsageError(f"{source} is {name!r}, and there is no such context", "see: docker context ls") from error
    return Address(host, chosen=True, tls=tls)


def _endpoint(name: str) -> tuple[str, Any]:
    context = ContextAPI.get_context(name)
    tls = context.TLSConfig
    if tls is not None:
        # Where the file says nothing of it, the package would trust any engine.
        described = json.loads(Path(context_configuration.get_meta_file(name)).read_text(encoding="utf-8"))
        unverified = bool(described["Endpoints"]["docker"].get("SkipTLSVerify"))
        tls = TLSConfig(client_cert=tls.cert, ca_cert=tls.ca_cert, verify=not unverified)
    return str(context.Host), tls
