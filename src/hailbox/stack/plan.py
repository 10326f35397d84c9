"""What a stack should be: profile, scale, images and ports put together, and how that differs from what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState
from hailbox.images import build as images
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT, Profile, profile_from
from hailbox.model.compose import Blueprint, render, services, volumes
from hailbox.model.errors import UnknownServiceError
from hailbox.model.progress import Phase
from hailbox.observe import Observed
from hailbox.stack import definitions, ownservice, ports

DEFAULT_PROFILE = "s3"

PROFILE_SUFFIXES = (".yaml", ".yml")
"""What tells the file of a user's own profile from the name of one of ours."""

OUR_IMAGE = "ours"
"""In place of an image of the user's own: go back to the one that hailbox builds."""


@dataclass(frozen=True)
class Plan:
    """What to bring about."""

    blueprint: Blueprint
    digests: Mapping[str, str]
    """By replica: what the digest label of its container has to be."""
    substitutions: tuple[ports.Substitution, ...]

    @property
    def file(self) -> str:
        """The text of the Compose file."""
        return render(self.blueprint)


def chosen_profile(context: Context, observed: Observed) -> tuple[Profile, dict[str, int]]:
    """The profile and scale that the user asks for, else those that the stack has, else the default."""
    recorded = observed.record
    name = context.config.profile or recorded.get(names.PROFILE) or DEFAULT_PROFILE
    if name.endswith(PROFILE_SUFFIXES):
        profile = definitions.load_profile(Path(name), context.catalog)
    elif name == recorded.get(names.PROFILE) and names.DEFINITION in recorded:
        profile = profile_from(name, json.loads(recorded[names.DEFINITION]), context.catalog.services)
    else:
        profile = context.catalog.profile(name)
    scale: dict[str, int] = {}
    if profile.name == recorded.get(names.PROFILE):
        for item in recorded.get(names.SCALE, "").split():
            service, _, count = item.partition("=")
            scale[service] = int(count)
    scale |= context.config.scale
    return profile.scaled(scale), scale


def own_images(context: Context, observed: Observed) -> dict[str, str]:
    """By service: the images of the user's own, as chosen now or recorded. Raises UnknownServiceError."""
    pairs = (item.partition("=") for item in observed.record.get(names.IMAGES, "").split())
    chosen = {service: image for service, _, image in pairs} | dict(context.config.images)
    services = set(context.catalog.services) - {ONE_SHOT}
    if unknown := sorted(set(chosen) - services):
        raise UnknownServiceError(
            f"an image is chosen for the unknown service {unknown[0]!r}", f"there are: {', '.join(sorted(services))}"
        )
    return {service: image for service, image in chosen.items() if image != OUR_IMAGE}


def make(context: Context, observed: Observed, references: Mapping[str, str]) -> Plan:
    """Put together what the stack should be, with these images by service. Raises UsageError, PortTakenError."""
    profile, scale = chosen_profile(context, observed)
    assignment = ports.assign(context, profile, observed)
    chosen = ownservice.chosen(context, observed, profile)
    blueprint = Blueprint(
        stack=context.stack,
        profile=profile,
        catalog=context.catalog,
        images=references,
        ports=assignment.ports,
        scale=scale,
        own_images=frozenset(own_images(context, observed)),
        overrides=chosen,
        built=ownservice.build(context, chosen),
        reload_program=ownservice.reload_program(chosen),
    )
    digests = {name: definition["labels"][names.DIGEST] for name, definition in services(blueprint).items()}
    return Plan(blueprint, digests, assignment.substitutions)


def image_references(context: Context, observed: Observed) -> dict[str, str]:
    """The images by service, `credentials` included; builds what is missing, and tells of it."""
    profile, _ = chosen_profile(context, observed)
    own = own_images(context, observed)
    plan = images.plan([service for service in profile.services if service not in own])

    def tell(progress: images.ImageProgress) -> None:
        context.tell(progress.image, Phase(progress.phase.value))

    # The engine lists a container with the name of its image only as long as that is still the name of that image.
    known = {container.image for container in observed.containers}
    built = images.ensure(context.engine, plan, known=known, progress=tell)
    return built | own | {ONE_SHOT: plan.runtime}


def is_cut_off(stack: str, container: Container) -> bool:
    """Whether a service has lost the stack's network, which somebody has removed; the one-shot never had one."""
    service = container.labels.get(names.SERVICE)
    return service not in (None, ONE_SHOT) and names.project(stack) not in container.networks


def is_as_planned(plan: Plan, replica: str, containers: tuple[Container, ...]) -> bool:
    """Whether exactly one container of that replica is there, made from this plan; in whatever state."""
    if len(containers) != 1 or containers[0].labels.get(names.DIGEST) != plan.digests.get(replica):
        return False
    return not is_cut_off(plan.blueprint.stack, containers[0])


def is_current(plan: Plan, replica: str, containers: tuple[Container, ...]) -> bool:
    """The same, and it is in the state in which it should be."""
    if not is_as_planned(plan, replica, containers):
        return False
    state = containers[0].state
    return state is (ContainerState.EXITED if replica == ONE_SHOT else ContainerState.RUNNING)


def lost(plan: Plan, observed: Observed) -> list[str]:
    """The replicas that the stack has had, and whose data is gone: somebody else removed the volume."""
    known = {replica for replica, _ in ports.recorded(observed)}
    present = {volume.labels.get(names.REPLICA) for volume in observed.data_volumes()}
    keeping = {replica.name for replica in plan.blueprint.profile.replicas if replica.name in volumes(plan.blueprint)}
    return sorted(keeping & known - present)


def outdated(plan: Plan, observed: Observed) -> list[str]:
    """The replicas, and other objects by name, for which something has to be done."""
    changed = [replica for replica in plan.digests if not is_current(plan, replica, observed.of(replica))]
    extra = [c.name for c in observed.containers if c.labels.get(names.REPLICA) not in plan.digests]
    expected = {definition["name"] for definition in volumes(plan.blueprint).values()}
    missing = sorted(expected - {volume.name for volume in observed.volumes})
    return changed + extra + missing + ([] if observed.networks else [names.project(observed.stack)])
