"""A driver without an engine: the in-memory engine, and probes that believe what it says."""

import signal
from collections.abc import Iterator

import pytest

from hailbox.context import Context
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Image
from hailbox.images import build as images
from hailbox.model import names
from hailbox.model.config import Config
from hailbox.stack import definitions
from support.fakestack import EngineProbes, MakeContext, Removals


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """Give SIGINT back what it did: programs that later tests start inherit it where it is ignored."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


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
