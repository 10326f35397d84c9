"""`restart`: start the daemons of some replicas again, and see that every service works."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from hailbox.commands.result import StackResult
from hailbox.commands.up import bring_up
from hailbox.context import Context
from hailbox.model.progress import Phase
from hailbox.observe import present
from hailbox.stack import lock, selection

_STOP_TIMEOUT: Final = 3
"""Seconds that a daemon has to stop; one that works needs less than one."""


def restart(context: Context, words: Sequence[str]) -> StackResult:
    """Restart the containers of these services and replicas (all if there are none), then bring the stack up.

    Data stays. Raises UnknownStackError, StackDownError, UnknownServiceError and what `up` raises.
    """
    with lock.exclusive(context):
        chosen = selection.containers(present(context.engine, context.stack), words)
        for container in chosen:
            context.tell(container.name.removeprefix(f"hailbox-{context.stack}-"), Phase.STARTING)
        with context.span("restart"), ThreadPoolExecutor() as pool:
            list(pool.map(lambda c: context.engine.restart_container(c.id, stop_timeout=_STOP_TIMEOUT), chosen))
        result = bring_up(context)
    prefix = f"hailbox-{context.stack}-"
    return replace(result, changed=(*(c.name.removeprefix(prefix) for c in chosen), *result.changed))
