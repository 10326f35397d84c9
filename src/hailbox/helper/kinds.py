"""The kinds of helper containers: what each is for, and what its container may do.

A helper runs one program of `programs/`, as root, with no capability but those named here and no network or volume
but those that its caller names. Programs use the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hailbox.model import names

_COPY_MEMORY: Final = 2 << 30
"""Bytes for helpers that copy volumes: the page cache of what they copy counts, and at its limit is written out."""

_READ_WRITE_ANY_OWNER: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""Capabilities to read and write files of any owner, and to keep who owns them."""


@dataclass(frozen=True)
class Kind:
    """One kind of helper."""

    word: str
    """Part of the container's name."""
    modules: tuple[str, ...]
    """Modules of `programs/`, those that others import first; the last one has the function `main`."""
    purpose: str = names.DISPOSABLE
    """Value of the label names.HELPER."""
    capabilities: tuple[str, ...] = ()
    host_processes: bool = False
    """Whether it sees all processes of the engine's host."""
    devices: tuple[str, ...] = ()
    memory: int = 256 << 20
    """Bytes."""
    pids: int = 64
    """How many processes and threads it may have at once."""
    deadline: float = 30.0
    """Seconds for the whole run."""

    @property
    def is_fault(self) -> bool:
        """Whether it makes a fault: the engine starts it again if it is killed."""
        return self.purpose == names.FAULT


VOLUME_CHECK: Final = Kind("volumecheck", ("volumecheck",), capabilities=("DAC_OVERRIDE",))
REACH: Final = Kind("reach", ("reach",))
OWN: Final = Kind("own", ("own",), capabilities=("CHOWN", "DAC_OVERRIDE"), deadline=600.0)
LOST_PROCESSES: Final = Kind(
    "lostprocesses",
    ("lostprocesses",),
    capabilities=("SYS_PTRACE", "DAC_READ_SEARCH", "KILL"),
    host_processes=True,
)
SAVE: Final = Kind("save", ("save",), capabilities=_READ_WRITE_ANY_OWNER, memory=_COPY_MEMORY, deadline=3600.0)
RESTORE: Final = Kind(
    "restore",
    ("restore",),
    purpose=names.RESTORE,
    capabilities=_READ_WRITE_ANY_OWNER,
    memory=_COPY_MEMORY,
    deadline=3600.0,
)
DIGEST: Final = Kind("digest", ("digest",), capabilities=("DAC_READ_SEARCH",), memory=_COPY_MEMORY, deadline=3600.0)
TRANSFER: Final = Kind("transfer", ("digest",))
"""Never started: the engine reads and writes the files of the volumes that it has."""
REMOVE_DISCARDED: Final = Kind(
    "discard", ("discard",), capabilities=("DAC_OVERRIDE", "FOWNER"), memory=_COPY_MEMORY, deadline=3600.0
)
CHOOSE_FILE: Final = Kind(
    "look", ("fault.run", "fault.corruption", "fault.choice"), capabilities=("DAC_READ_SEARCH",), deadline=60.0
)

HOLD_PROCESS: Final = Kind(
    "fault",
    ("fault.run", "fault.container", "fault.process"),
    purpose=names.FAULT,
    capabilities=("KILL",),
    host_processes=True,
)
NO_SPACE: Final = Kind(
    "fault",
    ("fault.run", "fault.container", "fault.ptrace", "fault.nospace"),
    purpose=names.FAULT,
    capabilities=("SYS_PTRACE", "DAC_READ_SEARCH", "KILL"),
    host_processes=True,
)
CORRUPTION: Final = Kind(
    "fault", ("fault.run", "fault.corruption"), purpose=names.FAULT, capabilities=("DAC_OVERRIDE",)
)
NETWORK: Final = Kind(
    "fault",
    ("fault.run", "fault.netlink", "fault.network"),
    purpose=names.FAULT,
    capabilities=("NET_ADMIN", "NET_RAW"),
    devices=("/dev/net/tun",),
)

ALL: Final = (
    *(VOLUME_CHECK, REACH, OWN, LOST_PROCESSES, SAVE, RESTORE, DIGEST, TRANSFER, REMOVE_DISCARDED, CHOOSE_FILE),
    *(HOLD_PROCESS, NO_SPACE, CORRUPTION, NETWORK),
)
