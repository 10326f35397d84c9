"""A second engine, 26.1, in a container of the first: to be restarted, killed, frozen and filled up. Needs root.

Its data, and its socket, are in a folder of the host that has the same path inside, on a file system of its own of a
limited size. What hailbox publishes on 127.0.0.1 is in the network of the nested engine's container, so whoever is
to reach it has to be in there: `NestedEngine.entered` puts this thread and the programs that it starts there, and
points DOCKER_HOST at the engine. Everything else (files, Python, Compose) stays the host's.

As a program it runs a command there:

    PYTHONPATH=tests python -m support.nestedengine hailbox up
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

import docker
import docker.errors
import docker.models.containers
import requests.exceptions
import tenacity

from hailbox.images.base import BASE
from support import namespace, nestedimage
from support.enginestack import ROOT

HOME = Path("/var/lib/hailbox-test-engines")
"""Not below /tmp, which may be a file system that overlayfs cannot write to."""
LABEL = "org.hailbox.test-engine"
CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "MKNOD", "SYS_PTRACE", "DAC_READ_SEARCH"]
DEVICES = ["/dev/net/tun"]
"""What helpers of hailbox are given by an engine has to be there for it to give."""
SIZE = 24 << 30
"""Bytes of the file system with the engine's data, of which only what is written is taken of the host's."""
FILLER = "filler"
START_DEADLINE = 60.0
STOP_DEADLINE = 30.0


class NestedEngine:
    """One nested engine, started; `close` removes all of it."""

    image_folder: ClassVar[Path] = nestedimage.ENGINE_26
    api: ClassVar[str] = "1.41"
    """A version of the API that it takes."""

    def __init__(self) -> None:
        self.name = f"hailbox-test-engine-{secrets.token_hex(4)}"
        self.folder = HOME / self.name
        self.data = self.folder / "data"
        self.address = f"unix://{self.folder}/docker.sock"
        self._outer = docker.from_env()
        self._container: docker.models.containers.Container | None = None

    @classmethod
    def started(cls) -> Self:
        """A new engine that answers, without images."""
        engine = cls()
        try:
            engine._make()
            engine.start()
        except BaseException:
            engine.close()
            raise
        return engine

    def _make(self) -> None:
        image = nestedimage.ensure(self._outer, self.image_folder)
        self.data.mkdir(parents=True)
        disk = self.folder / "disk"
        with disk.open("wb") as stream:
            stream.truncate(SIZE)
        for command in (
            ["mkfs.ext4", "-q", "-m", "0", str(disk)],
            ["mount", "-o", "loop", str(disk), str(self.data)],
        ):
            subprocess.run(command, check=True, capture_output=True)
        self._container = self._outer.containers.run(
            image,
            ["sleep", "infinity"],
            name=self.name,
            hostname=self.name,
            labels={LABEL: str(os.getpid())},
            init=True,
            detach=True,
            cap_add=CAPABILITIES,
            devices=DEVICES,
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            environment={"DOCKER_ALLOW_IPV6_ON_IPV4_INTERFACE": "1"},
            volumes=["/sys/fs/cgroup:/sys/fs/cgroup", f"{self.folder}:{self.folder}"],
        )

    @property
    def container(self) -> docker.models.containers.Container:
        """The container that the engine runs in."""
        assert self._container is not None
        return self._container

    def begin(self) -> None:
        """Start the engine, and do not wait for it."""
        pid = self.folder / "docker.pid"
        for stale in (pid, self.folder / "own.pid"):
            stale.unlink(missing_ok=True)
        command = f"echo $$ >{pid}; exec {self._program()} >>{self.folder}/log 2>&1"
        self.container.exec_run(["sh", "-c", command], detach=True)

    def _program(self) -> str:
        """The engine's command line."""
        return f"dockerd --data-root {self.data} --pidfile {self.folder}/own.pid -H {self.address}"

    def start(self) -> None:
        """Start dockerd and wait until it answers."""
        self.begin()
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda well: not well),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.2),
            stop=tenacity.stop_after_delay(START_DEADLINE),
        )
        try:
            attempts(self.answers)
        except tenacity.RetryError:
            raise AssertionError(f"dockerd does not answer: {self.log()[-2000:]}") from None

    def answers(self) -> bool:
        """Whether the engine answers its ping."""
        with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            client = docker.DockerClient(self.address, version=self.api, timeout=5)
            try:
                return bool(client.ping())
            finally:
                client.close()
        return False

    def log(self) -> str:
        """What dockerd has said."""
        return (self.folder / "log").read_text(errors="replace")

    def _process(self) -> int:
        inner = int((self.folder / "docker.pid").read_text())
        return namespace.inner_process(str(self.container.id), inner)

    def end(self, number: signal.Signals) -> None:
        """End dockerd with a signal, and wait until its process is gone; containerd and containers may stay."""
        pid = self._process()
        os.kill(pid, number)

        def is_there() -> bool:
            # What has ended and not been waited for has no command line; what has been waited for is gone.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
            return False

        tenacity.Retrying(
            retry=tenacity.retry_if_result(bool),
            wait=tenacity.wait_fixed(0.02),
            stop=tenacity.stop_after_delay(STOP_DEADLINE),
        )(is_there)

    def misremember(self, container: str, *, forget: bool) -> None:
        """While dockerd is down: let it believe that it has never started this container, or never had it.

        As if it had been killed before it wrote that down. What runs of the container stays.
        """
        folder = self.data / "containers" / container
        if forget:
            shutil.rmtree(folder)
            return
        file = folder / "config.v2.json"
        described = json.loads(file.read_text())
        never = "0001-01-01T00:00:00Z"
        described["State"] |= {"Running": False, "Pid": 0, "StartedAt": never, "FinishedAt": never}
        described["HasBeenStartedBefore"] = False
        file.write_text(json.dumps(described))

    def fill(self) -> None:
        """Leave not a block of the disk with the engine's data free."""
        with (self.data / FILLER).open("wb") as stream:
            size, at = 1 << 28, 0
            while size >= 4096:
                try:
                    os.posix_fallocate(stream.fileno(), at, size)
                    at += size
                except OSError:
                    size //= 2

    def empty(self) -> None:
        """Give back what `fill` took."""
        (self.data / FILLER).unlink(missing_ok=True)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and the programs that it starts meanwhile, in the engine's network and at its socket."""
        names = ("DOCKER_HOST", "DOCKER_CONTEXT", namespace.ENGINE_PROCESS)
        before = {name: os.environ.pop(name, None) for name in names}
        first = namespace.first_process(str(self.container.id))
        os.environ.update({"DOCKER_HOST": self.address, namespace.ENGINE_PROCESS: str(first)})
        try:
            with namespace.network_of(first):
                yield
        finally:
            for name in names:
                os.environ.pop(name, None)
            os.environ.update({name: value for name, value in before.items() if value is not None})

    def load(self) -> None:
        """Have the images of hailbox on the engine: those of the first one, built there where they are missing."""
        references = images_of_hailbox(self._outer)
        inner = docker.DockerClient(self.address)
        try:
            api = self._outer.api
            answer = api._get(api._url("/images/get"), params={"names": references}, stream=True, timeout=120)
            answer.raise_for_status()
            for _ in inner.api.load_image(answer.iter_content(1 << 20)):
                pass
        finally:
            inner.close()

    def close(self) -> None:
        """Remove the engine and everything of it; what still runs ends with the process 1 of its host."""
        if self._container is not None:
            # An engine that ends by itself leaves no control group of its containers.
            with contextlib.suppress(OSError, ValueError, tenacity.RetryError):
                self.end(signal.SIGTERM)
            self._container.remove(force=True, v=True)
        if self.data.is_mount():
            subprocess.run(["umount", "--lazy", str(self.data)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._outer.close()


def images_of_hailbox(client: docker.DockerClient) -> list[str]:
    """The references of the images that the default profile takes, base and runtime included; built if missing."""
    done = subprocess.run(
        [sys.executable, "-m", "hailbox", "--json", "build"], cwd=HOME, capture_output=True, text=True, check=True
    )
    services = list(json.loads(done.stdout)["data"]["images"].values())
    layers = client.images.get(services[0]).attrs["RootFS"]["Layers"]
    runtimes = [
        tag
        for image in client.images.list("hailbox/runtime")
        for tag in image.tags
        if layers[: len(image.attrs["RootFS"]["Layers"])] == image.attrs["RootFS"]["Layers"]
    ]
    return sorted({BASE, *runtimes, *services})


def prepare() -> None:
    """Make the folder, and remove what runs of tests that were killed have left: engines whose maker is no more."""
    HOME.mkdir(exist_ok=True)
    client = docker.from_env()
    for container in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        if not Path(f"/proc/{container.labels[LABEL]}").exists():
            container.remove(force=True, v=True)
    present = {container.name for container in client.containers.list(all=True, ignore_removed=True)}
    for folder in HOME.glob("hailbox-test-engine-*"):
        if folder.name not in present:
            if (folder / "data").is_mount():
                subprocess.run(["umount", "--lazy", str(folder / "data")], check=True)
            shutil.rmtree(folder, ignore_errors=True)
    client.close()


def main() -> None:
    """Run the command given as arguments inside a new engine that has hailbox's images; exits with its status."""
    prepare()
    engine = NestedEngine.started()
    try:
        engine.load()
        with engine.entered():
            status = subprocess.run(sys.argv[1:], check=False, cwd=ROOT).returncode
    finally:
        engine.close()
    sys.exit(status)


if __name__ == "__main__":
    main()
