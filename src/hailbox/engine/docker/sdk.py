"""The `docker` package as we use it; imported here and nowhere else, as it takes 0.1 s."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def _without_paramiko() -> Iterator[None]:
    """Let an empty module stand in for paramiko.

    The package imports paramiko for its transport over ssh, which takes another 0.1 s where it is installed and fails
    where it is not. We have that transport run the ssh program, as the docker client does, with the user's own
    configuration of ssh; nothing of paramiko is used then.
    """
    there = sys.modules.get("paramiko")
    if there is None:
        sys.modules["paramiko"] = ModuleType("paramiko")
    try:
        yield
    finally:
        if there is None:
            del sys.modules["paramiko"]


with _without_paramiko():
    import docker.api.client as _client
    import docker.context.config as context_configuration
    import requests
    import urllib3
    from docker import APIClient, auth
    from docker.context import ContextAPI
    from docker.errors import APIError, DockerException
    from docker.tls import TLSConfig
    from docker.transport import sshconn
    from docker.transport.sshconn import SSHHTTPAdapter, SSHSocket
    from docker.utils import config as configuration
    from docker.utils import kwargs_from_env
    from docker.utils.build import exclude_paths

# Where another part of the program has imported the package first, without paramiko, it knows no ssh.
_client.SSHHTTPAdapter = SSHHTTPAdapter

__all__ = [
    "APIClient",
    "APIError",
    "ContextAPI",
    "DockerException",
    "SSHSocket",
    "TLSConfig",
    "auth",
    "context_configuration",
    "exclude_paths",
    "kwargs_from_env",
    "requests",
    "sshconn",
    "urllib3",
    "without_configuration",
]


@contextlib.contextmanager
def without_configuration() -> Iterator[None]:
    """Keep a client that is being made from reading the user's `config.json`: it would want the credentials of
    registries, and fail on a damaged one. One thread at a time."""
    search, configuration.find_config_file = configuration.find_config_file, lambda _path=None: None
    try:
        yield
    finally:
        configuration.find_config_file = search
