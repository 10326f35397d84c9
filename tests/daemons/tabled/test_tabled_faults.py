"""tabled when things die: nodes, tabled itself, cld; copies restored, garbage collected, a stand-by taking over."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from haild.client.chunk import ChunkError, Connection
from support.tabledstack import Process, Stack, bucket_of, serving, wait_for

pytestmark = pytest.mark.slow

LEASE = 10.0
"""Seconds after which cld would give a dead master's lock away if it did not notice the death: 20 times as long as a
take-over takes (benchmarks/recovery.py), so that a loaded machine does not exceed it."""


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack for one test: (number of nodes, further settings of tabled)."""
    nodes, settings = request.param
    with serving(tmp_path, nodes=nodes, settings=settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with one node."""
    with serving(tmp_path_factory.mktemp("shared")) as stack:
        yield stack


@pytest.fixture
def bucket(shared: Stack, request: pytest.FixtureRequest) -> str:
    shared.revive()
    return bucket_of(shared.client(), request)


def news(stack: Stack, process: Process) -> Callable[[], str]:
    """What a process logs from now on."""
    length = len(stack.log(process))
    return lambda: stack.log(process)[length:]


def copies(stack: Stack) -> int:
    """How many copies the metadata know."""
    with closing(sqlite3.connect(stack.directory / "tdb" / "passwd")) as db:
        return sum(len(nodes.split(",")) for (nodes,) in db.execute("SELECT nodes FROM bodies WHERE nodes != ''"))


def bodies_on(stack: Stack, number: int) -> int:
    """How many bodies a node lists; -1 if it does not answer."""

    async def count() -> int:
        port = stack.chunkd[number - 1].port
        connection = await Connection.open("127.0.0.1", port, user="tabled", secret=b"tabled", table=b"tabled\0")
        try:
            return len(await connection.listing())
        finally:
            await connection.close()

    try:
        return asyncio.run(count())
    except (OSError, ChunkError):
        return -1


def eventually_put(s3: Any, **arguments: Any) -> None:
    def put() -> bool:
        try:
            s3.put_object(**arguments)
        except (ClientError, BotoCoreError):
            return False
        return True

    wait_for(put, "a PUT succeeds")


def restart(stack: Stack, process: Process, end: Callable[[], object]) -> None:
    end()
    process.start()
    stack.wait_serving(process)


@pytest.mark.parametrize("stack", [(3, "<RepairDelay>1</RepairDelay>")], indirect=True)
def test_a_lost_node_is_replaced_and_a_wiped_one_is_filled_again(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="bucket")
    bodies = {f"k{number}": os.urandom(100_000 * number + 1) for number in range(4)}
    for key, body in bodies.items():
        s3.put_object(Bucket="bucket", Key=key, Body=body)
    assert copies(stack) == 12
    # One of three is lost: two copies are all there can be, and everything can be read and written.
    stack.chunkd[0].kill()
    wait_for(lambda: "is down" in stack.log(stack.tabled), "the loss is noticed")
    for key, body in bodies.items():
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == body
    s3.put_object(Bucket="bucket", Key="new", Body=b"while one is away")
    # It comes back with an empty disk: its copies are made again.
    for path in sorted((stack.directory / "chunk1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    stack.chunkd[0].start()
    wait_for(lambda: bodies_on(stack, 1) == 5, "all bodies are on node 1 again")
    wait_for(lambda: copies(stack) == 15, "15 copies recorded")
    for process in stack.chunkd[1:]:
        process.kill()
    wait_for(lambda: stack.log(stack.tabled).count("is down") >= 3, "the other two are gone")
    for key, body in bodies.items():
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == body


@pytest.mark.parametrize("stack", [(2, "<RepairDelay>60</RepairDelay>")], indirect=True)
def test_a_damaged_body_is_read_from_the_other_copy_and_repaired(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="bucket")
    body = os.urandom(600_000)
    s3.put_object(Bucket="bucket", Key="k", Body=body)
    for path in (stack.directory / "chunk1" / "bodies").rglob("*"):
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[300_000] ^= 1
            path.chmod(0o600)
            path.write_bytes(content)
    for _ in range(12):  # the copies are taken in turn at random
        assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == body

    def repaired() -> bool:
        files = [p for p in (stack.directory / "chunk1" / "bodies").rglob("*") if p.is_file()]
        return [p.read_bytes() for p in files] == [body]

    wait_for(repaired, "node 1 has a good copy")


def test_no_node_means_503_and_a_node_that_comes_back_is_used_at_once(shared: Stack, bucket: str) -> None:
    s3, log = shared.client(), news(shared, shared.tabled)
    before = bodies_on(shared, 1)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    shared.chunkd[0].kill()
    wait_for(lambda: "is down" in log(), "the loss is noticed")
    calls = (lambda: s3.get_object(Bucket=bucket, Key="k"), lambda: s3.put_object(Bucket=bucket, Key="l", Body=b"x"))
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    s3.put_object(Bucket=bucket, Key="empty")
    s3.delete_object(Bucket=bucket, Key="k")
    shared.chunkd[0].start()
    eventually_put(s3, Bucket=bucket, Key="l", Body=b"x")
    wait_for(lambda: bodies_on(shared, 1) == before + 1, "the deleted body is collected from the node that was away")
    assert s3.get_object(Bucket=bucket, Key="l")["Body"].read() == b"x"


def test_what_was_acknowledged_survives_sigkill(shared: Stack, bucket: str) -> None:
    s3 = shared.client()
    stored = {}
    for number in range(8):
        stored[str(number)] = os.urandom(20_000 * number)
        s3.put_object(Bucket=bucket, Key=str(number), Body=stored[str(number)])
    restart(shared, shared.tabled, shared.tabled.kill)
    s3 = shared.client()
    eventually_put(s3, Bucket=bucket, Key="again", Body=b"x")
    for key, body in stored.items():
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    shared.chunkd[0].kill()
    shared.chunkd[0].start()
    eventually_put(s3, Bucket=bucket, Key="after", Body=b"x")
    for key, body in stored.items():
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body


def test_orphans_and_replaced_bodies_are_collected(shared: Stack, bucket: str) -> None:
    s3 = shared.client()
    before = bodies_on(shared, 1)
    for number in range(3):
        s3.put_object(Bucket=bucket, Key="same", Body=b"%d" % number)
        s3.put_object(Bucket=bucket, Key=f"kept{number}", Body=b"%d" % number)
    wait_for(lambda: bodies_on(shared, 1) == before + 4, "replaced bodies are deleted")
    assert shared.tabled.stop() == 0
    with closing(sqlite3.connect(shared.directory / "tdb" / "passwd")) as db, db:
        # As if the metadata of two PUTs had never been committed.
        db.execute("DELETE FROM objects WHERE bucket = ? AND key IN ('kept0', 'kept1')", (bucket,))
        used = "SELECT substr(segments, 1, instr(segments, ':') - 1) FROM objects"
        assert db.execute(f"DELETE FROM bodies WHERE body NOT IN ({used})").rowcount == 2
    shared.tabled.start()
    shared.wait_serving()
    wait_for(lambda: bodies_on(shared, 1) == before + 2, "orphans are deleted")
    assert shared.client().get_object(Bucket=bucket, Key="kept2")["Body"].read() == b"2"


def test_cld_may_restart_while_tabled_serves(shared: Stack, bucket: str) -> None:
    s3 = shared.client()
    shared.cld.kill()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    shared.cld.start()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    restart(shared, shared.tabled, shared.tabled.stop)
    s3 = shared.client()
    eventually_put(s3, Bucket=bucket, Key="l", Body=b"the node is found again")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_stand_by_takes_over_before_the_lease_of_the_dead_ends(shared: Stack, bucket: str) -> None:
    shared.client().put_object(Bucket=bucket, Key="k", Body=b"x")
    second = shared.add_tabled("two")
    wait_for(lambda: "stand-by" in shared.log(second), "the second one waits")
    log = news(shared, shared.tabled)
    shared.tabled.kill()
    died = time.monotonic()
    shared.wait_serving(second)
    s3 = shared.client(process=second)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    eventually_put(s3, Bucket=bucket, Key="l", Body=b"y")
    assert time.monotonic() - died < LEASE
    # The first one comes back as the stand-by and gets its turn when the second one leaves in order.
    shared.tabled.start()
    wait_for(lambda: "stand-by" in log(), "the first one waits now")
    assert second.stop() == 0
    shared.wait_serving()
    assert shared.client().get_object(Bucket=bucket, Key="l")["Body"].read() == b"y"


def test_a_stand_by_with_other_metadata_does_not_take_over(shared: Stack, bucket: str) -> None:
    (shared.directory / "other").mkdir()
    stranger = shared.add_tabled("stranger", tdb="other")
    wait_for(lambda: "stand-by" in shared.log(stranger), "the stranger waits")
    shared.tabled.kill()
    wait_for(lambda: "not taking over" in shared.log(stranger), "it refuses")
    shared.tabled.start()
    shared.wait_serving()
    assert shared.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert stranger.stop() == 0


def test_a_missing_file_of_users_is_reported_once_and_waited_for(shared: Stack, bucket: str) -> None:
    assert shared.tabled.stop() == 0
    log = news(shared, shared.tabled)
    path = shared.directory / "users"
    content = path.read_text()
    path.unlink()
    shared.tabled.start()
    wait_for(lambda: "cannot serve" in log(), "the trouble is reported")
    path.write_text(content)
    shared.wait_serving()
    assert log().count("cannot serve") == 1
    assert "Traceback" not in log()
    assert shared.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_sigterm_ends_within_a_second_even_during_a_transfer(shared: Stack, bucket: str) -> None:
    shared.client().put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    log = news(shared, shared.tabled)
    with socket.create_connection(("127.0.0.1", shared.tabled.port), timeout=10) as client:
        request = f"PUT /{bucket}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
        client.sendall(request.encode() + b"x" * 100_000)
        started = time.monotonic()
        assert shared.tabled.stop() == 0
        assert time.monotonic() - started < 1.6
    assert not (shared.directory / "one.pid").exists()
    assert "Traceback" not in log()
    shared.tabled.start()
    shared.wait_serving()
