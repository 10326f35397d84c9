"""`build` and `compose`: the images and the Compose file of a stack, without starting anything."""

from __future__ import annotations

from dataclasses import dataclass

from hailbox.context import Context
from hailbox.images import registry
from hailbox.observe import observe
from hailbox.stack import plan, preflight
from hailbox.stack.choice import choose


@dataclass(frozen=True)
class BuildResult:
    """The images by service."""

    images: dict[str, str]
    pushed: tuple[str, ...] = ()
    """The names in the registry of those that were pushed."""


def build(context: Context, *, push: str | None = None) -> BuildResult:
    """Build the images of the stack's profile that are missing or have changed; push ours below the prefix `push`.

    Raises UsageError if that is no prefix, and ImageError.
    """
    prefix = registry.check(push) if push else None
    preflight.check_engine(context.engine)
    observed = observe(context.engine, context.stack)
    references = plan.image_references(context, observed, choose(context, observed))
    pushed = plan.push_images(context, references, prefix) if prefix else ()
    return BuildResult(references, pushed)


def compose(context: Context) -> str:
    """The Compose file that `up` would use now; its images are built, so that Compose alone can run it."""
    preflight.check_engine(context.engine)
    observed = observe(context.engine, context.stack)
    choice = choose(context, observed)
    return plan.build(context, observed, choice, plan.image_references(context, observed, choice)).file
