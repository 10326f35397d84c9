"""Looks at the stack again and again while a page is open, and tells of every change.

Containers and faults are listed every LISTED seconds, which costs three requests to the engine. The probes, which
store and remove data, run every PROBED seconds, sooner when something has changed or does not work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from hailbox.commands.result import ReplicaResult, endpoints
from hailbox.commands.status import see
from hailbox.console.state import Health, Problem, ReplicaView, View, defect, links
from hailbox.context import Context
from hailbox.diagnosis import roots
from hailbox.engine.port import Container, ContainerState
from hailbox.fault.active import described
from hailbox.fault.result import Fault
from hailbox.helper import settle
from hailbox.model import names
from hailbox.model.errors import HailboxError
from hailbox.observe import Observed, present
from hailbox.stack import selection
from hailbox.stack.choice import choose

LISTED: Final = 0.7
PROBED: Final = 5.0
PROBED_SICK: Final = 1.5
WATCHED_FOR: Final = 20.0
"""Seconds after the last sign of a page for which the stack is watched."""

_STOPS: Final = frozenset({"kill", "stop", "pause", "isolate"})
"""Faults under which their replica cannot work."""


class Watcher:
    """Keeps a View up to date, in a thread of its own."""

    def __init__(self, context: Callable[[], Context], changed: Callable[[], None], stack: str) -> None:
        self._context = context
        self._changed = changed
        self.view = View(stack)
        self._signature: object = None
        self._probe_due = 0.0
        self._wanted_until = 0.0
        self._wanted = threading.Condition()
        self._ended = False

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """End after the look that is under way."""
        with self._wanted:
            self._ended = True
            self._wanted.notify_all()

    def want(self) -> None:
        """A page is open."""
        with self._wanted:
            self._wanted_until = time.monotonic() + WATCHED_FOR
            self._wanted.notify_all()

    @property
    def wanted(self) -> bool:
        """Whether a page was open a moment ago."""
        return time.monotonic() < self._wanted_until

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._ended or self.wanted)
            if self._ended:
                return
            began = time.monotonic()
            self.look(began)
            with self._wanted:
                self._wanted.wait_for(lambda: self._ended, timeout=max(0.05, began + LISTED - time.monotonic()))

    def look(self, now: float) -> None:
        """Look once; `now` is the time of a monotonic clock. Publishes what is new."""
        context = self._context()
        try:
            observed = present(context.engine, context.stack)
            signature = _signature(observed)
            changed = signature != self._signature
            if changed:
                self._signature = signature
                self._publish(self._quick(context, observed))
            if changed or now >= self._probe_due:
                self._publish(self._thorough(context, observed))
                working = self.view.health is Health.WORKS
                self._probe_due = time.monotonic() + (PROBED if working else PROBED_SICK)
        except HailboxError as error:
            self._signature = None
            self._publish(View(context.stack, error=Problem.of(error)))
        except Exception as error:  # the next look may go well; a console that looks no more would show old news
            self._signature = None
            self._publish(View(context.stack, error=Problem.of(defect(error))))

    def _publish(self, view: View) -> None:
        if view != self.view:
            self.view = view
            self._changed()

    def _quick(self, context: Context, observed: Observed) -> View:
        """What the listing alone shows; a replica whose container is as before is as it was."""
        profile = choose(context, observed).profile
        where = endpoints(observed.ports)
        known = {replica.name: replica for replica in self.view.replicas}
        results = []
        for replica in profile.replicas:
            before = known.get(replica.name)
            working, reason = (before.health is Health.WORKS, before.reason) if before else (False, "")
            results.append(
                ReplicaResult(replica.name, replica.service, working, where.get(replica.name, ""), 0.0, reason)
            )
        view = _view(context, observed, profile.name, results)
        unknown = {name for name in selection.of_profile(profile) if name not in known}
        return replace(
            view,
            replicas=tuple(
                replace(each, health=Health.UNKNOWN)
                if each.name in unknown and each.health is Health.FAULTY and each.reason == ""
                else each
                for each in view.replicas
            ),
            findings=self.view.findings,
        )

    def _thorough(self, context: Context, observed: Observed) -> View:
        seen = see(context, observed)
        errors = [] if seen.result.working else roots.find(seen.case)
        view = _view(context, observed, seen.result.profile, list(seen.result.replicas))
        return replace(view, findings=tuple(map(Problem.of, errors)))


def _signature(observed: Observed) -> object:
    """What changes when a container is started, stopped, paused, made or removed."""
    return frozenset((container.id, container.state) for container in observed.containers)


def _view(context: Context, observed: Observed, profile: str, results: list[ReplicaResult]) -> View:
    faults = tuple(described(c.name, context.stack, c.labels) for c in settle.active_faults(observed))
    needs = {name: service.needs for name, service in context.catalog.services.items()}
    replicas = tuple(_replica(observed, result, faults) for result in results)
    services = {replica.name: replica.service for replica in replicas}
    return View(
        context.stack, profile, replicas, links(services, needs), tuple(sorted(faults, key=lambda fault: fault.id))
    )


def _replica(observed: Observed, result: ReplicaResult, faults: tuple[Fault, ...]) -> ReplicaView:
    own = tuple(fault for fault in faults if result.replica in fault.targets)
    container = next(iter(observed.of(result.replica)), None)
    health, reason = _health(result, container, own)
    return ReplicaView(
        result.replica,
        result.service,
        health,
        reason,
        result.endpoint,
        container.name if container else names.container(observed.stack, result.replica),
        own,
    )


def _health(result: ReplicaResult, container: Container | None, faults: tuple[Fault, ...]) -> tuple[Health, str]:
    """How a replica is, and why."""
    if container is None:
        return Health.FAULTY, "it has no container"
    if container.state is ContainerState.RESTARTING:
        return Health.HEALING, "its container is restarting"
    if container.state is not ContainerState.RUNNING:
        return Health.FAULTY, f"its container is {container.state.value}"
    if stopped := next((fault for fault in faults if fault.kind in _STOPS), None):
        return Health.FAULTY, f"the fault {stopped.id} is in effect"
    if result.working:
        return Health.WORKS, ""
    # A replica that follows another one's trouble is not healing, however young it is.
    healing = container.young and result.seconds > 0 and not faults
    return (Health.HEALING if healing else Health.FAULTY), result.reason
