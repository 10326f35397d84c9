"""Names of images in a registry, and the credentials that the docker client keeps for it (`docker login`)."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from hailbox.engine.address import client_configuration

_HUB: Final = "https://index.docker.io/v1/"
"""What the docker client calls the registry of names without one."""

_HELPER_DEADLINE: Final = 10.0
"""Seconds for a credential helper to answer."""


def split(reference: str) -> tuple[str, str]:
    """Repository, and tag or digest (`latest` where it has none)."""
    repository, at, digest = reference.partition("@")
    if at:
        return repository, digest
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, "latest")


def authorization(repository: str) -> dict[str, str]:
    """The header of a request to pull from its registry; none where nobody has logged in there."""
    first, slash, _ = repository.partition("/")
    host = first if slash and (first == "localhost" or "." in first or ":" in first) else _HUB
    found = _credentials(client_configuration(), host)
    if not found:
        return {}
    encoded = base64.urlsafe_b64encode(json.dumps({**found, "serveraddress": host}).encode())
    return {"X-Registry-Auth": encoded.decode()}


def _credentials(configuration: Mapping[str, Any], host: str) -> dict[str, str]:
    helper = (configuration.get("credHelpers") or {}).get(host) or configuration.get("credsStore")
    if helper:
        return _asked(f"docker-credential-{helper}", host)
    entry = (configuration.get("auths") or {}).get(host) or {}
    if token := entry.get("identitytoken"):
        return {"identitytoken": str(token)}
    try:
        name, colon, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except ValueError:
        return {}
    return {"username": name, "password": password} if colon else {}


def _asked(helper: str, host: str) -> dict[str, str]:
    """What a credential helper of the docker client says: it takes the registry on standard input."""
    try:
        answer = subprocess.run(
            [helper, "get"], input=host, capture_output=True, text=True, timeout=_HELPER_DEADLINE, check=True
        )
        found = json.loads(answer.stdout)
        name, secret = str(found["Username"]), str(found["Secret"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return {}
    return {"identitytoken": secret} if name == "<token>" else {"username": name, "password": secret}
