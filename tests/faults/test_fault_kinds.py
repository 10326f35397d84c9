"""Each fault on a real stack: what it breaks, that clearing it is enough, and that it ends whatever becomes of us."""

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest
import tenacity

from support.enginestack import Answer, Stack

BODY = b"kept" * 250_000
"""Large enough that chunkd keeps it in a file of its own."""

pytestmark = pytest.mark.timeout(300)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda true: not true),
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(seconds),
    )
    attempts(condition)


def sick(answer: Answer) -> dict[str, str]:
    """Why each replica that does not work does not."""
    return {replica["replica"]: replica["reason"] for replica in answer.data["replicas"] if not replica["working"]}


def sick_now(stack: Stack) -> dict[str, str]:
    return sick(stack.run("status", ok=False))


def faults(stack: Stack) -> list[str]:
    return [fault["id"] for fault in stack.run("fault", "ls").data]


def s3(stack: Stack) -> Any:
    return stack.s3(attempts=1, read_timeout=4)


def make_bucket(stack: Stack) -> None:
    s3(stack).create_bucket(Bucket="kept")


def put(stack: Stack, key: str) -> None:
    s3(stack).put_object(Bucket="kept", Key=key, Body=BODY)


def get(stack: Stack, key: str) -> bytes:
    body: bytes = s3(stack).get_object(Bucket="kept", Key=key)["Body"].read()
    return body


def clear_and_wait(stack: Stack) -> None:
    """Clearing is all that is done: no restart, no `up`."""
    started = {name: stack.container(name).attrs["Created"] for name in ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")}
    stack.run("fault", "clear")
    stack.run("wait", "--timeout", "20")
    assert faults(stack) == []
    assert {name: stack.container(name).attrs["Created"] for name in started} == started


def test_faults_of_processes(stack: Stack) -> None:
    stack.run("up")
    make_bucket(stack)
    put(stack, "object")
    for kind in ("kill", "stop", "pause"):
        stack.run("fault", kind, "chunkd-1")
        assert faults(stack) == [f"{kind}-chunkd-1"]
        assert "chunkd-1" in sick_now(stack)
        assert "cld-1" not in sick_now(stack)
        with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.ReadTimeoutError)):
            put(stack, "lost")
        clear_and_wait(stack)
    assert get(stack, "object") == BODY


def test_faults_of_the_network(stack: Stack) -> None:
    stack.run("up")
    make_bucket(stack)
    put(stack, "object")
    stack.run("fault", "isolate", "cld-1")
    assert sick_now(stack)["cld-1"].startswith("no ")
    clear_and_wait(stack)

    stack.run("fault", "partition", "tabled-1", "chunkd-1")
    wrong = sick_now(stack)
    # Both are reached from the host, and cld by both; only what tabled needs of chunkd fails.
    assert "tabled-1" in wrong
    assert not {"cld-1", "chunkd-1"} & set(wrong)
    clear_and_wait(stack)

    stack.run("fault", "slow", "tabled-1", "--delay", "300ms")
    client = s3(stack)
    began = time.monotonic()
    client.head_object(Bucket="kept", Key="object")
    assert time.monotonic() - began >= 0.3
    clear_and_wait(stack)

    stack.run("fault", "slow", "chunkd-1", "--loss", "100%")
    assert "chunkd-1" in sick_now(stack)
    clear_and_wait(stack)
    assert get(stack, "object") == BODY


def test_a_network_fault_outlives_a_restart_of_the_replica(stack: Stack) -> None:
    stack.run("up")
    stack.run("fault", "isolate", "cld-1")
    stack.container("cld-1").restart(timeout=1)

    def cut_off_again() -> bool:
        helper = stack.container("fault-isolate-cld-1")
        return helper.attrs["RestartCount"] > 0 and "cld-1" in sick_now(stack)

    eventually(cut_off_again)
    assert faults(stack) == ["isolate-cld-1"]
    clear_and_wait(stack)


def test_faults_of_the_disk(stack: Stack) -> None:
    stack.run("up")
    make_bucket(stack)
    put(stack, "object")
    stack.run("fault", "fill-disk", "chunkd-1")
    with pytest.raises(botocore.exceptions.ClientError):
        put(stack, "lost")
    assert get(stack, "object") == BODY
    said = stack.container("chunkd-1").logs().decode()
    assert "No space left" in said or "disk is full" in said
    clear_and_wait(stack)
    put(stack, "more")

    # No daemon has noticed the flipped bytes yet, so clearing brings the object back.
    stack.run("fault", "corrupt", "chunkd-1")
    stack.run("fault", "clear")
    assert get(stack, "object") == BODY
    fault = stack.run("fault", "corrupt", "chunkd-1").data
    assert fault["detail"].startswith("64 bytes at offset ")
    stack.container("chunkd-1").restart()
    stack.run("wait")
    answers = []
    for key in ("object", "more"):
        try:
            answers.append(get(stack, key) == BODY)
        except botocore.exceptions.ClientError:
            answers.append(None)
    assert sorted(answers, key=str) == [None, True], "one of the two is refused, and never is it wrong"


@pytest.mark.parametrize("words", [("kill", "chunkd-1"), ("pause", "tabled-1"), ("isolate", "cld-1")])
def test_a_fault_ends_by_itself(stack: Stack, words: tuple[str, str]) -> None:
    stack.run("up")
    stack.run("fault", *words, "--for", "12s")
    assert sick_now(stack)
    stack.run("wait", "--timeout", "40")
    assert faults(stack) == []


def test_a_killed_driver_and_reset(stack: Stack) -> None:
    stack.run("up")
    for words in (("pause", "cld-1"), ("partition", "tabled-1", "chunkd-1"), ("kill", "iwhd-1")):
        name = f"hailbox-{stack.name}-fault-"
        driver = subprocess.Popen(stack.command("fault", *words), cwd=stack.home, stdout=subprocess.DEVNULL)
        eventually(lambda name=name: any(found.startswith(name) for found in stack.labelled()))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    answer = stack.run("reset")
    assert all(replica["working"] for replica in answer.data["stack"]["replicas"])
    assert not [name for name in stack.labelled() if "-fault-" in name]


def test_up_ends_faults_and_says_so(stack: Stack) -> None:
    stack.run("up")
    stack.run("fault", "pause", "cld-1")
    stack.run("fault", "slow", "iwhd-1", "--delay", "1s")
    answer = stack.run("up")
    assert answer.data["ended_faults"] == ["pause-cld-1", "slow-iwhd-1"]
    assert answer.data["changed"] == []
    assert not sick(answer)
