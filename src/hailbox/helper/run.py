"""Starting helper containers: the only place that says what one is called and what it may do."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hailbox.context import Context
from hailbox.engine.port import Helper
from hailbox.helper.kinds import Kind
from hailbox.helper.program import command
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.observe import Observed


@dataclass(frozen=True)
class Work:
    """A piece of work for a helper of that kind."""

    kind: Kind
    image: str
    """The runtime image, by reference or id."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    """By volume name: where it is mounted; with `:ro` after it read-only."""
    arguments: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Beside those that every helper has."""
    identifier: str = ""
    """What a fault is called; the other helpers are called by chance."""
    network: str = "none"
    """Or `container:ID`, whose network name space it then shares."""


def described(stack: str, work: Work) -> Helper:
    """The helper container for that work."""
    kind = work.kind
    if work.identifier:
        name = names.fault_container(stack, work.identifier)
    else:
        name = f"{names.project(stack)}-{kind.word}-{secrets.token_hex(4)}"
    return Helper(
        name=name,
        image=work.image,
        command=command(kind.modules, work.arguments),
        labels={names.STACK: stack, names.HELPER: kind.purpose, **work.labels},
        mounts=work.volumes,
        network=work.network,
        host_processes=kind.host_processes,
        capabilities=kind.capabilities,
        devices=kind.devices,
        memory=kind.memory,
        pids=kind.pids,
        restart_on_failure=kind.is_fault,
    )


def run(context: Context, work: Work) -> bytes:
    """Run a helper to its end and remove it; returns what it printed. Raises what `Engine.run_helper` raises."""
    return context.engine.run_helper(described(context.stack, work), deadline=work.kind.deadline)


def create(context: Context, work: Work) -> str:
    """Make a helper without starting it; returns its id."""
    return context.engine.create_helper(described(context.stack, work))


def image_of(observed: Observed) -> str | None:
    """The id of an image with our Python: that of the one-shot, else of a service of ours; or None."""
    ours = [c for c in observed.containers if c.labels.get(names.SERVICE) not in (None, *observed.own_services)]
    return next((container.image_id for container in (*observed.of(ONE_SHOT), *ours)), None)
