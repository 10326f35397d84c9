"""Images of the user's own that a stack is to run: each has to be there before anything is changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hailbox.context import Context
from hailbox.model.errors import DiskFullError, HailboxError, OwnImageMissingError, WrongPlatformError
from hailbox.model.progress import Phase
from hailbox.observe import Observed
from hailbox.stack import ownservice
from hailbox.stack.choice import OUR_IMAGE, Choice


@dataclass(frozen=True)
class Wanted:
    """One image that the user has chosen."""

    reference: str
    key: str
    """Where it stands: `images.chunkd`, or `services.chunkd-2.image`."""
    service: str
    recorded: bool
    """Whether the stack's record says so, and no file or option of this command."""


def wanted(context: Context, observed: Observed, choice: Choice) -> list[Wanted]:
    """The images of the user's own, by where they were chosen."""
    found = [
        Wanted(reference, f"images.{service}", service, service not in context.config.images)
        for service, reference in sorted(choice.own_images.items())
        if service in choice.profile.services
    ]
    for name, entry in sorted(ownservice.chosen(context, observed, choice.whole).items()):
        if name.partition("-")[0] in choice.without:
            continue
        if reference := entry.get("image"):
            recorded = name not in context.config.services
            found.append(Wanted(str(reference), f"services.{name}.image", name.partition("-")[0], recorded))
    return found


def ensure(context: Context, observed: Observed, choice: Choice, seen: Collection[str]) -> None:
    """Have them all, pulled where the engine does not have them. seen: references that are known to be there.

    Raises OwnImageMissingError, and what else a pull says: WrongPlatformError, DiskFullError.
    """
    for image in wanted(context, observed, choice):
        if image.reference in seen or context.engine.image(image.reference) is not None:
            continue
        context.tell(image.key, Phase.PULLING, image.reference)
        try:
            context.engine.pull_image(image.reference)
        except (DiskFullError, WrongPlatformError):
            raise
        except HailboxError as error:
            raise missing(context.stack, image) from error


def missing(stack: str, image: Wanted) -> OwnImageMissingError:
    """The error for an image that is not there."""
    origin = "the stack keeps that choice" if image.recorded else "hailbox.yaml or an option says so"
    return OwnImageMissingError(
        f"the image {image.reference} that {image.key} names ({origin}) is not on the engine, and cannot be pulled",
        f"build or pull it, and run: hailbox --stack {stack} up; or go back to ours with {image.key}: {OUR_IMAGE} in "
        f"hailbox.yaml: the image of {image.service} that hailbox builds keeps data of its own where yours stored it "
        "in another form",
    )
