"""Reading a stack's credentials out of its volume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import tenacity

from hailbox.engine.port import Engine
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.compose import Blueprint, configuration_files
from hailbox.model.errors import NotWorkingError, UnknownStackError
from hailbox.observe import Observed, observe
from haild.credentials import FILE_NAME, LOST_NAME, NAMES, derived, fill

DEADLINE: Final = 30.0
"""Seconds until the one-shot container must have made them."""


@dataclass(frozen=True)
class Kept:
    """What the one-shot container has written: the credentials by name, and all files by path."""

    credentials: Mapping[str, str]
    files: Mapping[str, bytes]

    def configures(self, blueprint: Blueprint) -> bool:
        """Whether every replica's configuration files are there as they would be written now."""
        try:
            return all(
                self.files.get(path) == fill(template, self.credentials).encode()
                for replica in blueprint.profile.replicas
                for path, template in configuration_files(blueprint, replica)[1].items()
            )
        except KeyError:
            return False


def look(engine: Engine, observed: Observed) -> Kept | None:
    """What is in the stack's volume; None if no container mounts it, or there are no credentials in it yet."""
    volume = names.credentials_volume(observed.stack)
    mounting = [container for container in observed.containers if volume in container.mounts]
    mounting.sort(key=lambda container: container.labels.get(names.SERVICE) != ONE_SHOT)
    for container in mounting:
        files = engine.read_files(container.id, names.CREDENTIALS_DIRECTORY)
        if FILE_NAME not in files:
            continue
        try:
            found = json.loads(files[FILE_NAME])
        except ValueError:
            return None
        if isinstance(found, dict) and all(found.get(name) for name in NAMES):
            texts = {str(name): str(value) for name, value in found.items()}
            return Kept(derived(texts), files)
    return None


def lost(engine: Engine, observed: Observed) -> tuple[str, ...]:
    """The credentials that the last run of the one-shot container had to make again, by name."""
    kept = look(engine, observed)
    try:
        return tuple(map(str, json.loads(kept.files[LOST_NAME]))) if kept else ()
    except (KeyError, ValueError, TypeError):
        return ()


def read(engine: Engine, observed: Observed) -> Mapping[str, str] | None:
    """The credentials by name; None if no container mounts them, or they are not there yet."""
    kept = look(engine, observed)
    return kept.credentials if kept else None


def require(engine: Engine, observed: Observed) -> Mapping[str, str]:
    """The credentials of a stack that has been up. Raises UnknownStackError if it never was."""
    return require_kept(engine, observed).credentials


def require_kept(engine: Engine, observed: Observed) -> Kept:
    """The credentials and files of a stack that has been up. Raises UnknownStackError if it never was."""
    kept = look(engine, observed)
    if kept is None:
        raise UnknownStackError(
            f"stack {observed.stack} has no credentials yet", f"run: hailbox --stack {observed.stack} up"
        )
    return kept


def await_them(engine: Engine, stack: str) -> Mapping[str, str]:
    """The credentials of a stack that is being started. Raises NotWorkingError if they do not appear."""
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UnknownStackError),
        wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.2),
        stop=tenacity.stop_after_delay(DEADLINE),
    )
    try:
        return attempts(lambda: require(engine, observe(engine, stack)))
    except tenacity.RetryError as error:
        raise NotWorkingError(
            f"the container {names.container(stack, ONE_SHOT)} made no credentials within {DEADLINE:.0f} s",
            f"see why: hailbox --stack {stack} logs {ONE_SHOT}",
        ) from error
