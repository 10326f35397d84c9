"""Every verb on engines without the administrator's rights, in containers of the first engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import nestedengine
from support.enginestack import Stack
from support.engineverbs import Verbs
from support.nestedengine import NestedEngine
from support.nesteduser import NestedPodman, NestedRootlessDocker

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.second_engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="an engine in a container takes root on the first one's host"),
]


@pytest.fixture(params=[NestedPodman, NestedRootlessDocker])
def engine(request: pytest.FixtureRequest) -> Iterator[NestedEngine]:
    """Such an engine, with hailbox's images."""
    nestedengine.prepare()
    made: NestedEngine = request.param.started()
    try:
        made.load()
        yield made
    finally:
        made.close()


def test_verbs_without_rights(engine: NestedEngine, tmp_path: Path) -> None:
    with engine.entered():
        stack = Stack("test-rootless", tmp_path)
        try:
            verbs = Verbs(stack)
            verbs.exercise("in a container")
        finally:
            stack.run("destroy", ok=False)
        assert verbs.engine.startswith("Podman 5." if isinstance(engine, NestedPodman) else "Docker 26.1")
        assert "rootless" in verbs.engine
        assert stack.labelled() == []
        stack.client.close()
