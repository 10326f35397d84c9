"""tabled when things die: nodes, tabled itself, cld; copies restored, garbage collected, a stand-by taking over."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tabledstack import Process, Stack, wait_for

from haild.client.chunk import ChunkError, Connection


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    nodes, settings = getattr(request, "param", (1, ""))
    stack = Stack(tmp_path, nodes=nodes, settings=settings)
    try:
        stack.wait_serving()
        stack.wait_nodes()
        yield stack
    finally:
        stack.close()


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
    s3.create_bucket(Bucket="b")
    bodies = {f"k{number}": os.urandom(100_000 * number + 1) for number in range(4)}
    for key, body in bodies.items():
        s3.put_object(Bucket="b", Key=key, Body=body)
    assert copies(stack) == 12
    # One of three is lost: two copies are all there can be, and everything can be read and written.
    stack.chunkd[0].kill()
    wait_for(lambda: "is down" in stack.log(stack.tabled), "the loss is noticed")
    for key, body in bodies.items():
        assert s3.get_object(Bucket="b", Key=key)["Body"].read() == body
    s3.put_object(Bucket="b", Key="new", Body=b"while one is away")
    # It comes back with an empty disk: its copies are made anew.
    for path in sorted((stack.directory / "chunk1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    stack.chunkd[0].start()
    wait_for(lambda: bodies_on(stack, 1) == 5, "all bodies are on node 1 again")
    wait_for(lambda: copies(stack) == 15, "15 copies recorded")
    for process in stack.chunkd[1:]:
        process.kill()
    wait_for(lambda: stack.log(stack.tabled).count("is down") >= 3, "the other two are gone")
    for key, body in bodies.items():
        assert s3.get_object(Bucket="b", Key=key)["Body"].read() == body


@pytest.mark.parametrize("stack", [(2, "<RepairDelay>60</RepairDelay>")], indirect=True)
def test_a_damaged_body_is_read_from_the_other_copy_and_repaired(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    body = os.urandom(600_000)
    s3.put_object(Bucket="b", Key="k", Body=body)
    for path in (stack.directory / "chunk1" / "bodies").rglob("*"):
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[300_000] ^= 1
            path.chmod(0o600)
            path.write_bytes(content)
    for _ in range(12):  # the copies are taken in turn at random
        assert s3.get_object(Bucket="b", Key="k")["Body"].read() == body

    def repaired() -> bool:
        files = [p for p in (stack.directory / "chunk1" / "bodies").rglob("*") if p.is_file()]
        return [p.read_bytes() for p in files] == [body]

    wait_for(repaired, "node 1 has a good copy")


def test_no_node_means_503_and_a_node_that_comes_back_is_used_at_once(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    s3.put_object(Bucket="b", Key="k", Body=b"x")
    stack.chunkd[0].kill()
    wait_for(lambda: "is down" in stack.log(stack.tabled), "the loss is noticed")
    for call in (lambda: s3.get_object(Bucket="b", Key="k"), lambda: s3.put_object(Bucket="b", Key="l", Body=b"x")):
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert s3.list_objects_v2(Bucket="b")["KeyCount"] == 1
    s3.put_object(Bucket="b", Key="empty")
    s3.delete_object(Bucket="b", Key="k")
    stack.chunkd[0].start()
    eventually_put(s3, Bucket="b", Key="l", Body=b"x")
    wait_for(lambda: bodies_on(stack, 1) == 1, "the deleted body is collected from the node that was away")
    assert s3.get_object(Bucket="b", Key="l")["Body"].read() == b"x"


def test_what_was_acknowledged_survives_sigkill(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    stored = {}
    for round_number in range(2):
        for number in range(5):
            key = f"{round_number}-{number}"
            stored[key] = os.urandom(1000 + number)
            s3.put_object(Bucket="b", Key=key, Body=stored[key])
        restart(stack, stack.tabled, stack.tabled.kill)
        s3 = stack.client()
        eventually_put(s3, Bucket="b", Key=f"again{round_number}", Body=b"x")
    for key, body in stored.items():
        assert s3.get_object(Bucket="b", Key=key)["Body"].read() == body
    stack.chunkd[0].kill()
    stack.chunkd[0].start()
    eventually_put(s3, Bucket="b", Key="after", Body=b"x")
    for key, body in stored.items():
        assert s3.get_object(Bucket="b", Key=key)["Body"].read() == body


def test_orphans_and_replaced_bodies_are_collected(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    for number in range(3):
        s3.put_object(Bucket="b", Key="same", Body=b"%d" % number)
        s3.put_object(Bucket="b", Key=f"kept{number}", Body=b"%d" % number)
    wait_for(lambda: bodies_on(stack, 1) == 4, "replaced bodies are deleted")
    assert stack.tabled.stop() == 0
    with closing(sqlite3.connect(stack.directory / "tdb" / "passwd")) as db, db:
        # As if the metadata of two PUTs had never been committed.
        db.execute("DELETE FROM objects WHERE key IN ('kept0', 'kept1')")
        used = "SELECT substr(segments, 1, instr(segments, ':') - 1) FROM objects"
        lost = f"SELECT body FROM bodies WHERE body NOT IN ({used})"
        assert db.execute(f"DELETE FROM bodies WHERE body IN ({lost})").rowcount == 2
    stack.tabled.start()
    stack.wait_serving()
    wait_for(lambda: bodies_on(stack, 1) == 2, "orphans are deleted")
    assert stack.client().get_object(Bucket="b", Key="kept2")["Body"].read() == b"2"


def test_cld_may_restart_while_tabled_serves(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    port = stack.cld.port
    stack.cld.kill()
    s3.put_object(Bucket="b", Key="k", Body=b"x")
    arguments = stack.cld.arguments
    arguments[arguments.index("auto")] = str(port)
    stack.cld.start()
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"x"
    restart(stack, stack.tabled, stack.tabled.stop)
    s3 = stack.client()
    wait_for(lambda: stack.log(stack.tabled).count(" is up") >= 2, "the node is found again")
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"x"


def test_a_stand_by_takes_over_within_three_seconds(stack: Stack) -> None:
    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    s3.put_object(Bucket="b", Key="k", Body=b"x")
    second = stack.add_tabled("two")
    wait_for(lambda: "stand-by" in stack.log(second), "the second one waits")
    stack.tabled.kill()
    died = time.monotonic()
    stack.wait_serving(second)
    s3 = stack.client(process=second)
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"x"
    eventually_put(s3, Bucket="b", Key="l", Body=b"y")
    assert time.monotonic() - died < 3.0
    # The first one comes back as the stand-by and gets its turn when the second one leaves in order.
    stack.tabled.start()
    wait_for(lambda: "stand-by" in stack.log(stack.tabled), "the first one waits now")
    assert second.stop() == 0
    stack.wait_serving()
    assert stack.client().get_object(Bucket="b", Key="l")["Body"].read() == b"y"


def test_a_stand_by_with_other_metadata_does_not_take_over(stack: Stack) -> None:
    (stack.directory / "other").mkdir()
    stranger = stack.add_tabled("two", tdb="other")
    wait_for(lambda: "stand-by" in stack.log(stranger), "the second one waits")
    stack.tabled.kill()
    wait_for(lambda: "not taking over" in stack.log(stranger), "it refuses")
    stack.tabled.start()
    stack.wait_serving()


def test_sigterm_ends_within_a_second_even_during_a_transfer(stack: Stack) -> None:
    import socket

    s3 = stack.client()
    s3.create_bucket(Bucket="b")
    s3.put_bucket_acl(Bucket="b", ACL="public-read-write")
    with socket.create_connection(("127.0.0.1", stack.tabled.port), timeout=10) as client:
        client.sendall(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 100_000)
        started = time.monotonic()
        assert stack.tabled.stop() == 0
        assert time.monotonic() - started < 1.6
    assert not (stack.directory / "one.pid").exists()
    assert "Traceback" not in stack.log(stack.tabled)
