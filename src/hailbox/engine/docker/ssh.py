"""The ssh program as we run it: one connection for all requests of a command, and of the next ones.

The `docker` package runs a program for each request, and each would log in for itself: 0.15 s on loopback, more
elsewhere, and a password every time where one is wanted. ssh shares a connection (ssh_config(5), ControlMaster);
ours does so for a few seconds where the user's own configuration says nothing of it.
"""

from __future__ import annotations

import functools
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hailbox import surroundings
from hailbox.engine.docker import sdk

_KEPT: Final = 10
"""Seconds that a connection lasts after its last use."""
_LONGEST: Final = 60
"""Bytes of a folder's path: ssh adds 58, and a socket's path ends at 104 on macOS, 108 on Linux (unix(7))."""
_REQUEST: Final = "docker system dial-stdio"


def program() -> str:
    """The ssh program; its name where it is nowhere, so that the system says so."""
    return surroundings.which("ssh") or "ssh"


def environment() -> dict[str, str]:
    """The environment that ssh gets."""
    return surroundings.environment("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "TERM")


def destination(address: str) -> list[str]:
    """The words that name the machine of `ssh://[USER@]HOST[:PORT]`."""
    parts = urlsplit(address if "//" in address else f"ssh://{address}")
    port = ["-p", str(parts.port)] if parts.port else []
    return [*port, "--", f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)]


@functools.cache
def sharing(address: str) -> tuple[str, ...]:
    """The options that make ssh share a connection to that address; none where the user has chosen already."""
    folder = _folder()
    if folder is None or _chosen(address):
        return ()
    return (*_options("ControlMaster=auto", f"ControlPersist={_KEPT}"), *_options(f"ControlPath={folder}/%C"))


def _options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("-o", setting)]


def _chosen(address: str) -> bool:
    """Whether the user's configuration shares connections to that address."""
    try:
        asked = subprocess.run(
            [program(), "-G", *destination(address)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=surroundings.ROOT,
            env=environment(),
            check=False,
        )
    except OSError:
        return False  # the request itself will tell
    settings = dict(line.partition(" ")[::2] for line in asked.stdout.splitlines())
    return settings.get("controlpath", "none") != "none"


def _folder() -> Path | None:
    """A folder for sockets that is this user's alone; None where none can be had."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    places = [Path(given)] if os.path.isabs(given) else []
    if (temporary := surroundings.temporary_directory()) is not None:
        places.append(temporary)
    for place in places:
        folder = place / f"hailbox-ssh-{os.geteuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
        except OSError:
            continue
        private = found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if private and len(os.fsencode(folder)) <= _LONGEST:
            return folder
    return None


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to us, who may have something to finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Request(sdk.SSHSocket):  # type: ignore[misc]  # the package has no types
    """One connection to the engine: the package's, with our program and its options."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._address = host

    def connect(self, **_options: Any) -> None:
        """Run ssh. Raises OSError if there is none."""
        self.proc = subprocess.Popen(
            [program(), *sharing(self._address), *destination(self._address), _REQUEST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=surroundings.ROOT,
            env=environment(),
            preexec_fn=_ignore_interrupts,
        )


def install() -> None:
    """Have the package make its connections over ssh so."""
    sdk.sshconn.SSHSocket = Request
