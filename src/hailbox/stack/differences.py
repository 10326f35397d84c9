"""What a command changes of a stack that exists already, told before it does so.

A `hailbox.yaml` may come from another person's repository, and it says which programs get the stack's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hailbox.context import Context
from hailbox.model.progress import Phase
from hailbox.model.record import CREDENTIALS, Record
from hailbox.stack.choice import OUR_IMAGE
from hailbox.stack.plan import Plan

_VALUES_STAY_UNSAID: Final = ("environment", "config")
"""They may hold secrets of the user's, and progress ends up in logs."""


def differences(known: Record | None, now: Record) -> dict[str, str]:
    """By key of `hailbox.yaml`: what changes, as `OLD -> NEW`; nothing for a stack without a record."""
    if known is None:
        return {}
    found: dict[str, str] = {}
    if known.profile != now.profile:
        found["profile"] = f"{known.profile or 'not recorded'} -> {now.profile}"
    if known.without != now.without:
        found["without"] = f"{' '.join(known.without) or 'none'} -> {' '.join(now.without) or 'none'}"
    if known.upstream_credentials != now.upstream_credentials:
        was, will_be = (CREDENTIALS[record.upstream_credentials] for record in (known, now))
        found["credentials"] = f"{was} -> {will_be}"
    found |= _changes("scale", known.scale, now.scale, "the profile's")
    found |= _changes("images", known.images, now.images, OUR_IMAGE)
    for name in sorted({*known.overrides, *now.overrides}):
        before, after = known.overrides.get(name, {}), now.overrides.get(name, {})
        found |= _changes(f"services.{name}", before, after, "none")
    return found


def _changes(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any], absent: str) -> dict[str, str]:
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    return {
        f"{prefix}.{key}": "changed"
        if key in _VALUES_STAY_UNSAID
        else f"{before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(changed)
    }


def tell(context: Context, known: Record | None, planned: Plan) -> None:
    """Report each difference as one step, before anything is changed."""
    for key, text in differences(known, planned.blueprint.record).items():
        context.tell(key, Phase.CHANGING, text)


def lines(known: Record | None, planned: Plan) -> tuple[str, ...]:
    """The differences for a result, a line each."""
    return tuple(f"{key}: {text}" for key, text in differences(known, planned.blueprint.record).items())
