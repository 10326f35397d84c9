"""Every verb on engine 28.5 with containerd's store of images and version 1.44 of the API as the oldest it takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import nestedengine
from support.enginestack import Stack
from support.engineverbs import Verbs
from support.nestednewest import NestedNewest

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.second_engine,
    pytest.mark.skipif(
        not os.environ.get("HAILBOX_FULL"),
        reason="takes packages of Debian's unstable suite, which changes; `make test-engines` has it",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="an engine in a container takes root on the first one's host"),
]


@pytest.fixture
def newest() -> Iterator[NestedNewest]:
    """Such an engine, with hailbox's images."""
    nestedengine.prepare()
    engine = NestedNewest.started()
    try:
        engine.load()
        yield engine
    finally:
        engine.close()


def test_verbs_on_the_newest_engine(newest: NestedNewest, tmp_path: Path) -> None:
    with newest.entered():
        stack = Stack("test-newest", tmp_path)
        try:
            verbs = Verbs(stack)
            verbs.exercise("in a container")
        finally:
            stack.run("destroy", ok=False)
        assert verbs.engine.startswith("Docker 28.")
        assert "containerd's" in verbs.engine
        assert stack.labelled() == []
        for image in stack.client.images.list(filters={"label": "org.hailbox.image=cld"}):
            stack.client.images.remove(image.id, force=True)
        stack.run("build")  # which leaves nameless images behind, where the others were loaded
        assert stack.client.images.list(filters={"label": "org.hailbox.image=cld", "dangling": True}, all=True)
        gone = stack.run("destroy", "--images").data
        assert len(gone["images"]) >= 5
        assert stack.client.images.list(filters={"label": "org.hailbox.image"}, all=True) == []
        stack.client.close()
