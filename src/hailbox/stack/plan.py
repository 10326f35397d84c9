"""What a stack should be: profile, scale, images and ports put together, and how that differs from what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hailbox.context import Context
from hailbox.engine.port import Container, ContainerState, Network, Volume
from hailbox.images import build as images
from hailbox.images import registry
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.compose import Blueprint, render, services, volumes
from hailbox.model.progress import Phase
from hailbox.observe import Observed
from hailbox.stack import ownservice, ports
from hailbox.stack.choice import Choice, choose


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


def build(
    context: Context, observed: Observed, choice: Choice, references: Mapping[str, str], *, dry_run: bool = False
) -> Plan:
    """Put together what the stack should be, with these images by service. Raises UsageError, PortTakenError.

    Images of the user's own directories are built, unless it is a `dry_run`. Raises ImageError.
    """
    assignment = ports.assign(context, choice.profile, observed, choice.without)
    own = ownservice.chosen(context, observed, choice.whole)
    own_images = ownservice.images(context, own)
    if not dry_run:
        ownservice.build(context, own_images)
    blueprint = Blueprint(
        stack=context.stack,
        profile=choice.profile,
        catalog=context.catalog,
        images=references,
        ports=assignment.ports,
        scale=choice.scale,
        own_images=frozenset(choice.own_images),
        credentials=choice.credentials,
        without=choice.without,
        overrides=own,
        built={name: image.reference for name, image in own_images.items()},
        reload_program=ownservice.reload_program(own),
        known=observed.record,
    )
    digests = {name: definition["labels"][names.DIGEST] for name, definition in services(blueprint).items()}
    planned = Plan(blueprint, digests, assignment.substitutions)
    things: tuple[Volume | Network, ...] = (*observed.volumes, *observed.networks)
    kept = {thing.name: _ours(thing.labels) for thing in things}
    records = _kept_records(planned, observed)
    return replace(planned, blueprint=replace(blueprint, kept=kept, kept_records=records))


def _kept_records(planned: Plan, observed: Observed) -> dict[str, dict[str, str]]:
    """By replica that need not change: the label with its record, which stays, if it has one.

    Where the record changes, and no replica has to be re-created for it, the last one is: the one-shot container
    alone must not carry the newest record, as it has ended, and whatever prunes ended containers takes it.
    """
    blueprint, record = planned.blueprint, planned.blueprint.record.text()
    kept: dict[str, dict[str, str]] = {}
    carrying = False
    for replica in blueprint.profile.replicas:
        containers = observed.of(replica.name)
        if not is_as_planned(planned, replica.name, containers):
            carrying = True
            continue
        labels = containers[0].labels
        carrying = carrying or labels.get(names.RECORD) == record
        kept[replica.name] = {key: labels[key] for key in (names.RECORD,) if key in labels}
    if not carrying and observed.record is not None:
        kept.pop(blueprint.profile.replicas[-1].name, None)
    return kept


def _ours(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name.startswith(names.PREFIX)}


def image_references(context: Context, observed: Observed, choice: Choice) -> dict[str, str]:
    """The images by service, `credentials` included; builds what is missing, and tells of it."""
    plan, references = _image_plan(choice)
    shared = registry.check(context.config.images_from) if context.config.images_from else None
    images.ensure(context.engine, plan, known=images_seen(observed), shared=shared, progress=_teller(context))
    return references


def push_images(context: Context, references: Mapping[str, str], prefix: str) -> tuple[str, ...]:
    """Push those of these images that are ours; their names in the registry. Raises ImageError."""
    wanted = sorted({reference for reference in references.values() if reference.startswith("hailbox/")})
    return tuple(registry.push(context.engine, prefix, wanted, _teller(context)))


def _teller(context: Context) -> images.Report:
    def tell(progress: images.ImageProgress) -> None:
        context.tell(progress.image, Phase(progress.phase.value))

    return tell


def runtime_image(context: Context, observed: Observed) -> str:
    """The image of the stack's helpers and its one-shot container; built if it is missing."""
    return image_references(context, observed, choose(context, observed))[ONE_SHOT]


def missing_images(context: Context, observed: Observed, choice: Choice) -> tuple[dict[str, str], list[str]]:
    """The images by service, and those of ours that would have to be built; builds none."""
    plan, references = _image_plan(choice)
    wanted = {plan.runtime, *plan.services.values()} - images_seen(observed)
    return references, sorted(reference for reference in wanted if context.engine.image(reference) is None)


def _image_plan(choice: Choice) -> tuple[images.ImagePlan, dict[str, str]]:
    """The images of ours that are needed, and all references by service."""
    own = {service: image for service, image in choice.own_images.items() if service in choice.profile.services}
    plan = images.plan([service for service in choice.profile.services if service not in own])
    return plan, {**plan.services, **own, ONE_SHOT: plan.runtime}


def images_seen(observed: Observed) -> set[str]:
    """References that are there: the engine lists a container with the name of its image only while that holds."""
    return {container.image for container in observed.containers}


def unchanged(context: Context, observed: Observed, choice: Choice) -> Plan | None:
    """The plan of a stack that is as it should be; None where anything has to be made, built or changed."""
    if any("build" in entry for entry in ownservice.chosen(context, observed, choice.whole).values()):
        return None  # whether its image has changed shows only when its directory is packed
    images_plan, references = _image_plan(choice)
    if not {*images_plan.services.values(), images_plan.runtime} <= images_seen(observed):
        return None
    planned = build(context, observed, choice, references)
    return planned if not outdated(planned, observed) and not lost(planned, observed) else None


def is_cut_off(stack: str, container: Container) -> bool:
    """Whether a service has lost the stack's network, which was removed; the one-shot never had one."""
    service = container.labels.get(names.SERVICE)
    return service not in (None, ONE_SHOT) and names.project(stack) not in container.networks


def is_as_planned(plan: Plan, replica: str, containers: tuple[Container, ...]) -> bool:
    """Whether exactly one container of that replica is there, made from this plan; in whatever state."""
    if len(containers) != 1 or containers[0].labels.get(names.DIGEST) != plan.digests.get(replica):
        return False
    return not is_cut_off(plan.blueprint.stack, containers[0])


def is_current(plan: Plan, replica: str, containers: tuple[Container, ...]) -> bool:
    """Whether it is as planned, and in the state in which it should be."""
    if not is_as_planned(plan, replica, containers):
        return False
    state = containers[0].state
    return state is (ContainerState.EXITED if replica == ONE_SHOT else ContainerState.RUNNING)


def lost(plan: Plan, observed: Observed) -> list[str]:
    """The replicas that the stack has had, and whose data is gone: hailbox has not removed the volume."""
    known = {replica for replica, _ in observed.ports}
    present = observed.with_data
    keeping = {replica.name for replica in plan.blueprint.profile.replicas if replica.name in volumes(plan.blueprint)}
    return sorted(keeping & known - present)


def outdated(plan: Plan, observed: Observed) -> list[str]:
    """The replicas, and other objects by name, for which something has to be done."""
    changed = [replica for replica in plan.digests if not is_current(plan, replica, observed.of(replica))]
    extra = [c.name for c in observed.containers if c.labels.get(names.REPLICA) not in plan.digests]
    expected = {definition["name"] for definition in volumes(plan.blueprint).values()}
    missing = sorted(expected - {volume.name for volume in observed.volumes})
    return changed + extra + missing + ([] if observed.networks else [names.project(observed.stack)])
