"""Options and arguments that several commands have."""

from __future__ import annotations

import copy
import typing
from typing import Annotated, Any, Final

import typer
from typer.models import OptionInfo

from hailbox.cli.progress import Form
from hailbox.model.config import PORT_NUMBERS, REPLICA_COUNTS
from hailbox.model.errors import UsageError

Stack = Annotated[
    str | None, typer.Option("--stack", "-s", metavar="NAME", help="Which stack [HAILBOX_STACK; default: hail].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, also for errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and what was asked for.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Steps = Annotated[
    Form, typer.Option("--progress", help="How to tell of each step on standard error; json: an object on a line.")
]

FILE_HELP: Final = "Choices from this file, not from the hailbox.yaml here or above [HAILBOX_FILE]."
File = Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help=FILE_HELP)]
LongFile = Annotated[str | None, typer.Option("--file", metavar="FILE", help=FILE_HELP)]
"""For a command whose `-f` is another option."""

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME",
        help="Which services, and how connected (see: hailbox profiles), or a YAML file.",
    ),
]
Scale = Annotated[
    list[str] | None, typer.Option("--scale", metavar="SERVICE=N", help="How many replicas of a service; repeatable.")
]
Port = Annotated[
    list[str] | None,
    typer.Option("--port", metavar="REPLICA=PORT", help="Insist on a port of this host; repeatable."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without", metavar="SERVICE", help="Leave a service out; repeatable. `none`: leave out nothing any more."
    ),
]
ImagesFrom = Annotated[
    str | None,
    typer.Option(
        "--images-from", metavar="PREFIX", help="Pull our images from this registry; build what it does not have."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List exactly what would be removed, and remove nothing.")]
Services = Annotated[list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Services or replicas.")]
Timings = Annotated[bool, typer.Option("--timings", help="Show where the time went, step by step.")]


NONE: Final = "none"
"""In place of a service: no one."""

_SHARED: Final = (Json, Quiet, Debug, File, LongFile, Profile, Scale, Port, Without, ImagesFrom, Timings, Steps)


def with_variable(command: str, name: str, annotation: Any) -> Any:
    """The annotation of a command's option, which then can also be given by an environment variable.

    HAILBOX_PROFILE for an option that means the same for all commands, HAILBOX_WAIT_TIMEOUT for one of `wait` alone.
    A list is separated by blanks. Arguments are left as they are.
    """
    kind, *details = typing.get_args(annotation) if typing.get_origin(annotation) is Annotated else (annotation,)
    if not details or not isinstance(details[0], OptionInfo):
        return annotation
    scope = "" if annotation in _SHARED else f"{command}_"
    option = copy.copy(details[0])
    option.envvar = f"HAILBOX_{scope}{name}".upper().replace(" ", "_").replace("-", "_")
    option.show_envvar = False  # one rule for all; the help of each would be twice as long
    return Annotated[kind, option]


def numbers(scale: list[str] | None, port: list[str] | None) -> dict[str, dict[str, int]]:
    """The choices `scale` and `ports` out of these options. Raises UsageError."""
    return {
        "scale": pairs(scale, "--scale", REPLICA_COUNTS, "chunkd=3"),
        "ports": pairs(port, "--port", PORT_NUMBERS, "tabled=8080"),
    }


def left_out(services: list[str] | None) -> tuple[str, ...] | None:
    """The choice `without` out of that option; None where it was not given."""
    if not services:
        return None
    return () if services == [NONE] else tuple(services)


def pairs(values: list[str] | None, option: str, allowed: range, example: str) -> dict[str, int]:
    """`NAME=NUMBER` arguments as a mapping. Raises UsageError."""
    found: dict[str, int] = {}
    for value in values or ():
        key, equals, number = value.partition("=")
        right = number.isascii() and number.isdecimal() and len(number) < 10 and int(number) in allowed
        if not (key and equals and right):
            raise UsageError(
                f"{option} {value!r} is not NAME=NUMBER with a number from {allowed.start} to {allowed.stop - 1}",
                f"write for example: {option} {example}",
            )
        found[key] = int(number)
    return found
