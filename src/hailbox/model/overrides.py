"""What services and replicas have of the user's own, and how it changes their Compose definitions.

`Override`s of `hailbox.yaml` are kept as JSON in a label of the stack, so a command elsewhere makes the same plan.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from hailbox.model.config import CONFIGURATION_FILES, SERVICES, Config, Override

Recorded = Mapping[str, Mapping[str, Any]]
"""By service or replica: the keys of `Override` that have a value."""

OURS: Final = "ours"
"""In place of an image of the user's own: the one that hailbox builds."""
NO_JSON: Final = (ValueError, OverflowError, RecursionError)
"""What reading JSON raises where a label holds none: OverflowError at int() of its Infinity, RecursionError at
brackets nested without end."""
_PACKAGE: Final = "/opt/hailbox/haild"
"""Where our images have the daemons' code."""
_LIMITS: Final = {"memory": "mem_limit", "cpus": "cpus", "pids": "pids_limit"}
_SCALAR: Final = (str, int, float)


def recorded(label: str | None) -> Recorded:
    """What a label holds; nothing if there is none, or if it is damaged."""
    try:
        return usable(json.loads(label or "{}"))
    except NO_JSON:
        return {}


def usable(found: Any) -> Recorded:
    """What can be used of a value that was read as JSON; nothing if it is damaged."""
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        return {}
    known = {entry.name for entry in dataclasses.fields(Override)}
    used = {name: {key: entry[key] for key in entry.keys() & known} for name, entry in found.items()}
    return used if all(_fits(key, value) for entry in used.values() for key, value in entry.items()) else {}


def _fits(key: str, value: Any) -> bool:
    """Whether a value of JSON has the type of that key of `Override`."""
    if key == "command":
        return isinstance(value, list) and all(isinstance(each, _SCALAR) for each in value)
    if key == "environment":
        return isinstance(value, dict) and all(isinstance(each, _SCALAR) for each in value.values())
    if key == "limits":
        return isinstance(value, dict) and value.keys() <= _LIMITS.keys()
    if key == "build":
        return isinstance(value, dict) and isinstance(value.get("context"), str) and _builds(value)
    return isinstance(value, str)


def _builds(build: Mapping[str, Any]) -> bool:
    texts = (build.get("dockerfile"), build.get("target"))
    return all(text is None or isinstance(text, str) for text in texts) and isinstance(build.get("args") or {}, dict)


def label(overrides: Recorded) -> str:
    """`overrides` as the value of a label."""
    return json.dumps(overrides, sort_keys=True)


def chosen(earlier: Recorded, config: Config) -> Recorded:
    """What holds now: a service that the file names has what the file says, the others what they had."""
    now = {name: _filled(override, name) for name, override in config.services.items()}
    return {name: entry for name, entry in {**earlier, **now}.items() if entry}


def _filled(override: Override, name: str) -> dict[str, Any]:
    values = dataclasses.asdict(override)
    if name in SERVICES:
        del values["image"]  # `Config.images` has it
    values["limits"] = {name: value for name, value in (values["limits"] or {}).items() if value is not None}
    values["command"] = list(values["command"]) if values["command"] is not None else None
    return {name: value for name, value in values.items() if value is not None and value != {}}


def of_replica(overrides: Recorded, service: str, replica: str) -> Mapping[str, Any]:
    """What a replica has: its own over its service's."""
    common, own = overrides.get(service, {}), overrides.get(replica, {})
    joined = {**common, **own}
    for key in ("environment", "limits"):
        if key in common and key in own:
            joined[key] = {**common[key], **own[key]}
    return joined


def configuration(overrides: Recorded, service: str, replica: str, templates: Mapping[str, str]) -> Mapping[str, str]:
    """The templates of a replica's configuration files, with the user's own in place of the daemon's."""
    text = of_replica(overrides, service, replica).get("config")
    return templates if text is None else {**templates, CONFIGURATION_FILES[service]: text}


def limit(definition: dict[str, Any], override: Mapping[str, Any]) -> None:
    """Set the limits in a Compose definition that the user has chosen."""
    for name, value in override.get("limits", {}).items():
        definition[_LIMITS[name]] = value


def apply(definition: dict[str, Any], override: Mapping[str, Any], service: str, reload_program: str) -> None:
    """Change the Compose definition of a replica by what the user has chosen for it.

    `reload_program` is the text of the program that runs a daemon from a mounted checkout.
    """
    if "command" in override:
        definition["command"] = [str(argument) for argument in override["command"]]
    if "environment" in override:
        definition["environment"] |= {name: str(value) for name, value in override["environment"].items()}
    limit(definition, override)
    if override.get("image", OURS) != OURS:
        definition["image"] = override["image"]
    if "source" in override:
        definition["volumes"].append(f"{override['source']}/src/haild:{_PACKAGE}:ro")
        definition["entrypoint"] = ["python3", "-c", reload_program, f"haild.{service}"]
