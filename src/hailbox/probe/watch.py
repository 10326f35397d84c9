"""Watching all replicas at once, until each works or a deadline has passed."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

import tenacity

from hailbox.probe.outcome import Credentials, Outcome, Probe, ProbeError, Reached
from hailbox.probe.patience import attempt_deadline

HOST: Final = "127.0.0.1"

OnChange = Callable[[Outcome], None]


@dataclass(frozen=True)
class Target:
    """A replica to watch, and its port on the host."""

    replica: str
    service: str
    port: int


def probe_of(service: str) -> Probe:
    """The probe of a service: the function `probe` of the module of that name here."""
    return cast(Probe, importlib.import_module(f"hailbox.probe.{service}").probe)


def load(services: Iterable[str]) -> None:
    """Load the probes of these services: work for a moment in which there is nothing to do but wait."""
    for service in services:
        probe_of(service)


async def _attempt(target: Target, probe: Probe, credentials: Credentials, started: float) -> Outcome:
    reached, reason, skew, refused = Reached.FUNCTION, "", None, False
    try:
        async with asyncio.timeout(attempt_deadline()):
            await probe(HOST, target.port, credentials)
    except ProbeError as error:
        reached, reason, skew, refused = error.reached, error.reason, error.skew, error.refused
    except TimeoutError:
        reached, reason = Reached.NOTHING, f"no answer within {attempt_deadline():.0f} s"
    except EOFError:
        reached, reason = Reached.NOTHING, "the connection was closed without an answer"
    except OSError as error:
        reached, reason = Reached.NOTHING, error.strerror or str(error) or type(error).__name__
    return Outcome(target.replica, reached, reason, time.monotonic() - started, skew, refused)


async def _watch_one(target: Target, credentials: Credentials, deadline: float, on_change: OnChange) -> Outcome:
    probe = probe_of(target.service)
    started = time.monotonic()
    told: set[Reached] = {Reached.NOTHING}
    attempts = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(lambda outcome: not outcome.working),
        wait=tenacity.wait_random_exponential(multiplier=0.01, max=0.08),
        stop=tenacity.stop_after_delay(deadline),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )

    async def attempt() -> Outcome:
        outcome = await _attempt(target, probe, credentials, started)
        if outcome.reached not in told:
            told.add(outcome.reached)
            on_change(outcome)
        return outcome

    return cast(Outcome, await attempts(attempt))


async def _watch_all(
    targets: Sequence[Target], credentials: Credentials, deadline: float, on_change: OnChange
) -> dict[str, Outcome]:
    outcomes = await asyncio.gather(*(_watch_one(target, credentials, deadline, on_change) for target in targets))
    return {outcome.replica: outcome for outcome in outcomes}


class Watch(Protocol):
    """The signature of `watch`."""

    def __call__(
        self, targets: Sequence[Target], credentials: Credentials, *, deadline: float, on_change: OnChange
    ) -> dict[str, Outcome]: ...


def watch(
    targets: Sequence[Target], credentials: Credentials, *, deadline: float, on_change: OnChange
) -> dict[str, Outcome]:
    """Probe all targets again and again until each works or `deadline` seconds have passed; outcomes by replica.

    `on_change` hears of each replica when it first answers and when it first works. A deadline of 0 means one
    attempt each.
    """
    return asyncio.run(_watch_all(targets, credentials, deadline, on_change))
