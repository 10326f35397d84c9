"""Names and labels of everything that hailbox makes on the engine."""

from __future__ import annotations

import re
from typing import Final

from hailbox.model.errors import UsageError

DEFAULT_STACK: Final = "hail"

PREFIX: Final = "org.hailbox."

IMAGE: Final = "org.hailbox.image"
STACK: Final = "org.hailbox.stack"
SERVICE: Final = "org.hailbox.service"
REPLICA: Final = "org.hailbox.replica"
CONTENT: Final = "org.hailbox.content"
"""Of an image: the digest of what it was built from, which its name ends with, too."""
VERSION: Final = "org.hailbox.version"
RECORD: Final = "org.hailbox.record"
"""Of everything that a stack has: what the stack is, see `model/record.py`."""
PROFILE: Final = "org.hailbox.profile"
"""This, SCALE, IMAGES, DEFINITION and PORT are on the one-shot container alone: the record of hailbox 0.1."""
KIND: Final = "org.hailbox.kind"
"""Of a volume: DATA or CREDENTIALS."""
DIGEST: Final = "org.hailbox.digest"
"""Of a container: digest of what it was rendered from, RECORD aside; where it differs, re-create the container."""

SCALE: Final = "org.hailbox.scale"
"""Numbers of replicas that differ from the profile's: `chunkd=3 iwhd=2`."""
IMAGES: Final = "org.hailbox.images"
"""Images of the user's own by service: `chunkd=my/chunkd:1`."""
OVERRIDES: Final = "org.hailbox.overrides"
"""What services and replicas have of the user's own, as JSON: see `hailbox.model.overrides`."""
DEFINITION: Final = "org.hailbox.definition"
"""The definition, as JSON, of a profile that does not ship with hailbox."""
PORT: Final = "org.hailbox.port."
"""Followed by replica and port name (`chunkd-1.chunk`): the port on the host."""

HELPER: Final = "org.hailbox.helper"
"""Of a container that is no service but does a piece of work beside the stack: FAULT, DISPOSABLE or RESTORE."""

FAULT: Final = "fault"
FAULT_KIND: Final = "org.hailbox.fault.kind"
FAULT_TARGETS: Final = "org.hailbox.fault.targets"
"""The replicas that a fault is about, separated by blanks."""
FAULT_DETAIL: Final = "org.hailbox.fault.detail"
FAULT_UNTIL: Final = "org.hailbox.fault.until"
"""Seconds since the epoch at which the fault ends by itself; absent if it does not."""

DISPOSABLE: Final = "disposable"
"""A helper that any later command may remove: nothing depends on its being there."""
_OLDER_DISPOSABLE: Final = "save"
"""What DISPOSABLE was called by hailbox 0.1."""
RESTORE: Final = "restore"
GO: Final = "SIGUSR1"
"""Signal to a RESTORE helper: first, that the services have ended; the second time, that they are started."""
SNAPSHOT: Final = "snapshot"
"""KIND of a volume with copies of data volumes."""
SEAL: Final = "snapshot-seal"
"""KIND of the empty volume whose presence says that a snapshot is whole, and whose labels describe it."""
SNAPSHOT_NAME: Final = "org.hailbox.snapshot.name"

SEEDING: Final = "seeding"
"""KIND of the empty volume whose presence says that a stack is still to be seeded."""

LOCK: Final = "org.hailbox.lock"
"""Of a container that never runs: the stack that a command works on. It is no part of that."""
LOCK_IMAGE: Final = "lock"
"""Value of the label IMAGE of the image that locks are made from."""
LOCK_HOLDER: Final = "org.hailbox.lock.holder"
"""Which process holds the lock, as JSON; see `stack/holder.py`."""

DATA: Final = "data"
CREDENTIALS: Final = "credentials"

CREDENTIALS_DIRECTORY: Final = "/etc/hailbox"
"""Where the credentials volume is mounted in every container."""

STACK_NAME: Final = r"[a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?"
"""What the name of a stack may be, as a pattern."""
STACK_NAME_RULE: Final = "1 to 31 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
REGISTRY_PREFIX: Final = (
    r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)
"""A registry's host and, mostly, a path (the Distribution project's grammar of references)."""
REGISTRY_PREFIX_RULE: Final = "a registry and a path, such as registry.example/team/hailbox"
_STACK_NAME: Final = re.compile(STACK_NAME)


def is_stack(name: str) -> bool:
    """Whether a stack may be called so. What has another name in its label STACK is not ours."""
    return _STACK_NAME.fullmatch(name) is not None


def check_stack(name: str) -> str:
    """Return `name` if a stack may be called so; raise UsageError otherwise."""
    if not is_stack(name):
        raise UsageError(f"{name!r} cannot name a stack", f"use {STACK_NAME_RULE}")
    return name


def purpose(label: str | None) -> str | None:
    """What a helper is for, from the value of its HELPER label; None if it is no helper."""
    return DISPOSABLE if label == _OLDER_DISPOSABLE else label


def project(stack: str) -> str:
    """Compose project, network, and prefix of all container and volume names of a stack."""
    return f"hailbox-{stack}"


def replica(service: str, number: int) -> str:
    """Name of a replica, which is its host name and its Compose service, too: `chunkd-2`."""
    return f"{service}-{number}"


def container(stack: str, replica_name: str) -> str:
    """Name of the container of a replica."""
    return f"{project(stack)}-{replica_name}"


def seeding_volume(stack: str) -> str:
    """The volume that says that a stack is still to be seeded."""
    return f"{project(stack)}.seeding"


def data_volume(stack: str, replica_name: str) -> str:
    """Name of the data volume of a replica."""
    return f"{project(stack)}-{replica_name}"


_FIRST_GROUP: Final = 20_000
_GROUPS_OF_SERVICE: Final = 10_000
"""All of them are among the 65,536 ids that a container has where user name spaces are in use."""


def group(replica_name: str) -> int:
    """The id of the group that alone may read the replica's files in the credentials volume; only its container has
    it. The same in every stack: a group means nothing in another volume."""
    service, _, number = replica_name.rpartition("-")
    order = ("cld", "chunkd", "tabled", "iwhd")
    return _FIRST_GROUP + order.index(service) * _GROUPS_OF_SERVICE + int(number) % _GROUPS_OF_SERVICE


def credentials_volume(stack: str) -> str:
    """Name of the volume with the stack's credentials and configuration files."""
    return f"{project(stack)}-credentials"


def lock(stack: str) -> str:
    """Name of the container that is the stack's lock; no stack, replica or snapshot has a dot in its name there."""
    return f"{project(stack)}.lock"


def fault_container(stack: str, identifier: str) -> str:
    """Name of the helper container of a fault."""
    return f"{project(stack)}-fault-{identifier}"
