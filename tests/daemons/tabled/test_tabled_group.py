"""Two tabled of one group: clients of either, a master that dies, one that is stopped and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from support import s3history
from support.tabledstack import Process, Stack, wait_for

pytestmark = pytest.mark.slow

LEASE = 10.0
"""Seconds after which cld gives the lock of a silent master away. A dead one's goes at once: a take-over takes a
twentieth of it (benchmarks/recovery.py), so only a defect needs as long."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Two members: the master, and the stand-by as `tableds[1]`."""
    stack = Stack(tmp_path, nodes=2, settings="<ForceHost>127.0.0.1</ForceHost>")
    try:
        stack.wait_serving()
        stack.wait_nodes()
        second = stack.add_tabled("two")
        wait_for(lambda: "stand-by" in stack.log(second), "the second one waits")
        stack.wait_serving(second)
        stack.client().create_bucket(Bucket="bucket")
        yield stack
    finally:
        for process in stack.tableds:
            if process.process is not None:
                process.process.send_signal(signal.SIGCONT)
        stack.close()


def impatient(stack: Stack, process: Process) -> Any:
    return stack.client(process=process, connect_timeout=2, read_timeout=3)


def patient(stack: Stack, process: Process) -> Any:
    """boto3 as it is by default: the endpoint and the keys are all it is told."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{process.port}",
        aws_access_key_id="alice",
        aws_secret_access_key="sesame",
        region_name="us-east-1",
    )


def answer(s3: Any, bucket: str, key: str) -> s3history.Content:
    """What is there, from a process that may be changing its role: until it has, it asks clients to retry."""

    def attempt() -> list[s3history.Content]:
        try:
            return [s3history.read(s3, bucket, key)]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ServiceUnavailable":
                raise
            return []

    content: s3history.Content = wait_for(attempt, "it is not busy with its role any more")[0]
    return content


def workers(stack: Stack, *processes: Process, count: int = 3) -> list[s3history.Worker]:
    clients = [impatient(stack, process) for process in processes]
    found = [s3history.Worker(list(clients), "bucket", f"w{number}", parts=False) for number in range(count)]
    for worker in found:
        worker.start()
    return found


def some_answers(found: list[s3history.Worker], more: int) -> None:
    wanted = sum(len(worker.answered) for worker in found) + more
    wait_for(lambda: sum(len(worker.answered) for worker in found) >= wanted, "the workers get on", 40.0)


def test_a_stand_by_serves_everything_through_the_master(stack: Stack) -> None:
    s3 = stack.client(process=stack.tableds[1])
    body = os.urandom(3_000_000)
    s3.put_object(Bucket="bucket", Key="k", Body=body)
    assert s3history.read(stack.client(), "bucket", "k") == body
    assert s3history.read(s3, "bucket", "k") == body
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    assert str(stack.tableds[1].port) in url


def test_clients_of_the_stand_by_do_not_notice_the_masters_death(stack: Stack) -> None:
    first, second = stack.tableds
    s3 = patient(stack, second)
    s3.put_object(Bucket="bucket", Key="before", Body=b"x")
    first.kill()
    died = time.monotonic()
    s3.put_object(Bucket="bucket", Key="after", Body=b"y")
    assert time.monotonic() - died < LEASE
    assert s3history.read(s3, "bucket", "before") == b"x"
    first.start()
    stack.wait_serving(first)
    assert s3history.read(stack.client(process=first), "bucket", "after") == b"y"


def test_the_master_dies_under_load(stack: Stack) -> None:
    first, second = stack.tableds
    found = workers(stack, first, second)
    some_answers(found, 30)
    died = time.monotonic()
    first.kill()
    some_answers(found, 30)
    for worker in found:
        worker.finish()
    assert s3history.longest_pause(found, died) < LEASE
    s3history.check(found, stack.client(process=second), "bucket")


@pytest.mark.parametrize("moment", range(6 if os.environ.get("HAILBOX_FULL") else 1))
def test_a_master_that_is_stopped_and_goes_on(stack: Stack, moment: int) -> None:
    """Stopped under load, most likely in the middle of a commit; its lease ends, and later it goes on."""
    first, second = stack.tableds
    found = workers(stack, first, second)
    some_answers(found, 20 + 7 * moment)
    kept = {"Bucket": "kept", "Key": "k"}
    stack.client(process=first).create_bucket(Bucket="kept")
    stack.client(process=first).put_object(**kept, Body=b"in the first one's memory")
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: "serving on port" in stack.log(second), "the second one takes over")
    some_answers(found, 20)
    stack.client(process=second).put_object(**kept, Body=b"replaced")
    first.process.send_signal(signal.SIGCONT)
    assert answer(patient(stack, first), "kept", "k") == b"replaced"
    wait_for(lambda: "stepping down" in stack.log(first), "the first one steps down")
    some_answers(found, 20)
    for worker in found:
        worker.finish()
    for process in (second, first):
        s3history.check(found, stack.client(process=process), "bucket")
    # And back: what the first one takes over is what the second one had.
    second.kill()
    assert answer(patient(stack, first), "bucket", "none") is None
    assert answer(patient(stack, first), "kept", "k") == b"replaced"
    s3history.check(found, stack.client(process=first), "bucket")
