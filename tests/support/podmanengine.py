"""A Podman of the test's own: its Docker-compatible socket, with storage and containers apart from the machine's."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import tenacity


def why_not() -> str | None:
    """Why there can be none on this machine; None if there can."""
    if shutil.which("podman") is None:
        return "podman is not installed (apt-get install podman crun netavark aardvark-dns)"
    if os.geteuid() != 0:
        return "a Podman with rights takes root"
    return None


def _configuration() -> str:
    limit = min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    # runc, where it is: crun 1.8 refuses hosts that mix the two versions of control groups.
    runtime = "runc" if shutil.which("runc") else "crun"
    return (
        f'[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\nruntime="{runtime}"\n'
        # Both the same, as Podman 4.3 takes the soft limit for the hard one.
        f'[containers]\ndefault_ulimits=["nofile={limit}:{limit}","nproc=4096:4096"]\n'
        '[network]\nnetwork_backend="netavark"\n'
    )


@contextlib.contextmanager
def started() -> Iterator[str]:
    """Start one whose files are all in a directory of its own; yields the value for DOCKER_HOST. Nothing is left."""
    directory = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))  # its runroot may have 50 characters
    configuration = directory / "containers.conf"
    configuration.write_text(_configuration())
    own = ["podman", "--root", f"{directory}/root", "--runroot", f"{directory}/run"]
    address = f"unix://{directory}/podman.sock"
    variables = {**os.environ, "CONTAINERS_CONF": str(configuration)}
    with (directory / "log").open("wb") as log:
        service = subprocess.Popen(
            [*own, "system", "service", "-t", "0", address],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=variables,
        )
    try:
        _ping(address)
        yield address
    finally:
        service.terminate()
        service.wait(30)
        subprocess.run([*own, "system", "reset", "--force"], env=variables, capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)


@tenacity.retry(wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(20), reraise=True)
def _ping(address: str) -> None:
    with contextlib.closing(docker.DockerClient(address)) as client:
        client.ping()
