"""`config`: which choices are in force, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hailbox.context import Context
from hailbox.model import overrides
from hailbox.model.errors import HostError
from hailbox.observe import Observed, observe
from hailbox.stack import configfile, ownservice
from hailbox.stack.choice import DEFAULT_PROFILE, choose
from hailbox.stack.configfile import Loaded


@dataclass(frozen=True)
class Setting:
    """One key of `hailbox.yaml`."""

    key: str
    value: Any
    origin: str
    """A place in a file, an environment variable, an option, the stack, or `default`."""


def settings(context: Context, loaded: Loaded, given: Mapping[str, str]) -> tuple[Setting, ...]:
    """The choices in force. `given`: by key, where it comes from if not from the file.

    Without an engine that answers, only what the user chose now counts.
    """
    origins = configfile.origins(loaded, given)
    values = {key: value for key, value in vars(context.config).items() if key != "services"}
    values["services"] = overrides.chosen({}, context.config)
    try:
        observed = observe(context.engine, context.stack)
    except HostError:
        observed = None
    if observed is not None and not observed.empty:
        values, origins = _with_the_stack_s(context, observed, values, origins)
    elif values["profile"] is None:
        values["profile"] = DEFAULT_PROFILE
    return tuple(Setting(key, values[key], origins[key]) for key in values)


def _with_the_stack_s(
    context: Context, observed: Observed, values: dict[str, Any], origins: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the stack keeps from earlier commands, under what is chosen now."""
    choice = choose(context, observed)
    kept = {
        "profile": choice.profile.name,
        "scale": choice.scale,
        "images": choice.own_images,
        "without": choice.without or context.config.without,
        "credentials": choice.credentials,
        "services": ownservice.chosen(context, observed, choice.whole),
    }
    for key, value in kept.items():
        if not values[key] and value:
            values[key], origins[key] = value, f"stack {context.stack}"
        elif key != "profile" and value != values[key]:
            values[key], origins[key] = value, f"{origins[key]}, and stack {context.stack}"
    return values, origins
