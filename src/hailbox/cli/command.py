"""What every command has in common: its options, its context, how its result or its error is shown."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hailbox.cli import STARTED, interruption, output
from hailbox.model import names
from hailbox.model.errors import HailboxError, InternalError, UsageError

if TYPE_CHECKING:
    from hailbox.context import Context
    from hailbox.model.config import Config

Stack = Annotated[
    str | None, typer.Option("--stack", "-s", metavar="NAME", help="Which stack [HAILBOX_STACK; default: hail].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, also for errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and what was asked for.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_COMMON = {"stack": Stack, "json": Json, "quiet": Quiet, "debug": Debug}
_DEFAULTS: dict[str, Any] = {"stack": None, "json": False, "quiet": False, "debug": False}

_ABOUT_NO_STACK = {"ls", "profiles"}


@dataclass(frozen=True)
class Shown:
    """A result and how to show it."""

    data: Any
    render: Callable[[Any], str] | None
    """None: print nothing."""
    error: HailboxError | None = None
    """What the result shows to be wrong; told behind it, and the exit status is the error's."""
    essential: bool = False
    """Whether `--quiet` prints it, too: it is what the command is for."""


@dataclass
class Choices:
    """What was given before the command's name; the command's own options win."""

    stack: str | None = None
    json: bool = False
    quiet: bool = False
    debug: bool = False


before_command = Choices()


def choose(stack: str | None, **chosen: Any) -> Config:
    """The user's choices: `hailbox.yaml` under the environment under the command line. Raises UsageError."""
    from hailbox.stack.definitions import load_config

    config = load_config(Path.cwd())
    name = stack or os.environ.get("HAILBOX_STACK") or config.stack
    changes: dict[str, Any] = {
        key: {**getattr(config, key), **value} if isinstance(value, dict) else value
        for key, value in chosen.items()
        if value
    }
    return dataclasses.replace(config, stack=names.check_stack(name), **changes)


def make_context(command: str, config: Config, report: Any) -> Context:
    """The context of a command, with the real engine."""
    from hailbox.context import Context
    from hailbox.engine.docker import DockerEngine
    from hailbox.stack.definitions import load_catalog

    return Context(DockerEngine(), load_catalog(), config, report, command, started=STARTED)


def verb(function: Callable[..., Shown], name: str | None = None) -> Callable[..., None]:
    """Make a command of a function that takes `make` (call it for the context), if it wants so `asked` (the
    `output.Asked`), and its own options.

    `name` is what the user types, where that is not the function's name: `fault ls`.
    """
    known = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    own = [parameter for parameter in known if parameter.name != "asked"]
    typed = name or function.__name__

    @functools.wraps(function)
    def command(**options: Any) -> None:
        common = {key: options.pop(key) or getattr(before_command, key) for key in _COMMON}
        raise typer.Exit(_run(typed, function, options, Choices(**common)))

    parameters = own + [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=kind)
        for key, kind in _COMMON.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _run(name: str, function: Callable[..., Shown], options: dict[str, Any], common: Choices) -> int:
    from hailbox.cli import progress

    asked = output.Asked(name, common.json, common.debug)
    interruption.explain(asked)

    def make(**chosen: Any) -> Context:
        config = choose(common.stack, **chosen)
        if name not in _ABOUT_NO_STACK:
            asked.stack = config.stack
        return make_context(f"hailbox {name}", config, reporter.report)

    if "asked" in inspect.signature(function).parameters:
        options = options | {"asked": asked}
    try:
        with progress.choose(silent=common.quiet or common.json) as reporter:
            shown = function(make, **options)
        if common.json:
            output.result(asked, shown.data, shown.error)
        elif shown.render is not None and (shown.essential or not common.quiet):
            output.write(shown.render(shown.data))
        if shown.error is not None and not common.json:
            output.error(asked, shown.error)
    except HailboxError as error:
        output.error(asked, error)
        return error.exit_status
    except output.ReaderGoneError:
        return 0
    except Exception as error:
        wrapped = InternalError(
            f"hailbox has a defect: {type(error).__name__}: {error}",
            "run it again with --debug and report what it shows",
        )
        wrapped.__cause__ = error
        output.error(asked, wrapped)
        return wrapped.exit_status
    return shown.error.exit_status if shown.error else 0


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
