"""The containers' clock runs an hour ahead of ours: a row of the table of faults.

The kernel has one clock for all, so the daemons get theirs from libfaketime, in images made of hailbox's own, which
the stack is given as a user's own images.
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
def stack_of_clocks(tmp_path: Path) -> Iterator[tuple[Stack, dict[str, str]]]:
    """A stack that does not exist yet, and images for its daemons with a clock an hour ahead."""
    stack = Stack(f"test-clock-{os.getpid()}", tmp_path)
    built = stack.run("build").data["images"]
    skewed = {daemon: skewed_image(stack.client, built[daemon]) for daemon in DAEMONS}
    yield stack, skewed
    if stack.labelled():
        stack.run("destroy")
    assert stack.labelled() == []
    for reference in skewed.values():
        stack.client.images.remove(reference, force=True)
    stack.client.close()


def choose(stack: Stack, images: dict[str, str]) -> None:
    """Have these images by daemon from the next `up` on."""
    chosen = "".join(f"  {daemon}: {reference}\n" for daemon, reference in images.items())
    (stack.home / "hailbox.yaml").write_text(f"images:\n{chosen}")


def only_sick(stack: Stack, replica: str) -> bool:
    """Whether that replica, and no other, comes not to work; a loaded machine may need several looks."""

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


def test_clock_an_hour_ahead(stack_of_clocks: tuple[Stack, dict[str, str]], fault_table: FaultTable) -> None:
    stack, skewed = stack_of_clocks
    stack.run("up")
    objects = Acknowledged()
    objects.put(stack.s3())

    choose(stack, skewed)
    assert told(stack.run("up", ok=False)) == "clock-skew"
    noticed, said = notice(stack)
    assert noticed is not None
    assert "RequestTimeTooSkewed" in said
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        stack.s3(attempts=1).list_buckets()
    assert refused.value.response["Error"]["Code"] == "RequestTimeTooSkewed"
    for words in (("status", "--why"), ("doctor",), ("up",)):
        answer = stack.run(*words, ok=False)
        assert (answer.status, told(answer)) == (3, "clock-skew"), words
        assert "ahead of" in answer.errors[0]["problem"]

    # The clock keeps nothing else from being healed, and nothing is restarted for it.
    started = stack.container("tabled-1").attrs["State"]["StartedAt"]
    inflict.freeze(stack, "chunkd-1")
    healing = stack.run("up", ok=False)
    assert told(healing) == "clock-skew"
    assert only_sick(stack, "tabled-1"), (healing.errors, stack.run("status", "--why", ok=False).data)
    assert stack.container("tabled-1").attrs["State"]["StartedAt"] == started

    choose(stack, dict.fromkeys(DAEMONS, "ours"))
    with stopwatch() as passed:
        stack.run("up")
    data = objects.expect_all(stack)
    more = f"setting the clock (`up` and `doctor` said {code('clock-skew')})"
    fault_table.add(STACK, Measured("the containers' clock 1 h ahead", said, noticed, passed[0], more, data))
