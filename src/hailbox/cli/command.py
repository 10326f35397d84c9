"""What every command has in common: its options, its context, how its result or its error is shown."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer

from hailbox.cli import STARTED, interruption, output, progress, render
from hailbox.cli.options import Debug, File, Json, LongFile, Quiet, Stack, Steps, with_variable
from hailbox.cli.output import Invocation
from hailbox.cli.progress import Form
from hailbox.model import names
from hailbox.model.errors import HailboxError, UsageError

if TYPE_CHECKING:
    from hailbox.context import Context
    from hailbox.doctor.report import Examination
    from hailbox.model.config import Config
    from hailbox.stack.configfile import Loaded

_COMMON: Final = {"stack": Stack, "file": File, "json": Json, "quiet": Quiet, "debug": Debug, "progress": Steps}
_DEFAULTS: Final[dict[str, Any]] = {
    "stack": None,
    "file": None,
    "json": False,
    "quiet": False,
    "debug": False,
    "progress": Form.AUTO,
}


class ContextFor(Protocol):
    """Makes the context of a command, with the real engine, from what the user chose."""

    def __call__(self, **chosen: Any) -> Context:
        """`chosen`: fields of `Config` that options of the command set. Raises UsageError."""


@dataclass(frozen=True)
class CommandOutput:
    """A result and how to show it."""

    data: Any
    render: Callable[[Any], str] | None
    """None: print nothing."""
    error: HailboxError | None = None
    """What the result shows to be wrong; printed after it, and the exit status is the error's."""
    essential: bool = False
    """Whether `--quiet` prints it, too: it is what the command is for."""
    status: int = 0
    """The exit status where there is no error: of a program that the command ran."""


def diagnosed(examination: Examination) -> CommandOutput:
    """A diagnosis and its first finding, which decides the exit status."""
    first = examination.errors[0] if examination.errors else None
    return CommandOutput(examination.report, render.report, error=first, essential=True)


@dataclass
class Choices:
    """What was given before the command's name; the command's own options win."""

    stack: str | None = None
    file: str | None = None
    json: bool = False
    quiet: bool = False
    debug: bool = False
    progress: Form = Form.AUTO


before_command: Final = Choices()


@dataclass(frozen=True)
class Traits:
    """What the program has to know of a command."""

    changes: bool
    """Whether it changes the stack, so that one that was interrupted may leave it half done."""
    about_stack: bool
    """Whether it is about one stack."""


def load_file(file: str | None) -> Loaded:
    """The choices of the file of that name, else of the nearest `hailbox.yaml`. Raises ConfigurationError."""
    from hailbox.model.config import Config
    from hailbox.stack import configfile

    named = file or before_command.file or os.environ.get("HAILBOX_FILE")
    here = _here()
    # Without a current directory only a file that is named can be read.
    if not (here or named):
        return configfile.Loaded(Config())
    return configfile.load(here or Path("/"), Path(named) if named else None)


def choose(stack: str | None, file: str | None = None, **chosen: Any) -> Config:
    """The user's choices: `hailbox.yaml` under the environment under the command line. Raises UsageError."""
    config = load_file(file).config
    name = next((given for given in (stack, os.environ.get("HAILBOX_STACK")) if given is not None), config.stack)
    if not name:
        raise UsageError(
            f"{'--stack' if stack is not None else 'HAILBOX_STACK'} is given, but empty",
            "name the stack, or leave it out for the one that hailbox.yaml names, else the default one",
        )
    changes: dict[str, Any] = {
        key: {**getattr(config, key), **value} if isinstance(value, dict) else value
        for key, value in chosen.items()
        if value or value == ()
    }
    return dataclasses.replace(config, stack=names.check_stack(name), **changes)


def _here() -> Path | None:
    """The current directory; None where it was removed, or may not be entered."""
    with contextlib.suppress(OSError):
        return Path.cwd()
    return None


def make_context(command: str, config: Config, report: Any) -> Context:
    """The context of a command, with the real engine."""
    from hailbox.context import Context
    from hailbox.engine.docker import DockerEngine
    from hailbox.stack.definitions import load_catalog

    return Context(DockerEngine(), load_catalog(), config, report, command, started=STARTED)


