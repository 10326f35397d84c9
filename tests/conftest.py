"""Real stacks on the real engine: each test has its own, and nothing of it is left."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from support import promise
from support.enginestack import ARTEFACTS, Stack

if TYPE_CHECKING:
    from support.nestedengine import NestedEngine

# No test asserts a time: not on a machine that has other things to do.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = (yield).get_result()  # type: ignore[misc]
    if report.when == "call":
        item.stash[FAILED] = report.failed


def pytest_configure() -> None:
    """A shell starts what it runs in the background with SIGINT ignored, and so would be what tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish() -> None:
    if os.environ.get("HAILBOX_FULL"):
        promise.update()


@pytest.fixture
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """A stack that does not exist yet. Afterwards it is destroyed, and nothing of it may be left."""
    made = Stack(f"test-{secrets.token_hex(4)}", tmp_path)
    yield made
    if request.node.stash.get(FAILED, True):
        folder = ARTEFACTS / request.node.name
        made.keep_artefacts(folder)
        print(f"artefacts: {folder}")
    if made.labelled():
        made.run("destroy")
    assert made.labelled() == []
    made.client.close()


@pytest.fixture(scope="session")
def nested() -> "Iterator[NestedEngine]":
    """An engine 26.1 in a container, with hailbox's images; it may be killed, and is started for the next test."""
    from support import nestedengine

    if os.geteuid() != 0:
        pytest.skip("a second engine in a container takes root on the first one's host")
    nestedengine.prepare()
    engine = nestedengine.NestedEngine.started()
    try:
        engine.load()
        yield engine
    finally:
        engine.close()
