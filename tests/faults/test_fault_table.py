"""Faults on every daemon, what hailbox says of them, and how long the stack takes to work again.

The rows make docs/faults.md: `make test-full` (HAILBOX_FULL=1) runs them all and writes the page; `make test` runs
those marked as the sample. Times are recorded, not asserted: they belong to the machine.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.client
import botocore.exceptions
import pytest

from support import inflict
from support.enginestack import ARTEFACTS, ROOT, Stack

FULL = bool(os.environ.get("HAILBOX_FULL"))
BODY = os.urandom(300_000)
PAGE = ROOT / "docs" / "faults.md"
Inflict = Callable[[Stack, str], None]


@dataclass(frozen=True)
class Row:
    """One fault on one replica."""

    fault: str
    replica: str
    inflict: Inflict
    heals: bool = True
    """Whether `up` alone makes the stack work; else it names `reset REPLICA`, and that does."""
    destroys: str = ""
    """What the fault itself destroys; empty: everything acknowledged must still be there."""
    sample: bool = False

    @property
    def title(self) -> str:
        return f"{self.replica}: {self.fault}"


def on_each(fault: str, inflicted: Inflict, *, sample: tuple[str, ...] = ()) -> list[Row]:
    replicas = ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")
    return [Row(fault, replica, inflicted, sample=replica in sample) for replica in replicas]


ROWS = [
    *on_each("SIGKILL", inflict.crash, sample=("cld-1",)),
    *on_each("SIGSTOP", inflict.freeze, sample=("tabled-1",)),
    *on_each("out of memory", inflict.out_of_memory),
    # The other daemons write only to databases that they have open.
    Row("read-only volume", "chunkd-1", inflict.read_only, sample=True),
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
    Row("wrong credentials", "cld-1", inflict.wrong_credentials),
    Row("wrong credentials", "chunkd-1", inflict.wrong_credentials),
    Row(
        "credentials and configuration deleted",
        "all",
        inflict.lose_credentials,
        destroys="the keys that own it (with the old ones it can be read)",
    ),
    Row("network deleted", "all", inflict.remove_network, sample=True),
]


def seed(client: botocore.client.BaseClient) -> None:
    names = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    if "kept" not in names:
        client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="object", Body=BODY)


def fetched(client: botocore.client.BaseClient) -> bytes | None:
    """The acknowledged object; None if the stack says that it has it no more."""
    try:
        return bytes(client.get_object(Bucket="kept", Key="object")["Body"].read())
    except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
        return None


class Record:
    """The rows as they were measured, kept for the page."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def write(self) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        (ARTEFACTS / "faults.json").write_text(json.dumps(self.rows, indent=1))
        if FULL:
            PAGE.write_text(page(self.rows))


def page(rows: list[dict[str, object]]) -> str:
    lines = [
        "# What happens when something breaks",
        "",
        "Written by `make test-full` (tests/faults/test_fault_table.py) from its last run, on the default profile.",
        "Each fault is inflicted on a working stack with an acknowledged object in it; then `hailbox status` is",
        "asked until it notices (or the daemon has come back by itself), then `hailbox up` is run once.",
        "",
        "| fault | noticed after | `status` said | `up` took | what else it took | acknowledged data |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (row["title"], row["noticed"], row["said"], row["healed"], row["more"], row["data"])
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


@pytest.fixture(scope="module")
def record() -> Iterator[Record]:
    made = Record()
    yield made
    made.write()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all rows: each leaves it working."""
    made = Stack(f"test-faults-{os.getpid()}", Path(tmp_path_factory.mktemp("faults")))
    yield made
    if made.labelled():
        made.run("destroy")
    assert made.labelled() == []


def notice(stack: Stack) -> tuple[str, str]:
    """Ask `status` for up to 3 s: when it first named a sick replica, and what it said."""
    started = time.monotonic()
    while time.monotonic() - started < 3:
        answer = stack.run("status", ok=False)
        if answer.status != 0:
            sick = [r for r in (answer.data or {}).get("replicas", []) if not r["working"]]
            said = f"{sick[0]['replica']}: {sick[0]['reason']}" if sick else answer.errors[0]["code"]
            return f"{time.monotonic() - started:.1f} s", said
    return "-", "back by itself"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("row", [row for row in ROWS if FULL or row.sample], ids=lambda row: row.title)
def test_fault(shared: Stack, record: Record, row: Row) -> None:
    shared.run("up")
    client = shared.s3()
    seed(client)

    row.inflict(shared, row.replica)
    noticed, said = notice(shared)
    started = time.monotonic()
    answer = shared.run("up", ok=False)
    took = time.monotonic() - started
    more = "nothing"
    if row.heals:
        assert answer.status == 0, f"{row.title}: {answer.errors}"
    else:
        assert answer.status != 0
        error = answer.errors[0]
        assert row.replica in error["problem"]
        remedy = f"reset {row.replica}"
        assert remedy in error["remedy"]
        more = f"{error['code']}, then `hailbox {remedy}`"
        shared.run("reset", row.replica)
    assert shared.run("status").status == 0

    client = shared.s3()
    found = fetched(client)
    assert found in (BODY, None), "wrong bytes were served"
    if not row.destroys:
        assert found == BODY, f"{row.title}: an acknowledged object is gone"
    data = "all there" if found == BODY else f"lost, by the fault: {row.destroys}"
    record.rows.append(
        {"title": row.title, "noticed": noticed, "said": said, "healed": f"{took:.1f} s", "more": more, "data": data}
    )
    if found != BODY:
        shared.run("reset")
