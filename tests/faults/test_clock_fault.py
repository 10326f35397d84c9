"""The containers' clock runs an hour ahead of ours: rows of the table of faults.

The kernel has one clock for all, so the daemons get theirs from libfaketime, in images made of hailbox's own, which
the stack uses as a user's own images. They read it like any other: the jump comes while they run.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import botocore.exceptions
import docker
import docker.errors
import pytest
import tenacity

from hailbox.images.base import BASE
from support import inflict
from support.acknowledged import Acknowledged
from support.enginestack import Stack
from support.faulttable import FULL, STACK, FaultTable, Measured, code, notice, stopwatch, told

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FULL, reason="takes four images of its own; `make test-full` has it"),
]

FOLDER = Path(__file__).parents[1] / "support" / "skewed"
DAEMONS = ("cld", "chunkd", "tabled", "iwhd")


def skewed_image(client: docker.DockerClient, daemon: str) -> str:
    """The reference of an image of this daemon that has a clock of its own, made where it is missing."""
    made_from = (FOLDER / "Dockerfile").read_bytes() + daemon.encode()
    reference = f"hailbox/test-skewed:{hashlib.sha256(made_from).hexdigest()[:16]}"
    try:
        client.images.get(reference)
    except docker.errors.ImageNotFound:
        client.images.build(path=str(FOLDER), tag=reference, buildargs={"BASE": BASE, "DAEMON": daemon}, rm=True)
    return reference


@pytest.fixture
def skewed(tmp_path: Path) -> Iterator[Stack]:
    """A working stack of which all daemons have the clock that `set_clock` says."""
    stack = Stack(f"test-clock-{os.getpid()}", tmp_path)
    built = stack.run("build").data["images"]
    own = {daemon: skewed_image(stack.client, built[daemon]) for daemon in DAEMONS}
    chosen = "".join(f"  {daemon}: {reference}\n" for daemon, reference in own.items())
    (tmp_path / "hailbox.yaml").write_text(f"images:\n{chosen}")
    yield stack
    if stack.labelled():
        stack.run("destroy")
    assert stack.labelled() == []
    stack.client.close()
    for reference in own.values():
        stack.client.images.remove(reference, force=True)


def set_clock(stack: Stack, ahead: str) -> None:
    """Let the daemons' clocks be ahead by `1h`, or `0`; they have it within a second."""
    (inflict.volume(stack, "credentials") / "clock").write_text(f"+{ahead}\n")


def only_sick(stack: Stack, replica: str) -> bool:
    """Whether that replica, and no other, comes not to work; under load that may take more than one look."""

    def sick() -> list[str]:
        replicas = stack.run("status", ok=False).data["replicas"]
        return [found["replica"] for found in replicas if not found["working"]]

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda found: found != [replica]),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(10),
        retry_error_callback=lambda state: None,
    )
    return attempts(sick) == [replica]


def test_clock_an_hour_ahead(skewed: Stack, fault_table: FaultTable) -> None:
    skewed.run("up")
    objects = Acknowledged()
    objects.put(skewed.s3())

    set_clock(skewed, "1h")
    noticed, said = notice(skewed, 10)
    assert noticed is not None
    assert "RequestTimeTooSkewed" in said
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        skewed.s3(attempts=1).list_buckets()
    assert refused.value.response["Error"]["Code"] == "RequestTimeTooSkewed"
    for words in (("status", "--why"), ("doctor",), ("up",)):
        answer = skewed.run(*words, ok=False)
        assert (answer.status, told(answer)) == (3, "clock-skew"), words
        assert "ahead of" in answer.errors[0]["problem"]

    # The clock keeps nothing else from being healed, and nothing is restarted for it.
    started = skewed.container("tabled-1").attrs["State"]["StartedAt"]
    inflict.freeze(skewed, "chunkd-1")
    assert told(skewed.run("up", ok=False)) == "clock-skew"
    assert only_sick(skewed, "tabled-1")
    assert skewed.container("tabled-1").attrs["State"]["StartedAt"] == started

    set_clock(skewed, "0")
    with stopwatch() as passed:
        skewed.run("up")
    data = objects.expect_all(skewed)
    more = f"setting the clock (`up` and `doctor` said {code('clock-skew')})"
    fault_table.add(STACK, Measured("the containers' clock 1 h ahead", said, noticed, passed[0], more, data))
