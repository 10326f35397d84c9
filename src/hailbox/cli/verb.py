"""What every command has in common: its options, its context, how its result or its error is shown."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hailbox.cli import envelope
from hailbox.model import names
from hailbox.model.errors import HailboxError, InternalError, UsageError

if TYPE_CHECKING:
    from hailbox.stack.context import Context

Stack = Annotated[
    str | None, typer.Option("--stack", "-s", metavar="NAME", help="Which stack [HAILBOX_STACK; default: hail].")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, also for errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and what was asked for.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_COMMON = {"stack": Stack, "json": Json, "quiet": Quiet, "debug": Debug}
_DEFAULTS: dict[str, Any] = {"stack": None, "json": False, "quiet": False, "debug": False}

INTERRUPTED = 130
"""Exit status after SIGINT, by the shell's convention."""


@dataclass(frozen=True)
class Shown:
    """A result and how to show it."""

    data: Any
    render: Callable[[Any], str] | None
    """None: print nothing."""
    working: bool = True
    """False: what the result says is not what one would want; the exit status is that of NotWorkingError."""
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


def make_context(command: str, stack: str | None, report: Any, **chosen: Any) -> Context:
    """The context of a command: `hailbox.yaml` under the environment under the command line."""
    from hailbox.engine.docker import DockerEngine
    from hailbox.stack.context import Context
    from hailbox.stack.definitions import load_catalog, load_config

    config = load_config(Path.cwd())
    name = stack or os.environ.get("HAILBOX_STACK") or config.stack
    config = dataclasses.replace(config, stack=names.check_stack(name))
    changes: dict[str, Any] = {
        key: {**getattr(config, key), **value} if isinstance(value, dict) else value
        for key, value in chosen.items()
        if value
    }
    config = dataclasses.replace(config, **changes)
    return Context(DockerEngine(), load_catalog(), config, report, command)


def verb(function: Callable[..., Shown]) -> Callable[..., None]:
    """Make a command of a function that takes `make` (call it for the context) and its own options."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    name = function.__name__

    @functools.wraps(function)
    def command(**options: Any) -> None:
        common = {key: options.pop(key) or getattr(before_command, key) for key in _COMMON}
        raise typer.Exit(_run(name, function, options, Choices(**common)))

    parameters = own + [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=kind)
        for key, kind in _COMMON.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _run(name: str, function: Callable[..., Shown], options: dict[str, Any], common: Choices) -> int:
    from hailbox.cli import progress
    from hailbox.model.errors import NotWorkingError

    stack: list[str] = []

    def make(**chosen: Any) -> Context:
        made = make_context(f"hailbox {name}", common.stack, reporter.report, **chosen)
        stack.append(made.stack)
        return made

    try:
        with progress.choose(silent=common.quiet or common.json) as reporter:
            shown = function(make, **options)
        code = 0 if shown.working else NotWorkingError.exit_status
        if common.json:
            _print(envelope.text(envelope.envelope(name, stack[0] if stack else None, shown.data, code)))
        elif shown.render is not None and (shown.essential or not common.quiet):
            _print(shown.render(shown.data))
    except HailboxError as error:
        return _refuse(name, stack, error, common)
    except KeyboardInterrupt:
        _explain_interruption(name, common.stack or (stack[0] if stack else names.DEFAULT_STACK))
        return INTERRUPTED
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        wrapped = InternalError(
            f"hailbox has a defect: {problem}", "run it again with --debug and report what it shows"
        )
        wrapped.__cause__ = error
        return _refuse(name, stack, wrapped, common)
    return code


def _refuse(name: str, stack: list[str], error: HailboxError, common: Choices) -> int:
    if common.debug:
        traceback.print_exception(error)
    if common.json:
        document = envelope.envelope(name, stack[0] if stack else None, None, error.exit_status, [error])
        _print(envelope.text(document))
    else:
        show_error(error)
    return error.exit_status


def show_error(error: HailboxError) -> None:
    """One line (and perhaps a quotation) that says what is wrong, and one that says what to do."""
    print(f"hailbox: {error.problem} [{error.code}]\n  → {error.remedy}", file=sys.stderr)  # noqa: T201


def _explain_interruption(name: str, stack: str) -> None:
    # A second Ctrl-C must not cut this short or leave a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(  # noqa: T201
        f"hailbox: {name} was interrupted; stack {stack} may be half done, which every command copes with\n"
        f"  → carry on with: hailbox --stack {stack} up; see how it is with: hailbox --stack {stack} status",
        file=sys.stderr,
    )


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def pairs(values: list[str] | None, option: str) -> dict[str, int]:
    """`NAME=NUMBER` arguments as a mapping. Raises UsageError."""
    found: dict[str, int] = {}
    for value in values or ():
        key, equals, number = value.partition("=")
        if not (key and equals and number.isascii() and number.isdecimal() and 0 < int(number) < 65536):
            raise UsageError(f"{option} {value!r} is not NAME=NUMBER", f"write for example: {option} chunkd=3")
        found[key] = int(number)
    return found
