"""Every verb that changes a stack, on engine 26.1; `make test-second-engine` runs the other tests there, too."""

from pathlib import Path

import pytest

from support.enginestack import Stack
from support.engineverbs import Verbs
from support.nestedengine import NestedEngine

pytestmark = [pytest.mark.timeout(300), pytest.mark.second_engine]


def test_verbs_on_engine_26(nested: NestedEngine, tmp_path: Path) -> None:
    if not nested.answers():
        nested.start()
    with nested.entered():
        stack = Stack("test-second-engine", tmp_path)
        try:
            verbs = Verbs(stack)
            verbs.exercise("in a container")
            assert verbs.engine.startswith("Docker 26.1"), verbs.engine
        finally:
            if stack.labelled():
                stack.run("destroy")
        assert stack.labelled() == []
        stack.client.close()
