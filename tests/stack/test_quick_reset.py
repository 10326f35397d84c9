"""`reset --quick` on a real stack: nothing stored is left in its volumes; what is off is reset in earnest."""

from __future__ import annotations

import http.client
import json
import subprocess

import pytest

from support.enginestack import Stack

VOLUMES = {
    "cld-1": "/var/lib/cld",
    "chunkd-1": "/var/lib/chunkd",
    "tabled-1": "/var/lib/tabled",
    "iwhd-1": "/var/lib/iwhd",
}
WORDS = (b"bucket-of-a-test", b"object-of-a-test", b"body-of-a-test")


def fill(stack: Stack) -> None:
    env = stack.env()
    warehouse = http.client.HTTPConnection(env["IWHD_URL"].removeprefix("http://"), timeout=30)
    for path, body in (
        ("", b""),
        ("/object-of-a-test", b"body-of-a-test" * 10_000),
        ("/object-of-a-test-2", WORDS[2]),
    ):
        warehouse.request("PUT", f"/bucket-of-a-test{path}", body)
        answer = warehouse.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
    warehouse.close()
    command = stack.command("shell", "cld", "cpin", "file", "/object-of-a-test")
    subprocess.run(command, cwd=stack.home, env=stack.environment(), check=True)


def found(stack: Stack) -> list[str]:
    """The replicas whose volume holds something of what `fill` stored."""
    content = {replica: b"".join(stack.container(replica).get_archive(path)[0]) for replica, path in VOLUMES.items()}
    return [replica for replica, data in content.items() if any(word in data for word in WORDS)]


@pytest.mark.timeout(300)
def test_nothing_survives_and_what_is_off_is_reset_in_earnest(stack: Stack) -> None:
    (stack.home / "file").write_bytes(WORDS[2])
    stack.run("up", "--profile", "s3")
    before, containers = stack.env(), stack.containers()
    fill(stack)
    assert found(stack) == list(VOLUMES)
    done = stack.run("reset", "--quick")
    assert done.data["quick"]
    assert not done.data["reason"]
    assert all(replica["working"] for replica in done.data["stack"]["replicas"])
    assert found(stack) == []
    assert (stack.env(), stack.containers()) == (before, containers)

    fill(stack)
    stack.run("fault", "pause", "chunkd-1")
    again = subprocess.Popen(
        stack.command("reset", "--repeat", "--quiet"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=stack.home,
        env=stack.environment(),
    )
    output, _ = again.communicate(b"\n\n")
    first, second = (json.loads(line)["data"] for line in output.splitlines()[:2])
    assert not first["quick"]
    assert "fault" in first["reason"]
    assert second["quick"], second["reason"]
    assert stack.run("fault", "ls").data == []
    assert found(stack) == []

    fill(stack)
    stack.container("tabled-1").kill()
    done = stack.run("reset", "--quick")
    assert not done.data["quick"]
    assert done.data["reason"]
    assert found(stack) == []
