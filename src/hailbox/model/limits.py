"""What a container may use and when the engine starts it again, as hailbox plans it and as the engine has it.

`docker update` changes these of a container that is there, without a trace in its labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hailbox.model import overrides
from hailbox.model.catalog import Catalog
from hailbox.model.overrides import Recorded
from hailbox.model.size import rounded

_SIZE: Final = re.compile(r"(\d+)([kmgt]?)i?b?", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}

_FEW_CPUS: Final = 0.25
"""Processors below which a daemon may be too slow to start; hailbox itself limits none."""


@dataclass(frozen=True)
class Limits:
    """What a container may use; 0: as much as there is, None: the engine cannot limit it."""

    memory: int | None = 0
    """Bytes."""
    pids: int | None = 0
    """Processes and threads."""
    cpus: float = 0.0
    restart: str = "no"
    """When the engine starts it again; as Docker names it."""
    others: tuple[str, ...] = ()
    """Names of further settings of `docker update` that are in force. hailbox sets none of them."""


def size(text: str | int) -> int:
    """Bytes of a size as Compose has it, such as `512m`; 0 if it is none."""
    found = _SIZE.fullmatch(str(text).strip())
    return int(found[1]) << _UNITS[found[2].lower()] if found else 0


def of_definition(definition: Mapping[str, Any]) -> Limits:
    """The limits that a Compose service asks for."""
    return Limits(
        size(definition.get("mem_limit", 0)),
        int(definition.get("pids_limit", 0)),
        float(definition.get("cpus", 0)),
        str(definition.get("restart", "no")),
    )


def planned(catalog: Catalog, chosen: Recorded, service: str, replica: str) -> Limits:
    """The limits of a replica by the catalogue, and by what the user has chosen; ours where that cannot be used."""
    definition = _ours(catalog, service)
    try:
        overrides.limit(definition, overrides.of_replica(chosen, service, replica))
        return of_definition(definition)
    except (TypeError, ValueError):
        return of_definition(_ours(catalog, service))


def _ours(catalog: Catalog, service: str) -> dict[str, Any]:
    known = catalog.services.get(service)
    return {**catalog.common, **(known.compose if known else {})}


def changes(seen: Limits, wanted: Limits) -> tuple[str, ...]:
    """How what a container has differs from what it should have, in words."""
    return tuple(_changes(seen, wanted))


def _changes(seen: Limits, wanted: Limits) -> Iterator[str]:
    if seen.memory is not None and seen.memory != wanted.memory:
        yield f"memory {_bytes(seen.memory)} in place of {_bytes(wanted.memory)}"
    if seen.pids is not None and seen.pids != wanted.pids:
        yield f"pids {_number(seen.pids)} in place of {_number(wanted.pids)}"
    if abs(seen.cpus - wanted.cpus) > 1e-3:
        yield f"cpus {_number(seen.cpus)} in place of {_number(wanted.cpus)}"
    if seen.restart != wanted.restart:
        yield f"restart {seen.restart} in place of {wanted.restart}"
    yield from (f"{name} in place of none" for name in seen.others)


def below_ours(catalog: Catalog, chosen: Recorded, service: str, replica: str) -> dict[str, str]:
    """The limits that the user has set lower than hailbox does: by key of `limits`, both values in words."""
    own, ours = planned(catalog, chosen, service, replica), of_definition(_ours(catalog, service))
    found: dict[str, str] = {}
    if 0 < (own.memory or 0) < (ours.memory or 0):
        found["memory"] = f"{_bytes(own.memory)}, and hailbox gives {_bytes(ours.memory)}"
    if 0 < (own.pids or 0) < (ours.pids or 0):
        found["pids"] = f"{own.pids}, and hailbox gives {ours.pids}"
    if 0 < own.cpus < _FEW_CPUS:
        found["cpus"] = f"{own.cpus:g}, and hailbox sets no limit"
    return found


def _bytes(count: int | None) -> str:
    return rounded(count) if count else "unlimited"


def _number(count: float | None) -> str:
    return f"{count:g}" if count else "unlimited"
