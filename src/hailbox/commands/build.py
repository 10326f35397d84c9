"""`build` and `compose`: the images and the Compose file of a stack, without starting anything."""

from __future__ import annotations

from dataclasses import dataclass

from hailbox.context import Context
from hailbox.observe import observe
from hailbox.stack import plan, preflight


@dataclass(frozen=True)
class BuildResult:
    """The images by service."""

    images: dict[str, str]


def build(context: Context) -> BuildResult:
    """Build the images of the stack's profile that are missing or have changed."""
    preflight.check_engine(context.engine)
    return BuildResult(plan.image_references(context, observe(context.engine, context.stack)))


def compose(context: Context) -> str:
    """The Compose file that `up` would use now; its images are built, so that Compose alone can run it."""
    preflight.check_engine(context.engine)
    observed = observe(context.engine, context.stack)
    return plan.make(context, observed, plan.image_references(context, observed)).file
