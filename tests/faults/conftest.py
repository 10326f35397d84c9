"""What the modules of faults share: the table that they write, and a second engine."""

import os
from collections.abc import Iterator

import pytest

from support import nestedengine
from support.faulttable import FaultTable
from support.nestedengine import NestedEngine


@pytest.fixture(scope="session")
def fault_table() -> Iterator[FaultTable]:
    table = FaultTable()
    yield table
    table.write()


@pytest.fixture(scope="session")
def nested() -> Iterator[NestedEngine]:
    """An engine 26.1 in a container, with hailbox's images; it may be killed, and is started for the next test."""
    if os.geteuid() != 0:
        pytest.skip("a second engine in a container takes root on the first one's host")
    nestedengine.prepare()
    engine = NestedEngine.started()
    try:
        engine.load()
        yield engine
    finally:
        engine.close()
