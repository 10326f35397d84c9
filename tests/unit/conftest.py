"""A driver without an engine: the in-memory engine, and probes that believe what it says."""

from collections.abc import Sequence

import pytest
from fakestack import MakeContext, Removals

from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState, Image
from hailbox.images import build as images
from hailbox.model import names
from hailbox.model.config import Config
from hailbox.probe.outcome import Credentials, Outcome, Reached
from hailbox.probe.watch import OnChange, Target
from hailbox.stack import definitions
from hailbox.stack.context import Context

SLOW = {
    "test_chunkd_crash",
    "test_chunkd_overload",
    "test_cld_chaos",
    "test_cld_overload",
    "test_cli_interruption_verbs",
    "test_damaged_data",
    "test_iwhd_backends",
    "test_iwhd_crash",
    "test_iwhd_kills",
    "test_iwhd_manners",
    "test_iwhd_replication",
    "test_iwhd_s3",
    "test_shell_program",
    "test_snapshot_verbs",
    "test_stack_crash_sweep",
    "test_tabled_copies",
    "test_tabled_faults",
    "test_tabled_group",
    "test_tabled_kills",
    "test_tabled_transfers",
    "test_tabled_security",
}
"""Modules that kill, overload or sweep whole daemons and verbs: `make test` runs them, `make check` has a minute."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


class EngineProbes:
    """Calls a replica working if its one container runs, and is not in `sick`."""

    def __init__(self, engine: FakeEngine, stack: str) -> None:
        self.engine = engine
        self.stack = stack
        self.sick: set[str] = set()
        self.skew: dict[str, float] = {}
        """Seconds by which the clocks of those are ahead that refuse us for that."""

    def __call__(
        self, targets: Sequence[Target], credentials: Credentials, *, deadline: float, on_change: OnChange
    ) -> dict[str, Outcome]:
        return {target.replica: self._outcome(target.replica) for target in targets}

    def _outcome(self, replica: str) -> Outcome:
        states = [
            container.state
            for container in self.engine.all_containers.values()
            if container.labels.get(names.REPLICA) == replica and container.labels.get(names.STACK) == self.stack
        ]
        if replica in self.skew and states == [ContainerState.RUNNING]:
            return Outcome(replica, Reached.ANSWER, "RequestTimeTooSkewed", 0.1, self.skew[replica])
        working = states == [ContainerState.RUNNING] and replica not in self.sick
        return Outcome(replica, Reached.FUNCTION if working else Reached.NOTHING, "" if working else "no answer", 0.1)


@pytest.fixture
def fake() -> FakeEngine:
    """An engine that has all images already: making them needs the real one."""
    engine = FakeEngine()
    plan = images.plan(["cld", "chunkd", "tabled", "iwhd"])
    for reference in (plan.runtime, *plan.services.values()):
        name = reference.partition("/")[2].partition(":")[0]
        engine.all_images[reference] = Image(reference, (reference,), {names.IMAGE: name})
    return engine


@pytest.fixture
def make_context(fake: FakeEngine, tmp_path, monkeypatch: pytest.MonkeyPatch) -> MakeContext:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    catalog = definitions.load_catalog()

    def make(**choices: object) -> Context:
        config = Config(**{"stack": "test", **choices})  # type: ignore[arg-type]
        return Context(fake, catalog, config, watch=EngineProbes(fake, config.stack))

    return make


@pytest.fixture
def removals(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Removals:
    return Removals(fake, monkeypatch)
