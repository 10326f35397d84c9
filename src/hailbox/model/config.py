"""What the user chose: the command line over the environment over `hailbox.yaml` over the defaults.

`Config` is the one description of `hailbox.yaml`: `hailbox.model.typed` reads files by it, and `hailbox.model.schema`
makes the JSON Schema and the file that `hailbox init` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from hailbox.model import names
from hailbox.model.keys import Between, Matching, Named, key

if TYPE_CHECKING:
    from hailbox.model.document import Document

REPLICA_COUNTS: Final = range(1, 33)
"""How many replicas a service may have."""

PORT_NUMBERS: Final = range(1, 65536)

SERVICES: Final = ("cld", "chunkd", "tabled", "iwhd")
CONFIGURATION_FILES: Final = {"chunkd": "chunkd.conf", "tabled": "tabled.conf", "iwhd": "iwhd.json"}
"""By service: the file that `config` replaces. cld has options only: `command`."""

_REPLICA: Final = rf"({'|'.join(SERVICES)})-[1-9][0-9]?"
_OF_SERVICES: Final = Named(SERVICES)
_OF_REPLICAS: Final = Named(SERVICES, _REPLICA)
_IMAGE: Final = Matching(r"[^\s@=]+(@sha256:[0-9a-f]{64})?", "an image's name, such as my/chunkd:1")


@dataclass(frozen=True)
class Build:
    """How an image is built, as in Compose."""

    context: str = key("The directory that is sent to the builder.", default=".")
    dockerfile: str | None = key("The Dockerfile, relative to the context.")
    target: str | None = key("The stage to build.")
    args: Mapping[str, str | int | float] = key("Build arguments.", factory=dict)


@dataclass(frozen=True)
class Limits:
    """What a container may use at most."""

    memory: Annotated[str, Matching(r"[1-9][0-9]*[kmg]b?", "a size, such as 512m or 2g")] | None = key(
        "Memory.", example="512m"
    )
    cpus: Annotated[float, Between(0.01, 1024)] | None = key("Processors.", example="0.5")
    pids: Annotated[int, Between(1, 1 << 20)] | None = key("Processes and threads.", example="256")


@dataclass(frozen=True)
class Override:
    """What a service or replica has of the user's own."""

    image: Annotated[str, _IMAGE] | None = key(
        "An image in place of ours; `ours` goes back to ours.", example="my/chunkd:1"
    )
    build: str | Build | None = key(
        "A directory with a Dockerfile, or Compose's long form; built by every `up`.", example="./iwhd"
    )
    source: str | None = key(
        "A checkout whose src/haild runs in place of the image's; a saved change restarts the daemon.", example="."
    )
    config: str | None = key("A file in place of the daemon's configuration file.", example="./tabled.conf")
    command: tuple[str | int | float, ...] | None = key(
        "Arguments in place of the daemon's.", example="[-F, -E, -D, 2]"
    )
    environment: Mapping[str, str | int | float] = key("Environment variables.", factory=dict, example="{DEBUG: 1}")
    limits: Limits | None = key("What the container may use at most.", example="{memory: 1g, cpus: 2}")


@dataclass(frozen=True)
class Config:
    """A user's choices, all of them optional."""

    stack: Annotated[str, Matching(names.STACK_NAME, names.STACK_NAME_RULE)] = key(
        "Which stack.", default=names.DEFAULT_STACK, example="hail"
    )
    profile: str | None = key(
        "Which services there are and how they are connected; by default what the stack has, else s3.", example="s3"
    )
    scale: Annotated[
        Mapping[str, Annotated[int, Between(REPLICA_COUNTS.start, REPLICA_COUNTS.stop - 1)]], _OF_SERVICES
    ] = key("How many replicas of a service.", factory=dict, example="{chunkd: 3}")
    ports: Annotated[
        Mapping[str, Annotated[int, Between(PORT_NUMBERS.start, PORT_NUMBERS.stop - 1)]], _OF_REPLICAS
    ] = key(
        "By service or replica: the port on the host that you insist on.", factory=dict, example="{tabled-1: 18080}"
    )
    images: Annotated[Mapping[str, Annotated[str, _IMAGE]], _OF_SERVICES] = key(
        "By service: short for `services: {SERVICE: {image: ...}}`.", factory=dict, example="{chunkd: my/chunkd}"
    )
    without: tuple[Literal["cld", "chunkd", "tabled", "iwhd"], ...] | None = key(
        "Services that are left out, with their data kept; `hailbox config SERVICE` prints how one on this machine "
        "takes part.",
        example="[iwhd]",
    )
    seed: str | None = key(
        "What a new stack begins with, and a reset one: a directory with tabled/BUCKET/KEY and iwhd/BUCKET/KEY, or "
        "a program that gets the variables of `hailbox env`.",
        example="./seed",
    )
    credentials: Literal["random", "upstream"] | None = key(
        "How cld and chunkd know their users. random: by secrets. upstream: as the originals, whose secret is the "
        "user's name, for programs that were made for these; by default what the stack has, else random.",
        example="upstream",
    )
    images_from: Annotated[str, Matching(names.REGISTRY_PREFIX, names.REGISTRY_PREFIX_RULE)] | None = key(
        "Where our images are pulled from before they are built: what `hailbox build --push` was given.",
        example="registry.example/team/hailbox",
    )
    services: Annotated[Mapping[str, Override], _OF_REPLICAS] = key(
        "By service or replica: what it has of your own.", factory=dict, example="{tabled: {config: ./tabled.conf}}"
    )


def from_document(document: Document) -> Config:
    """The choices in a file. Raises ConfigurationError with file, line and column of the first wrong one."""
    from hailbox.model.typed import read

    config = read(document, Config)
    _refuse_images_twice(document, config)
    of_services = {name: override.image for name, override in config.services.items() if override.image}
    config = replace(config, images={**config.images, **{n: i for n, i in of_services.items() if n in SERVICES}})
    _refuse_ports_twice(document, config)
    _refuse_contradictions(document, config)
    return config


def _refuse_images_twice(document: Document, config: Config) -> None:
    for name in config.images:
        if name in config.services and config.services[name].image:
            document.refuse(
                ("images", name), f"images.{name} and services.{name}.image both choose an image", "keep one of them"
            )


def _refuse_ports_twice(document: Document, config: Config) -> None:
    holders: dict[int, str] = {}
    for name, number in config.ports.items():
        if number in holders:
            document.refuse(
                ("ports", name),
                f"ports.{name} and ports.{holders[number]} are both {number}",
                "choose another port for one of them",
            )
        holders[number] = name


def _refuse_contradictions(document: Document, config: Config) -> None:
    """Each of `image`, `build` and `source` says which program runs; `config` wants a program that reads a file."""
    for name, override in config.services.items():
        given = [word for word in ("image", "build", "source") if getattr(override, word)]
        if len(given) > 1:
            document.refuse(
                ("services", name, given[1]), f"services.{name} has {given[0]} and {given[1]}", "keep one of them"
            )
        if override.config and name.partition("-")[0] not in CONFIGURATION_FILES:
            document.refuse(
                ("services", name, "config"),
                f"services.{name} has no configuration file",
                "use `command` for options",
            )
