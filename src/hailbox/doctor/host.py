"""What can be wrong with the host, whatever the stack is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from hailbox.context import Context
from hailbox.diagnosis.replica import SET_CLOCKS
from hailbox.doctor.report import Check
from hailbox.engine.port import Engine, EngineVersion
from hailbox.model.errors import ClockSkewError, DiskFullError, HailboxError, LeftoversError
from hailbox.observe import Observed, observe, stacks
from hailbox.stack import lock, ownimages, ports, preflight
from hailbox.stack.choice import choose

ENOUGH_DISK: Final = 1 << 30
"""Bytes; images and an empty stack take about a quarter of that."""

TOLERATED_SKEW: Final = 5.0
"""Seconds. S3 clients are refused from 15 minutes on; signatures and leases are easier to follow with less."""

_NO_LIMITS: Final = (
    "without rights it has no control groups of version 1, so limits are not kept and a snapshot stops the services"
)

Looked = tuple[Check, HailboxError | None]


def examine(context: Context) -> Iterator[Looked]:
    """Each check with what it found wrong. Raises EngineUnreachableError, EngineDeniedError: nothing else can be
    looked at then."""
    version = context.engine.version()
    yield _try("engine", lambda: _engine(context.engine, version))
    yield _try("compose", lambda: _compose(context.engine))
    yield _disk(context.engine)
    yield _clock(context.engine)


def _try(name: str, look: Callable[[], str]) -> Looked:
    try:
        return Check(name, True, look()), None
    except HailboxError as error:
        return Check(name, False, error.problem), error


def _engine(engine: Engine, version: EngineVersion) -> str:
    preflight.check_engine(engine)
    name = f"version {version.version}" if version.product == "Docker" else f"{version.product} {version.version}"
    mode = engine.mode()
    details = [
        *(["rootless"] if mode.rootless else []),
        *([f"storage {mode.storage}"] if mode.storage else []),
        *([f"engine on another machine: {where}"] if (where := engine.elsewhere()) else []),
        *([] if mode.has_limits else [_NO_LIMITS]),
    ]
    return "; ".join([name, *details])


def _compose(engine: Engine) -> str:
    found = engine.compose_version()
    return f"version {found.version}, {' '.join(found.command)}"


def _disk(engine: Engine) -> Looked:
    free = engine.disk_free()
    if free is None:
        return Check("disk", True, "the engine's disk is not on this machine"), None
    detail = f"{free >> 20} MiB left for the engine"
    if free >= ENOUGH_DISK:
        return Check("disk", True, detail), None
    return Check("disk", False, detail), DiskFullError(
        f"the engine's disk is nearly full: {free >> 20} MiB left",
        "free some space (docker system df shows what takes it), then run: hailbox up",
    )


def _clock(engine: Engine) -> Looked:
    before = time.time()
    there = engine.clock()
    here = (before + time.time()) / 2
    skew = there - here
    detail = f"the containers' clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
    if abs(skew) <= TOLERATED_SKEW:
        return Check("clock", True, detail), None
    return Check("clock", False, detail), ClockSkewError(detail, SET_CLOCKS)


def insisted_ports(context: Context, observed: Observed) -> Looked:
    """Whether the stack has, or could have, the ports that it would like."""

    def look() -> str:
        choice = choose(context, observed)
        assignment = ports.assign(context, choice.profile, observed, choice.without)
        replaced = [f"{s.wanted} is held by {s.holder}; {s.replica} has {s.given}" for s in assignment.substitutions]
        return "; ".join(replaced) or " ".join(map(str, sorted(assignment.ports.values())))

    return _try("ports", look)


def own_images(context: Context, observed: Observed) -> Looked:
    """Whether the images of the user's own that the stack is to run are on the engine."""

    def look() -> str:
        found = ownimages.wanted(context, observed, choose(context, observed))
        for image in found:
            if context.engine.image(image.reference) is None:
                raise ownimages.missing(context.stack, image)
        return " ".join(image.reference for image in found) or "none"

    return _try("own images", look)


def leftovers(engine: Engine) -> Looked:
    """Objects of stacks without the record that every stack has from its first `up` to its end."""
    found = []
    for stack in stacks(engine):
        observed = observe(engine, stack)
        if not observed.record and not observed.empty and lock.is_free(engine, stack):
            found.append(
                f"stack {stack}: {len(observed.containers)} containers, {len(observed.volumes)} volumes, "
                f"{len(observed.networks)} networks"
            )
    if not found:
        return Check("leftovers", True, "none"), None
    first = found[0].partition(":")[0].removeprefix("stack ")
    return Check("leftovers", False, "; ".join(found)), LeftoversError(
        f"something is left of what is no stack any more: {'; '.join(found)}",
        f"make a stack of it again: hailbox --stack {first} up; or, if you do not need its data, remove it: "
        f"hailbox --stack {first} destroy",
    )
