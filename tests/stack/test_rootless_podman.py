"""Every verb on Podman 5.4 without the administrator's rights, in a container of the first engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import nestedengine
from support.enginestack import Stack
from support.engineverbs import Verbs
from support.nestedpodman import NestedPodman

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.second_engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="an engine in a container takes root on the first one's host"),
]


@pytest.fixture
def podman() -> Iterator[NestedPodman]:
    """Such a Podman, with hailbox's images."""
    nestedengine.prepare()
    engine = NestedPodman.started()
    try:
        engine.load()
        yield engine
    finally:
        engine.close()


def test_verbs_on_rootless_podman(podman: NestedPodman, tmp_path: Path) -> None:
    with podman.entered():
        stack = Stack("test-rootless", tmp_path)
        try:
            verbs = Verbs(stack)
            verbs.exercise("in a container")
        finally:
            stack.run("destroy", ok=False)
        assert verbs.engine.startswith("Podman 5.")
        assert "rootless" in verbs.engine
        assert stack.labelled() == []
        stack.client.close()
