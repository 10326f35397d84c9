"""What the modules of faults share: the table that they write."""

import os
from collections.abc import Iterator

import pytest

from support import namespace
from support.faulttable import FaultTable


@pytest.fixture(scope="session")
def fault_table() -> Iterator[FaultTable]:
    table = FaultTable()
    yield table
    # The page is about the first engine; what another one takes would be mixed into it.
    if namespace.ENGINE_PROCESS not in os.environ:
        table.write()
