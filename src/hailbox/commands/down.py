"""`down`: stops and removes the containers, keeps the data; `destroy`: nothing is left."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Engine
from hailbox.helper import lostprocesses, settle
from hailbox.images import ours
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import EngineFailedError, UnknownStackError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe, present, stacks
from hailbox.stack import lock
from hailbox.stack.removal import discard, each

STOP_TIMEOUT: Final = 3
"""Seconds that a daemon gets to stop cleanly; ours take less than one."""

_KILLED: Final = 137
"""Exit status of a process that SIGKILL ended."""


_ID: Final = "sha256:"
"""What the id of an image begins with, and no name does."""


@dataclass(frozen=True)
class Removal:
    """What a command removed, or with `--dry-run` would remove, by name."""

    stack: str
    dry_run: bool
    containers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    """Replicas that did not stop when asked and had to be killed."""


def down(context: Context) -> Removal:
    """Stop all services and remove their containers and the network; data and credentials stay.

    The one-shot container, which has ended, stays as the record of profile and ports.
    """
    with lock.exclusive(context):
        observed = present(context.engine, context.stack)
        if lostprocesses.end_suspected(context, observed):
            observed = present(context.engine, context.stack)
        if any(names.HELPER in container.labels for container in observed.containers):
            settle.settle(context, observed)
            observed = present(context.engine, context.stack)
        services = [c for c in observed.containers if c.labels.get(names.REPLICA) != ONE_SHOT]
        killed: list[str] = []

        def stop(container: Container) -> None:
            if stop_cleanly(context, container):
                killed.append(container.labels.get(names.REPLICA, container.name))

        # Clients of cld end their sessions only while it is there; a session that was not ended keeps its locks
        # for the rest of its lease, and the next `up` would wait for that.
        needed_last = [c for c in services if not _needs(context, c)]
        each(stop, [container for container in services if container not in needed_last])
        each(stop, needed_last)
        each(context.engine.remove_network, [network.id for network in observed.networks])
    return Removal(
        context.stack,
        False,
        containers=tuple(sorted(c.name for c in services)),
        networks=tuple(sorted(network.name for network in observed.networks)),
        killed=tuple(sorted(killed)),
    )


def _needs(context: Context, container: Container) -> tuple[str, ...]:
    service = context.catalog.services.get(container.labels.get(names.SERVICE, ""))
    return service.needs if service else ()


def stop_cleanly(context: Context, container: Container) -> bool:
    """Stop and remove one container; returns whether it had to be killed."""
    engine, replica = context.engine, container.labels.get(names.REPLICA, container.name)
    context.tell(replica, Phase.STOPPING)
    running = container.state.has_process
    if container.state is ContainerState.PAUSED:
        engine.unpause_container(container.id)
    began = time.monotonic()
    engine.stop_container(container.id, stop_timeout=STOP_TIMEOUT)
    overdue = time.monotonic() - began >= STOP_TIMEOUT
    killed = running and overdue and engine.container_details(container.id).exit_code == _KILLED
    engine.remove_container(container.id)
    context.tell(replica, Phase.REMOVED, f"killed after {STOP_TIMEOUT} s" if killed else "")
    return killed


def _unused_images(engine: Engine, observed: Observed) -> list[str]:
    """The images that hailbox made, without those that other containers were made from and what those were built on:
    their names, then the ids of those that have none."""
    made = [image for image in ours.labelled(engine) if image.labels[names.IMAGE] != names.LOCK_IMAGE]
    own = {container.id for container in observed.containers}
    used = {container.image_id for container in engine.containers({}) if container.id not in own}
    shared = {"base", "runtime"} if any(image.id in used for image in made) else set()
    unused = [image for image in made if image.id not in used and image.labels[names.IMAGE] not in shared]
    nameless = [image.id for image in ours.without_name(engine, unused)]
    return sorted(tag for image in unused for tag in ours.tags(image)) + nameless


def _remove_images(engine: Engine, references: Sequence[str]) -> None:
    named = [reference for reference in references if not reference.startswith(_ID)]
    for reference in reversed(named):
        engine.remove_image(reference)
    for identifier in references[len(named) :]:
        with contextlib.suppress(EngineFailedError):  # a layer of what a user has built on it
            engine.remove_image(identifier)


_LOCK_TAG: Final = re.compile(r"(localhost/)?hailbox/lock:\d+")
"""The names of that image: what a user has built on it has another name, and inherits only the label."""


def _lock_images(engine: Engine) -> list[str]:
    """The tags of the image that locks are made from, if no container but the lock that we hold is."""
    made = [image for image in engine.images({names.IMAGE: None}) if image.labels[names.IMAGE] == names.LOCK_IMAGE]
    using = [container.image_id for container in engine.containers({})]
    return sorted(
        tag for image in made if using.count(image.id) <= 1 for tag in image.tags if _LOCK_TAG.fullmatch(tag)
    )


def destroy(context: Context, *, dry_run: bool = False, images: bool = False) -> Removal:
    """Remove everything of the stack; with `images` also the images that hailbox made and no other container uses.

    Raises UnknownStackError.
    """
    engine = context.engine
    with lock.exclusive(context):
        observed = present(engine, context.stack) if not images else observe(engine, context.stack)
        made = _unused_images(engine, observed) if images else []
        # Our own lock is made from this one.
        lock_images = _lock_images(engine) if images else []
        volumes = sorted(volume.name for volume in observed.volumes)
        if not dry_run:
            lostprocesses.end_suspected(context, observed)
            discard(engine, volumes, observed.containers)
            each(engine.remove_network, [network.id for network in observed.networks])
            _remove_images(engine, made)
            if made:
                # containerd's store keeps an image without its name as long as others are built on it.
                _remove_images(engine, _unused_images(engine, observed))
    for reference in lock_images if not dry_run else ():
        with contextlib.suppress(EngineFailedError):  # another command has made its lock from it meanwhile
            engine.remove_image(reference)
    return Removal(
        context.stack,
        dry_run,
        containers=tuple(sorted(c.name for c in observed.containers)),
        volumes=tuple(volumes),
        networks=tuple(sorted(network.name for network in observed.networks)),
        images=tuple(sorted((*made, *lock_images))),
    )


def remove_all(context: Context, *, dry_run: bool = False, images: bool = False) -> list[Removal]:
    """Destroy every stack on the engine, one after the other; with `images` also those that nothing uses then.

    A stack that another command removes meanwhile is left out.
    """
    found: list[Removal] = []
    every = stacks(context.engine)
    for name in every:
        one = replace(context, config=replace(context.config, stack=name))
        with contextlib.suppress(UnknownStackError):
            found.append(destroy(one, dry_run=dry_run, images=images and name == every[-1]))
    return found
