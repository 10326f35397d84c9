"""What a new stack begins with: `seed` of `hailbox.yaml`, after the first `up` and after each reset.

A volume without content notes that a stack is still to be seeded, so that a command that was killed in the midst of
it leaves that to the next one. Seeding twice stores the same twice.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from hailbox.commands.env import env
from hailbox.context import Context
from hailbox.model import names
from hailbox.model.errors import SeedFailedError
from hailbox.model.progress import Phase
from hailbox.observe import Observed, observe

_KEPT_LINES: Final = 12


def begin(context: Context) -> None:
    """Note that the stack is to be seeded, if the user has chosen a seed."""
    if context.config.seed is not None:
        labels = {names.STACK: context.stack, names.KIND: names.SEEDING}
        context.engine.create_volume(names.seeding_volume(context.stack), labels)


def begin_if_new(context: Context) -> None:
    """The same for a stack that has no data yet."""
    if context.config.seed is not None and not observe(context.engine, context.stack).data_volumes():
        begin(context)


def is_due(context: Context, observed: Observed) -> bool:
    """Whether the stack is still to be seeded."""
    return context.config.seed is not None and any(
        volume.labels.get(names.KIND) == names.SEEDING for volume in observed.volumes
    )


def plant(context: Context) -> int:
    """Seed a stack that works; returns how many files were stored, 0 for a program. Raises SeedFailedError."""
    if context.config.seed is None:
        return 0
    seed = Path(context.config.seed)
    context.tell("seed", Phase.SEEDING, str(seed))
    with context.span("seed"):
        if seed.is_dir():
            from hailbox.commands import seedfiles  # with its clients it takes as long to load as all else

            try:
                stored = seedfiles.store(context, seed)
            except seedfiles.NotStoredError as error:
                raise _failed(context, str(error)) from error
        else:
            _run(context, seed)
            stored = 0
    context.engine.remove_volume(names.seeding_volume(context.stack))
    return stored


def plant_if_due(context: Context) -> int:
    """Seed the stack if that is still to be done."""
    if context.config.seed is None or not is_due(context, observe(context.engine, context.stack)):
        return 0
    return plant(context)


def _run(context: Context, program: Path) -> None:
    try:
        done = subprocess.run(
            [str(program)],
            cwd=program.parent,
            env={**os.environ, **env(context)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise _failed(context, f"{program} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = "\n  ".join(done.stdout.strip().splitlines()[-_KEPT_LINES:]) or "nothing"
        raise _failed(context, f"{program} ended with status {done.returncode}; it said:\n  {said}")


def _failed(context: Context, problem: str) -> SeedFailedError:
    return SeedFailedError(
        f"stack {context.stack} works, but is not seeded: {problem}",
        f"mend the seed and run: hailbox --stack {context.stack} up",
    )
