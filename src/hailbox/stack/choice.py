"""What a stack should be made of: what the user asks for, else what the stack is, else the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hailbox.context import Context
from hailbox.model.catalog import ONE_SHOT, Profile, profile_from
from hailbox.model.errors import ConfigurationError, RecordGoneError, UnknownServiceError, UsageError
from hailbox.model.record import CREDENTIALS, UPSTREAM, Record
from hailbox.observe import Observed
from hailbox.stack import definitions

DEFAULT_PROFILE: Final = "s3"

PROFILE_SUFFIXES: Final = (".yaml", ".yml")
"""What tells the file of a user's own profile from the name of one of ours."""

OUR_IMAGE: Final = "ours"
"""In place of an image of the user's own: go back to the one that hailbox builds."""


@dataclass(frozen=True)
class Choice:
    """Profile, scale and own images of a stack."""

    profile: Profile
    """With the numbers of replicas in `scale`, and without the services that are left out."""
    whole: Profile
    """With these, too."""
    without: tuple[str, ...]
    """The services that are left out."""
    scale: Mapping[str, int]
    own_images: Mapping[str, str]
    """By service: an image of the user's own."""
    credentials: str
    """How cld and chunkd know their users, one of CREDENTIALS."""


def choose(context: Context, observed: Observed) -> Choice:
    """Work it out. Raises UnknownProfileError, UnknownServiceError, ConfigurationError, RecordGoneError."""
    profile = _profile(context, observed)
    record = observed.record
    scale = dict(record.scale) if record and record.profile == profile.name else {}
    scale |= context.config.scale
    own = _own_images(context, observed)
    whole = profile.scaled(scale)
    without = _left_out(context, record, whole)
    replicas = tuple(replica for replica in whole.replicas if replica.service not in without)
    credentials = context.config.credentials or _kept_credentials(record, own)
    return Choice(replace(whole, replicas=replicas), whole, without, scale, own, credentials)


def _left_out(context: Context, record: Record | None, whole: Profile) -> tuple[str, ...]:
    """The services that are left out now. Raises UnknownServiceError, and UsageError where others need one."""
    chosen = context.config.without
    wanted = chosen if chosen is not None else record.without if record else ()
    without = tuple(service for service in whole.services if service in wanted)
    if unknown := [service for service in wanted if service not in without]:
        if chosen is None:
            return without  # of another profile, which the stack had
        place = getattr(chosen, "place", None)
        raise UnknownServiceError(
            f"{f'{place}: ' if place else ''}profile {whole.name} has no service {unknown[0]!r} to leave out",
            f"it has: {', '.join(whole.services)}",
        )
    for service in whole.services:
        needed = [other for other in context.catalog.services[service].needs if other in without]
        if service not in without and needed:
            raise _cannot_be_left_out(
                chosen,
                f"{service} needs {needed[0]}, which is left out",
                f"leave {service} out, too: --without {needed[0]} --without {service}",
                f"leave {service} out, too: without: [{', '.join((*without, service))}]",
            )
    if len(without) == len(whole.services):
        remedy = "leave one in, or run: hailbox down"
        raise _cannot_be_left_out(chosen, f"all services of profile {whole.name} are left out", remedy, remedy)
    return without


def _cannot_be_left_out(chosen: object, problem: str, remedy: str, in_file: str) -> UsageError:
    """The error, with its place and the remedy `in_file` where a file asked for it."""
    place = getattr(chosen, "place", None)  # of a document.Listed; its module loads yaml, which few commands need
    return ConfigurationError(f"{place}: {problem}", in_file) if place else UsageError(problem, remedy)


def _kept_credentials(record: Record | None, own_images: Mapping[str, str]) -> str:
    """How cld and chunkd know their users where it is not chosen now: as the stack has it."""
    if record is None or not record.upstream_credentials:
        return CREDENTIALS[0]
    # Where it is not recorded it came with the own images, and goes with them.
    return UPSTREAM if record.credentials or own_images else CREDENTIALS[0]


def _profile(context: Context, observed: Observed) -> Profile:
    """The profile, with the numbers of replicas that it names. What was not asked to change stays."""
    record, catalog = observed.record, context.catalog
    if name := context.config.profile:
        if name.endswith(PROFILE_SUFFIXES):
            return definitions.load_profile(Path(name), catalog)
    else:
        name = record.profile if record and record.profile else _by_volumes(context, observed)
    if record and name == record.profile and record.definition is not None:
        return profile_from(name, record.definition, catalog.services)
    return catalog.profile(name)


def _by_volumes(context: Context, observed: Observed) -> str:
    """The profile of a stack without a record: that of which it has the data. Raises RecordGoneError."""
    data = observed.with_data

    def keepers(profile: Profile) -> set[str]:
        catalog = context.catalog
        return {catalog.keeper(r.name) for r in profile.replicas if catalog.services[r.service].data}

    fitting = [name for name, profile in sorted(context.catalog.profiles.items()) if keepers(profile) == data]
    if len(fitting) == 1:
        return fitting[0]
    # A first `up` that was killed may have made some of the volumes.
    if data <= keepers(context.catalog.profile(DEFAULT_PROFILE)):
        return DEFAULT_PROFILE
    known = ", ".join(fitting or sorted(context.catalog.profiles))
    raise RecordGoneError(
        f"nothing is left that says which profile stack {context.stack} has; it has the data of "
        f"{', '.join(sorted(data))}",
        f"name the profile, one of {known}: hailbox --stack {context.stack} up --profile NAME; its data stays",
    )


def _own_images(context: Context, observed: Observed) -> dict[str, str]:
    recorded = observed.record.images if observed.record else {}
    chosen = dict(recorded) | dict(context.config.images)
    services = set(context.catalog.services) - {ONE_SHOT}
    if unknown := sorted(set(chosen) - services):
        raise UnknownServiceError(
            f"an image is chosen for the unknown service {unknown[0]!r}", f"there are: {', '.join(sorted(services))}"
        )
    return {service: image for service, image in chosen.items() if image != OUR_IMAGE}
