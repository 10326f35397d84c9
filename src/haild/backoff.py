"""Trying again: pauses that grow, with jitter, and an end where one is wanted. Strategies of tenacity.

Jitter keeps many clients of a server that comes back from calling at the same moment. Clock and sleep are arguments,
so that a test need not wait.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import tenacity
from tenacity.wait import wait_base

JITTER: Final = 0.3
"""A pause is shorter or longer than its strategy says by up to this share."""

Result = TypeVar("Result")
Errors = type[BaseException] | tuple[type[BaseException], ...]
Clock = Callable[[], float]


class GrowingPause(wait_base):
    """Waits `first` seconds after the first failure, then `factor` times as long each time, at most `longest`."""

    def __init__(self, first: float, longest: float, factor: float = 2.0) -> None:
        self._pause = tenacity.wait_exponential(multiplier=first, max=longest, exp_base=factor)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        """Seconds to wait, with jitter."""
        return self._pause(retry_state) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - keeps no secret


class Backoff:
    """The pauses of a loop that goes on for ever, and begins with short ones again after a success."""

    def __init__(self, first: float, longest: float, *, factor: float = 2.0) -> None:
        """first, longest: seconds."""
        self._strategy = GrowingPause(first, longest, factor)
        self._state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._state.attempt_number = 1

    def next(self) -> float:
        """The seconds of the next pause; the one after it is longer."""
        pause = self._strategy(self._state)
        self._state.attempt_number += 1
        return pause

    async def rest(self) -> None:
        """Wait for the next pause."""
        await asyncio.sleep(self.next())


def pause_after(failures: int, first: float, longest: float) -> float:
    """Seconds to wait after `failures` earlier failures, where the caller keeps their number."""
    state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = failures + 1
    return GrowingPause(first, longest)(state)


async def retry(
    call: Callable[[], Awaitable[Result]],
    *,
    on: Errors,
    first: float,
    longest: float,
    factor: float = 2.0,
    within: float = math.inf,
    told: Callable[[BaseException], None] | None = None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """The result of `call`, which is made again while it raises one of `on`.

    first, longest: seconds of the first pause and of the longest. within: seconds after which the last error is
    raised instead of another attempt. told: gets the error of the first attempt that failed, for one line in the log.
    """
    retrying = tenacity.AsyncRetrying(**_strategy(on, first, longest, factor, within, told, clock), sleep=sleep)
    return await retrying(call)


def retry_blocking(
    call: Callable[[], Result],
    *,
    on: Errors,
    first: float,
    longest: float,
    within: float = math.inf,
    told: Callable[[BaseException], None] | None = None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """As `retry`, for a thread that may block."""
    retrying = tenacity.Retrying(**_strategy(on, first, longest, 2.0, within, told, clock), sleep=sleep)
    return retrying(call)


def _strategy(
    on: Errors,
    first: float,
    longest: float,
    factor: float,
    within: float,
    told: Callable[[BaseException], None] | None,
    clock: Clock,
) -> dict[str, Any]:
    end = clock() + within

    def report(state: tenacity.RetryCallState) -> None:
        if told is not None and state.attempt_number == 1 and state.outcome is not None:
            error = state.outcome.exception()
            if error is not None:
                told(error)

    return {
        "wait": GrowingPause(first, longest, factor),
        "retry": tenacity.retry_if_exception_type(on),
        "stop": lambda _state: clock() >= end,
        "before_sleep": report,
        "reraise": True,
    }
