"""Which faults are in effect, and ending them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hailbox.context import Context
from hailbox.fault.result import Fault
from hailbox.helper import settle
from hailbox.model import names
from hailbox.model.errors import UnknownFaultError
from hailbox.observe import present
from hailbox.stack import lock

_LATEST: Final = float(1 << 40)
"""Seconds since the epoch; no fault lasts so long."""


@dataclass(frozen=True)
class Cleared:
    """The faults that were ended, by id."""

    faults: tuple[str, ...]


def described(container_name: str, stack: str, labels: Mapping[str, str]) -> Fault:
    """A fault from its helper's labels; what is missing or damaged there is left out."""
    ends = _seconds(labels.get(names.FAULT_UNTIL, ""))
    return Fault(
        id=container_name.removeprefix(names.fault_container(stack, "")),
        kind=labels.get(names.FAULT_KIND, "unknown"),
        targets=tuple(labels.get(names.FAULT_TARGETS, "").split()),
        detail=labels.get(names.FAULT_DETAIL, ""),
        until=ends,
    )


def _seconds(text: str) -> float | None:
    """The time in a label; None if it holds none that a clock could show."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found < _LATEST else None


def ls(context: Context) -> list[Fault]:
    """The faults that are in effect. Raises UnknownStackError."""
    observed = present(context.engine, context.stack)
    found = [described(c.name, context.stack, c.labels) for c in settle.active_faults(observed)]
    return sorted(found, key=lambda fault: fault.id)


def clear(context: Context, wanted: Sequence[str] = ()) -> Cleared:
    """End these faults, by id or by a replica that they are about; none given: all.

    Raises UnknownFaultError, UnknownStackError.
    """
    with lock.exclusive(context):
        observed = present(context.engine, context.stack)
        helpers = settle.of_kind(observed, names.FAULT)
        chosen = []
        for word in wanted:
            meant = [
                container
                for container in helpers
                if word == settle.fault_id(container) or word in settle.fault_targets(container)
            ]
            if not meant:
                active = ", ".join(sorted(settle.fault_id(c) for c in settle.active_faults(observed)))
                raise UnknownFaultError(f"there is no fault {word!r} in effect", f"there are: {active or 'none'}")
            chosen += meant
        unique = list({container.id: container for container in chosen}.values())
        return Cleared(settle.end_faults(context, observed, unique if wanted else None))
