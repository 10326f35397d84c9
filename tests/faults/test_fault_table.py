"""Faults on every daemon, what hailbox says of them, and how long the stack takes to work again.

Rows of the table of faults: `make test-full` (HAILBOX_FULL=1) runs them all; `make test` those marked as the sample.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import inflict
from support.acknowledged import Acknowledged
from support.enginestack import Stack
from support.faulttable import FULL, ONE_DAEMON, FaultTable, Measured, code, notice, stopwatch, told

Inflict = Callable[[Stack, str], None]
REPLICAS = ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")


@dataclass(frozen=True)
class Row:
    """One fault on one replica."""

    fault: str
    replica: str
    inflict: Inflict
    heals: bool = True
    """Whether `up` alone makes the stack work; else it names `reset REPLICA`, and that does."""
    mend: Inflict | None = None
    """What a user has to do before `up` can heal; until then `up` fails with one of `codes`."""
    mending: str = ""
    """The remedy in words."""
    codes: tuple[str, ...] = ()
    clean_up: Inflict | None = None
    destroys: str = ""
    """What the fault itself destroys; empty: everything acknowledged must still be there."""
    sample: bool = False

    @property
    def title(self) -> str:
        return f"{self.replica}: {self.fault}"


def on_each(fault: str, inflicted: Inflict, *, sample: tuple[str, ...] = ()) -> list[Row]:
    return [Row(fault, replica, inflicted, sample=replica in sample) for replica in REPLICAS]


def full_disk(replica: str) -> Row:
    return Row(
        "disk full",
        replica,
        inflict.full,
        mend=inflict.make_room,
        mending="space on that disk",
        codes=("volume-full",),
        clean_up=inflict.move_back,
        sample=replica == "tabled-1",
    )


def read_only(replica: str) -> Row:
    return Row(
        "read-only volume",
        replica,
        inflict.read_only,
        mend=inflict.writable,
        mending="making it writable",
        codes=("volume-read-only",),
    )


ROWS = [
    *on_each("SIGKILL", inflict.crash, sample=("cld-1",)),
    *on_each("SIGSTOP", inflict.freeze, sample=("tabled-1",)),
    *on_each("out of memory", inflict.out_of_memory),
    *map(full_disk, REPLICAS),
    *map(read_only, REPLICAS),
    # The other daemons write only to databases that they have open.
    Row("volume read-only under the running daemon", "chunkd-1", inflict.suddenly_read_only, sample=True),
    *on_each("container deleted", inflict.remove_container, sample=("iwhd-1",)),
    Row("metadata corrupted", "cld-1", inflict.corrupt_metadata, heals=False, destroys="locks and registrations"),
    Row("metadata corrupted", "chunkd-1", inflict.corrupt_metadata, heals=False, destroys="bodies", sample=True),
    Row("metadata corrupted", "tabled-1", inflict.corrupt_metadata, heals=False, destroys="S3 metadata"),
    Row("metadata corrupted", "iwhd-1", inflict.corrupt_metadata, heals=False, destroys="attributes"),
    Row("body corrupted", "chunkd-1", inflict.corrupt_bodies, destroys="the only copy of that body"),
    Row("volume deleted", "cld-1", inflict.remove_volume, destroys="locks and registrations"),
    Row("volume deleted", "chunkd-1", inflict.remove_volume, destroys="bodies"),
    Row("volume deleted", "tabled-1", inflict.remove_volume, destroys="S3 metadata"),
    Row("volume deleted", "iwhd-1", inflict.remove_volume, destroys="attributes"),
    *on_each("wrong credentials", inflict.wrong_credentials),
    Row(
        "credentials and configuration deleted",
        "all",
        inflict.lose_credentials,
        destroys="the keys that own it (with the old ones it can be read)",
    ),
    Row("network deleted", "all", inflict.remove_network, sample=True),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all rows: each leaves it working."""
    made = Stack(f"test-faults-{os.getpid()}", Path(tmp_path_factory.mktemp("faults")))
    yield made
    if made.labelled():
        made.run("destroy")
    assert made.labelled() == []


def heal(stack: Stack, row: Row) -> tuple[float, str]:
    """Run `up`, and what it asks for: the seconds that the `up` took that was to succeed, and what else it took."""
    with stopwatch() as passed:
        answer = stack.run("up", ok=False)
    if row.mend is not None:
        found = told(answer)
        assert found in row.codes, answer.errors
        assert row.replica in answer.errors[0]["problem"]
        row.mend(stack, row.replica)
        with stopwatch() as passed:
            stack.run("up")
        return passed[0], f"{row.mending} (`up` said {code(found)})"
    if row.heals:
        assert answer.status == 0, f"{row.title}: {answer.errors}"
        return passed[0], ""
    found = told(answer)
    assert row.replica in answer.errors[0]["problem"]
    remedy = f"reset {row.replica}"
    assert remedy in answer.errors[0]["remedy"]
    with stopwatch() as passed:
        stack.run("reset", row.replica)
    return passed[0], f"`hailbox {remedy}` (`up` said {code(found)})"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", [row for row in ROWS if FULL or row.sample], ids=lambda row: row.title)
def test_fault(shared: Stack, fault_table: FaultTable, row: Row) -> None:
    shared.run("up")
    objects = Acknowledged()
    objects.put(shared.s3())

    row.inflict(shared, row.replica)
    try:
        noticed, said = notice(shared)
        healed, more = heal(shared, row)
    except BaseException:
        if row.mend is not None:
            row.mend(shared, row.replica)
        raise
    finally:
        if row.clean_up is not None:
            row.clean_up(shared, row.replica)
            shared.run("up")
    assert shared.run("status").status == 0

    gone = objects.missing(shared)
    if not row.destroys:
        assert gone == [], f"{row.title}: acknowledged objects are gone"
    data = f"lost, by the fault: {row.destroys}" if gone else "all there"
    fault_table.add(ONE_DAEMON, Measured(row.title, said, noticed, healed, more, data))
    if gone:
        shared.run("reset")
