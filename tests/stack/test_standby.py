"""Two tabled of one group on the real engine: the master is killed, then paused, under clients that write.

The walk-through of docs/standby.md.
"""

import json
import os
import subprocess
import time
from typing import Any

import boto3
import pytest
import tenacity

from support import s3history
from support.enginestack import Stack

LEASE = 10.0
"""Seconds after which cld gives the lock of a silent master away. A dead one's goes at once: a take-over takes a
twentieth of it (benchmarks/recovery.py), so only a defect needs as long."""


def eventually(deadline: float) -> Any:
    return tenacity.retry(
        retry=tenacity.retry_if_exception_type((AssertionError, *s3history.FAILURES)),
        stop=tenacity.stop_after_delay(deadline),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=0.3),
        reraise=True,
    )


def clients(stack: Stack, env: dict[str, str], timeout: float) -> dict[str, Any]:
    """By replica: an impatient client, so that a worker notices at once what became of its request."""
    urls = {f"tabled-{number}": url for number, url in enumerate(env["TABLED_URLS"].split(","), start=1)}
    return {
        replica: stack.s3(attempts=1, read_timeout=timeout, env={**env, "AWS_ENDPOINT_URL": url})
        for replica, url in urls.items()
    }


def master(stack: Stack) -> str:
    command = stack.command("shell", "cld", "cat", "/tabled-default/MASTER")
    text = subprocess.run(command, env=stack.environment(), capture_output=True, text=True, check=True).stdout
    return next(line.partition(" ")[2] for line in text.splitlines() if line.startswith("name:"))


def some_answers(found: list[s3history.Worker], more: int, deadline: float = 40.0) -> None:
    wanted = sum(len(worker.answered) for worker in found) + more

    @eventually(deadline)
    def enough() -> None:
        assert sum(len(worker.answered) for worker in found) >= wanted

    enough()


def put_image(url: str, body: bytes) -> None:
    """An image goes into the warehouse and comes out again."""
    for words in (("-T", "-"), ()):
        done = subprocess.run(
            ["curl", "-sS", "--fail", "--max-time", "10", *words, f"{url}/images/one"],
            input=body,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert words or done.stdout == body


@pytest.mark.timeout(300)
def test_a_stand_by_takes_over(stack: Stack) -> None:
    stack.run("up", "--profile", "standby")
    env = stack.env()
    s3 = clients(stack, env, 3)
    iwhd = env["IWHD_URL"]
    subprocess.run(["curl", "-sS", "--fail", "-X", "PUT", f"{iwhd}/images"], check=True)
    s3["tabled-2"].create_bucket(Bucket="bucket")
    # A client that knows only one address, with the settings that boto3 has by default.
    plain = boto3.client(
        "s3",
        endpoint_url=env["TABLED_URLS"].split(",")[1],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    found = [s3history.Worker(list(s3.values()), "bucket", f"w{number}", parts=number == 0) for number in range(3)]
    for worker in found:
        worker.start()
    some_answers(found, 20)

    if master(stack) != "tabled-1":  # so that what follows is about the one that `plain` does not know
        stack.container("tabled-2").restart()
        some_answers(found, 10)
    assert master(stack) == "tabled-1"
    stack.container("tabled-1").kill()
    died = time.monotonic()
    plain.put_object(Bucket="bucket", Key="plain", Body=b"not noticed")
    print(f"after a kill: {time.monotonic() - died:.2f} s")
    assert time.monotonic() - died < LEASE
    some_answers(found, 20)
    assert s3history.longest_pause(found, died) < LEASE
    assert master(stack) == "tabled-2"
    eventually(20)(put_image)(iwhd, os.urandom(100_000))

    assert stack.run("up").data["changed"] == ["tabled-1"]
    some_answers(found, 20)
    assert stack.run("status").status == 0

    stack.container("tabled-2").pause()
    paused = time.monotonic()

    @eventually(LEASE + 50)
    def taken_over() -> None:
        s3["tabled-1"].put_object(Bucket="bucket", Key="plain", Body=b"without the other")

    taken_over()
    print(f"after a pause: {time.monotonic() - paused:.1f} s")
    some_answers(found, 20)
    stack.container("tabled-2").unpause()
    some_answers(found, 20)
    for worker in found:
        worker.finish()
    s3["tabled-1"].delete_object(Bucket="bucket", Key="plain")
    assert master(stack) == "tabled-1"
    for client in clients(stack, env, 30).values():
        s3history.check(found, client, "bucket")
    eventually(20)(put_image)(iwhd, os.urandom(100_000))
    assert stack.run("status").status == 0
    no_secret_is_told(stack, env)


def no_secret_is_told(stack: Stack, env: dict[str, str]) -> None:
    """Neither the logs nor what the engine tells of the containers has any of the credentials."""
    secrets = [env[name] for name in ("AWS_SECRET_ACCESS_KEY", "CLD_SECRET", "CHUNKD_SECRET")]
    for name in stack.containers():
        container = stack.client.containers.get(name)
        told = container.logs().decode(errors="replace") + json.dumps(container.attrs)
        assert not [secret for secret in secrets if secret in told], name
