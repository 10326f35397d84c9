"""`up --dry-run`: what an `up` would do, without doing any of it."""

from __future__ import annotations

from dataclasses import dataclass

from hailbox.context import Context
from hailbox.observe import observe
from hailbox.stack import ownservice, plan, preflight
from hailbox.stack.choice import choose


@dataclass(frozen=True)
class Preview:
    """What would be made or changed; nothing, if all of it is empty and every service works."""

    stack: str
    profile: str
    images: tuple[str, ...]
    """References that would be built."""
    changed: tuple[str, ...]
    """Replicas that would be made or re-created, and other objects by name."""
    lost: tuple[str, ...]
    """Replicas whose data volume is gone, and which would start empty."""


def preview(context: Context) -> Preview:
    """Look, and plan. Raises what `up` raises before it changes anything."""
    preflight.check_engine(context.engine)
    observed = observe(context.engine, context.stack)
    choice = choose(context, observed)
    references, missing = plan.missing_images(context, observed, choice)
    planned = plan.build(context, observed, choice, references, dry_run=True)
    own = ownservice.images(context, planned.blueprint.overrides).values()
    missing += [image.reference for image in own if context.engine.image(image.reference) is None]
    return Preview(
        context.stack,
        choice.profile.name,
        tuple(missing),
        tuple(plan.outdated(planned, observed)),
        tuple(plan.lost(planned, observed)),
    )
