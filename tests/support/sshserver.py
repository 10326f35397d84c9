"""An sshd in a nested engine's container: a machine that has an engine, and that ssh alone reaches.

A program `ssh` that stands first on the search path gives the client's side its key and known hosts, as a user's own
configuration would.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping

import tenacity

from support.nestedengine import NestedEngine

PORT = 2222
DEADLINE = 20.0
_SERVER = """\
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile {folder}/sshd.pid
SetEnv DOCKER_HOST={engine}
"""
_CLIENT = """\
Host *
  IdentityFile {folder}/client
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  StrictHostKeyChecking yes
  BatchMode yes
"""


def why_not() -> str | None:
    """Why there can be none here."""
    missing = [program for program in ("ssh", "ssh-keygen") if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)} (openssh-client)" if missing else None


class SshServer:
    """The server, started; `stop` ends it with every connection of its."""

    def __init__(self, engine: NestedEngine) -> None:
        self._engine = engine
        self._folder = engine.folder / "ssh"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)
        engine.container.reload()
        self.address: str = next(iter(engine.container.attrs["NetworkSettings"]["Networks"].values()))["IPAddress"]
        self._write()

    def _write(self) -> None:
        folder = self._folder
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        (folder / "known").write_text(f"[{self.address}]:{PORT} {(folder / 'host.pub').read_text()}")
        (folder / "sshd_config").write_text(_SERVER.format(port=PORT, folder=folder, engine=self._engine.address))
        (folder / "ssh_config").write_text(_CLIENT.format(folder=folder))
        (folder / "bin").mkdir()
        client = folder / "bin" / "ssh"
        client.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
        client.chmod(0o755)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = f"mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -f {self._folder}/sshd_config 2>{self._folder}/log"
        self._engine.container.exec_run(["sh", "-c", command], detach=True)
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(OSError),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.2),
            stop=tenacity.stop_after_delay(DEADLINE),
            reraise=True,
        )(lambda: socket.create_connection((self.address, PORT), timeout=5).close())

    def stop(self) -> None:
        """End the server and its connections, which are children of its."""
        command = f"pid=$(cat {self._folder}/sshd.pid) && kill $(cat /proc/$pid/task/$pid/children) $pid"
        self._engine.container.exec_run(["sh", "-c", command])

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables with which commands find the engine through it."""
        return {
            "DOCKER_HOST": f"ssh://root@{self.address}:{PORT}",
            "PATH": f"{self._folder}/bin{os.pathsep}{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(self._folder),
        }


@contextlib.contextmanager
def on(engine: NestedEngine) -> Iterator[SshServer]:
    """A server on that engine's machine."""
    server = SshServer(engine)
    server.start()
    try:
        yield server
    finally:
        server.stop()
