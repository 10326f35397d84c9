"""Reading what ships with hailbox and what the user wrote: fragments and profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hailbox import resources
from hailbox.model.catalog import Catalog, Profile, Service, profile_from, service_from
from hailbox.model.errors import ConfigurationError

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise ConfigurationError(f"{path}{line}: {problem}", "mend that line") from error
    except (OSError, ValueError, RecursionError) as error:
        # ValueError: not UTF-8, or what looks like a date or a number and is none.
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"{path} cannot be read: {reason}", "see that it is there and readable, or go without it"
        ) from error


def load_catalog() -> Catalog:
    """The catalogue of the services and profiles that ship with hailbox."""
    folder = resources.directory("compose")
    services: dict[str, Service] = {
        path.stem: service_from(path.stem, _read(path)) for path in sorted((folder / "services").glob("*.yaml"))
    }
    profiles: dict[str, Profile] = {
        path.stem: profile_from(path.stem, _read(path), services, shipped=True)
        for path in sorted((folder / "profiles").glob("*.yaml"))
    }
    return Catalog(_read(folder / "common.yaml"), services, profiles)


def load_profile(path: Path, catalog: Catalog) -> Profile:
    """A user's own profile from a YAML file of the same form as ours."""
    return profile_from(path.stem, _read(path), catalog.services)