def command(
    app: typer.Typer | None = None,
    *,
    changes: bool = False,
    about_stack: bool = True,
    name: str | None = None,
    takes_all: bool = False,
) -> Callable[[Callable[..., CommandOutput]], Callable[..., None]]:
    """Make a command of a function that takes `context_for`, if it wants it `invocation`, and its own options.

    `app`: the group of commands that it belongs to, if any. `name`: what the user types, where that is not the
    function's name. `takes_all`: whether everything after its first argument is the command's, also what looks like
    an option of ours. For the rest see Traits.
    """
    traits = Traits(changes, about_stack)

    def decorate(function: Callable[..., CommandOutput]) -> Callable[..., None]:
        typed = name or function.__name__.replace("_", "-")
        whole = f"{app.info.name} {typed}" if app else typed
        owner = app or typer.Typer(rich_markup_mode=None, add_completion=False)
        settings = {"allow_interspersed_args": False} if takes_all else {}
        text = function.__doc__ if app else sys.modules[function.__module__].__doc__
        called = _called(whole, function, traits)
        owner.command(typed, help=text, context_settings=settings)(called)
        called.app = owner  # type: ignore[attr-defined]
        return called

    return decorate


def _called(whole: str, function: Callable[..., CommandOutput], traits: Traits) -> Callable[..., None]:
    """The function that typer calls: `function` with the common options."""
    known = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    own = [parameter for parameter in known if parameter.name != "invocation"]

    common_options = _common_options(own)

    def called(**options: Any) -> None:
        given = {key: options.pop(key) for key in common_options}
        # An empty text is no choice, but not the same as none.
        common = {
            key: getattr(before_command, key) if given.get(key) in (None, False) else given[key] for key in _COMMON
        }
        raise typer.Exit(_run(whole, function, traits, options, Choices(**common)))

    parameters = [p.replace(annotation=with_variable(whole, p.name, p.annotation)) for p in own] + [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=kind)
        for key, kind in common_options.items()
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__wrapped__ = function  # type: ignore[attr-defined]
    return called


def _common_options(own: Sequence[inspect.Parameter]) -> dict[str, Any]:
    """The common options by name, less what a command's own ones take: `-f` or `--file`."""
    details = [detail for parameter in own for detail in typing.get_args(parameter.annotation)]
    taken = {word for detail in details for word in getattr(detail, "param_decls", None) or ()}
    found: dict[str, Any] = {
        key: with_variable("", key, kind) if key in ("json", "quiet", "debug", "progress") else kind
        for key, kind in _COMMON.items()
    }
    if "--file" in taken or any(parameter.name == "file" for parameter in own):
        del found["file"]
    elif "-f" in taken:
        found["file"] = LongFile
    return found


def _run(
    name: str, function: Callable[..., CommandOutput], traits: Traits, options: dict[str, Any], common: Choices
) -> int:
    invocation = Invocation(name, common.json, common.debug, changes=traits.changes, file=common.file)
    interruption.explain(invocation)

    def context_for(**chosen: Any) -> Context:
        config = choose(common.stack, common.file, **chosen)
        if traits.about_stack:
            invocation.stack = config.stack
        return make_context(f"hailbox {name}", config, reporter.report)

    if "invocation" in inspect.signature(function).parameters:
        options = options | {"invocation": invocation}
    try:
        with progress.choose(silent=common.quiet or common.json, form=common.progress) as reporter:
            shown = function(context_for, **options)
        if common.json:
            output.result(invocation, shown.data, shown.error)
        elif shown.render is not None and (shown.essential or not common.quiet):
            output.write(shown.render(shown.data))
        if shown.error is not None and not common.json:
            output.error(invocation, shown.error)
    except HailboxError as error:
        output.error(invocation, error)
        return error.exit_status
    except output.ReaderGoneError:
        return 0
    except Exception as error:
        from hailbox.cli import unforeseen  # here, as few users want it

        wrapped = unforeseen.told(error)
        wrapped.__cause__ = error
        output.error(invocation, wrapped)
        return wrapped.exit_status
    return shown.error.exit_status if shown.error else shown.status
