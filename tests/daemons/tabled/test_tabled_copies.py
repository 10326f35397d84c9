"""The copies of bodies: how many a PUT waits for, when lost ones are made again, and when nothing is to be done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.ports import free_port
from support.tabledstack import Stack, wait_for

pytestmark = pytest.mark.slow

DELAY = 8.0
"""Seconds: tabled's default for <RepairDelay>."""

MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    made: list[Stack] = []

    def make(nodes: int, settings: str = "") -> Stack:
        stack = Stack(tmp_path, nodes, settings)
        made.append(stack)
        stack.wait_serving()
        stack.wait_nodes()
        stack.client().create_bucket(Bucket="bucket")
        return stack

    try:
        yield make
    finally:
        for stack in made:
            for node in stack.chunkd:
                if node.process is not None:
                    node.process.send_signal(signal.SIGCONT)
            stack.close()


@pytest.fixture
def status_port() -> int:
    return free_port()


def replication(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)["replication"]
    return found


def lost(stack: Stack, count: int) -> None:
    wait_for(lambda: stack.log(stack.tabled).count(" is down") >= count, f"the loss of {count} is noticed")


@pytest.mark.parametrize(("acknowledge", "enough"), [(0, 1), (2, 2)])
def test_a_put_is_answered_when_the_set_number_of_copies_is_durable(
    make_stack: MakeStack, acknowledge: int, enough: int
) -> None:
    stack = make_stack(3, f"<Acknowledge>{acknowledge}</Acknowledge>")
    s3 = stack.client()
    for left in (3, 2, 1):
        if left >= enough:
            s3.put_object(Bucket="bucket", Key=f"with {left}", Body=b"x")
        else:
            with pytest.raises(ClientError) as caught:
                s3.put_object(Bucket="bucket", Key=f"with {left}", Body=b"x")
            assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
        stack.chunkd[left - 1].kill()
        lost(stack, 4 - left)
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert listed == [f"with {left}" for left in range(enough, 4)]


@pytest.mark.parametrize("number", [signal.SIGSTOP, *([signal.SIGKILL] if os.environ.get("HAILBOX_FULL") else [])])
def test_restoring_starts_within_ten_seconds_of_a_loss(
    make_stack: MakeStack, status_port: int, number: signal.Signals
) -> None:
    """Also where the node does not say good-bye; with four nodes the fourth one takes what the lost one had."""
    stack = make_stack(4, f"<StatusPort>{status_port}</StatusPort>")
    s3 = stack.client()
    for key in range(12):
        s3.put_object(Bucket="bucket", Key=str(key), Body=os.urandom(1000))
    assert replication(status_port)["restored"] == 0
    assert stack.chunkd[0].process is not None
    stack.chunkd[0].process.send_signal(number)
    began = time.monotonic()
    wait_for(lambda: replication(status_port)["restored"] > 0, "copies are made again", 30)
    took = time.monotonic() - began
    assert DELAY - 4 < took < 10 + 2  # two seconds for a busy machine
    if number == signal.SIGKILL:
        stack.chunkd[0].process = None


def test_a_node_that_restarts_in_between_costs_nothing(make_stack: MakeStack, status_port: int) -> None:
    stack = make_stack(4, f"<StatusPort>{status_port}</StatusPort><RepairDelay>3</RepairDelay>")
    s3 = stack.client()
    for key in range(12):
        s3.put_object(Bucket="bucket", Key=str(key), Body=os.urandom(1000))
    for round in range(1, 3):
        stack.chunkd[0].kill()
        lost(stack, round)
        assert replication(status_port)["waiting"] >= 1
        stack.chunkd[0].start()
        wait_for(lambda n=round: stack.log(stack.tabled).count("node 1 at") >= 2 * n + 1, "it is up again")
        wait_for(lambda: replication(status_port)["waiting"] == 0, "nothing is planned any more")
    done = replication(status_port)
    assert done["restored"] == 0
    assert "restored" not in stack.log(stack.tabled)
    assert "has lost" not in stack.log(stack.tabled)


def test_a_second_loss_does_not_hold_up_what_is_due_for_the_first(make_stack: MakeStack, status_port: int) -> None:
    stack = make_stack(4, f"<StatusPort>{status_port}</StatusPort><RepairDelay>6</RepairDelay>")
    s3 = stack.client()
    for key in range(12):
        s3.put_object(Bucket="bucket", Key=str(key), Body=os.urandom(1000))
    stack.chunkd[0].kill()
    lost(stack, 1)
    time.sleep(4)  # the second one's time begins later, and ends later
    stack.chunkd[1].kill()
    lost(stack, 2)
    seen = wait_for(lambda: (now := replication(status_port))["restored"] and now, "copies are made again")
    assert seen["waiting"] == 1
    # What the second one holds counts meanwhile: it may come back, and costs nothing then.
    stack.chunkd[1].start()
    wait_for(lambda: stack.log(stack.tabled).count(" is up") == 5, "it is up again")
    for key in range(12):
        assert len(s3.get_object(Bucket="bucket", Key=str(key))["Body"].read()) == 1000
    assert "has lost" not in stack.log(stack.tabled)


def test_an_upload_that_is_never_finished_is_aborted_and_its_parts_collected(make_stack: MakeStack) -> None:
    stack = make_stack(1)
    s3 = stack.client()
    s3.put_object(Bucket="bucket", Key="kept", Body=b"kept")
    uploads = {}
    for key in ("old", "young"):
        upload = uploads[key] = s3.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
        s3.upload_part(Bucket="bucket", Key=key, UploadId=upload, PartNumber=1, Body=os.urandom(50_000))
    bodies = stack.directory / "chunk1" / "bodies"

    def files() -> int:
        return sum(path.is_file() for path in bodies.rglob("*"))

    assert files() == 2  # of the two parts; "kept" is so small that the catalog holds it
    assert stack.tabled.stop() == 0
    with closing(sqlite3.connect(stack.directory / "tdb" / "passwd")) as db, db:
        week = 7 * 86400
        changed = db.execute("UPDATE uploads SET initiated = initiated - ? WHERE key = 'old'", (week + 1,))
        assert changed.rowcount == 1
        db.execute("UPDATE parts SET modified = modified - ? WHERE upload = ?", (week + 1, uploads["old"]))
        # Parts still come for this one, however long ago it was begun.
        db.execute("UPDATE uploads SET initiated = initiated - ? WHERE key = 'young'", (week + 600,))
    stack.tabled.start()
    stack.wait_serving()
    wait_for(lambda: "never finished" in stack.log(stack.tabled), "the old one is aborted")
    s3 = stack.client()
    assert [found["Key"] for found in s3.list_multipart_uploads(Bucket="bucket")["Uploads"]] == ["young"]
    wait_for(lambda: files() == 1, "its part is deleted from the node")
    assert s3.list_parts(Bucket="bucket", Key="young", UploadId=uploads["young"])["Parts"][0]["Size"] == 50_000
