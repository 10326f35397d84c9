"""`shell` and `exec` on a real stack: its own addresses and credentials, its own containers."""

import re
import subprocess

import pytest

from support.enginestack import Stack
from support.terminal import Terminal


def program(stack: Stack, *words: str, input: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a command as a user would, with pipes."""
    return subprocess.run(
        stack.command(*words), cwd=stack.home, env=stack.environment(), input=input, capture_output=True, text=True
    )


@pytest.mark.timeout(120)
def test_shell_and_exec(stack: Stack) -> None:
    stack.run("up")

    # cld: what the stack itself keeps there, and a lock that a shell holds.
    assert set(program(stack, "shell", "cld", "ls", "/").stdout.split()) == {"chunk-default", "tabled-default"}
    script = program(
        stack, "shell", "cld", input="mkdir /mine\ncpin /etc/hostname /mine/file\nlock /mine/file\nlist-locks\n"
    )
    assert (script.returncode, script.stdout, script.stderr) == (0, "/mine/file  exclusive\n", "")
    # tabled and chunkd hold the locks that register them; no other session gets one.
    record = program(stack, "shell", "cld", "trylock", "/chunk-default/1")
    assert record.returncode == 5
    assert "LOCK_CONFLICT" in record.stderr

    # chunkd: a table of our own beside tabled's.
    script = program(stack, "shell", "chunkd", "-t", "mine", "--create", input="put key value\nget key\nget none\n")
    assert (script.returncode, script.stdout) == (5, "value")
    assert "hailbox: line 3: get none: NoSuchKey" in script.stderr
    listed = stack.run("shell", "chunkd", "--replica", "chunkd-1", "-t", "mine", "list").data["commands"][0]["output"]
    assert listed.split()[0::3] == ["5", "key"]

    # Containers: streams both ways, the command's own status, a terminal.
    copied = program(stack, "exec", "tabled-1", "--", "sh", "-c", "hostname; cat; exit 7", input="typed\n")
    assert (copied.returncode, copied.stdout) == (7, "tabled-1\ntyped\n")
    locks = program(stack, "exec", "cld-1", "cld", "admin", "locks")
    assert locks.returncode == 0, locks.stderr
    assert re.search(
        r"^/chunk-default/1 +held +exclusive +[0-9]+ +[0-9A-F]{16} +tabled +", locks.stdout, re.MULTILINE
    )
    answer = subprocess.run(
        [*stack.command("--json"), "exec", "iwhd-1", "sh", "-c", "hostname; echo err >&2"],
        env=stack.environment(),
        cwd=stack.home,
        capture_output=True,
        text=True,
    )
    assert '"output": "iwhd-1\\n"' in answer.stdout
    assert '"errors": "err\\n"' in answer.stdout
    with Terminal(stack.command("shell", "tabled-1"), stack.home, stack.environment()) as terminal:
        terminal.type("echo $((6 * 7))-$(hostname); exit 3\n")
        terminal.read_until("42-tabled-1")
        assert terminal.end() == 3

    stack.container("chunkd-1").kill()
    gone = stack.run("shell", "chunkd", "ping", ok=False)
    assert [error["code"] for error in gone.errors] == ["not-working"]
