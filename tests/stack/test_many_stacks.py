"""Ten stacks on one engine, from ten directories: none of them notices the others."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import botocore.exceptions
import pytest
import requests

from hailbox.probe.outcome import Reached
from hailbox.probe.watch import Target, watch
from support.enginestack import Stack

COUNT = 10
AT_ONCE = 4
"""Commands that run side by side; all ten would only wait for the processor."""

# A stack of four services takes longer than one of a warehouse alone: `make test` has two of them.
S3_STACKS = 5 if os.environ.get("HAILBOX_FULL") else 2

T = TypeVar("T")


def on_all(stacks: list[Stack], work: Callable[[Stack], T]) -> dict[str, T]:
    """Do it for all stacks, several at once; results by name."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip((stack.name for stack in stacks), pool.map(work, stacks), strict=True))


@pytest.fixture
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Stack]]:
    """Stacks that do not exist yet, each with a directory whose hailbox.yaml names it; S3 stacks first."""
    run = secrets.token_hex(2)
    made = []
    for number in range(COUNT):
        profile = "s3" if number < S3_STACKS else "fs"
        stack = Stack(f"test-ten-{run}-{number}", tmp_path_factory.mktemp(f"stack-{number}"))
        (stack.home / "hailbox.yaml").write_text(f"stack: {stack.name}\nprofile: {profile}\n")
        made.append(stack)
    yield made
    on_all([stack for stack in made if stack.labelled()], lambda stack: stack.run("destroy"))
    for stack in made:
        assert stack.labelled() == []
        stack.client.close()


def body(stack: Stack) -> bytes:
    return f"the object of {stack.name}".encode()


def put(stack: Stack, env: dict[str, str]) -> None:
    for path, content in (("own", b""), ("own/object", body(stack)), (f"only-{stack.name}", b"")):
        requests.put(f"{env['IWHD_URL']}/{path}", data=content, timeout=20).raise_for_status()


def owners(text: str) -> set[str]:
    """The stacks whose buckets a listing names."""
    return set(re.findall(r"only-(test-ten-[0-9a-f]{4}-\d)", text))


def warehouse(env: dict[str, str]) -> str:
    return requests.get(env["IWHD_URL"], timeout=20).text


def holds_its_own(stack: Stack, env: dict[str, str]) -> None:
    assert requests.get(f"{env['IWHD_URL']}/own/object", timeout=20).content == body(stack)
    assert owners(warehouse(env)) == {stack.name}
    if "AWS_ENDPOINT_URL" in env:
        assert owners(str(stack.s3(env=env).list_buckets()["Buckets"])) == {stack.name}


def shape(stack: Stack) -> dict[str, tuple[str, str, int]]:
    """Each container's id, when it was started, and how often the engine restarted it."""
    found = {}
    for name in stack.containers():
        attributes = stack.client.containers.get(name).attrs
        found[name] = (attributes["Id"], attributes["State"]["StartedAt"], attributes["RestartCount"])
    return found


def assert_refused(stack: Stack, env: dict[str, str], others: dict[str, str]) -> None:
    """No service of the stack accepts the credentials of another one."""
    keys = {name: value for name, value in others.items() if name.startswith("AWS_") and "KEY" in name}
    with pytest.raises(botocore.exceptions.ClientError, match=r"InvalidAccessKeyId|SignatureDoesNotMatch"):
        stack.s3(env=env | keys).list_buckets()
    targets = [
        Target("cld-1", "cld", int(env["CLD_ADDRESS"].rpartition(":")[2])),
        Target("chunkd-1", "chunkd", int(env["CHUNKD_ADDRESSES"].rpartition(":")[2])),
    ]

    def reached(source: dict[str, str]) -> set[Reached]:
        credentials = source | {"CHUNK_USER": source["CHUNKD_USER"], "CHUNK_SECRET": source["CHUNKD_SECRET"]}
        outcomes = watch(targets, credentials, deadline=0, on_change=lambda outcome: None)
        return {outcome.reached for outcome in outcomes.values()}

    assert reached(env) == {Reached.FUNCTION}
    assert reached(others) == {Reached.ANSWER}


@pytest.mark.timeout(600)
def test_ten_stacks_at_once(stacks: list[Stack]) -> None:
    for replicas in on_all(stacks, lambda stack: stack.run_here("up").data["replicas"]).values():
        assert all(replica["working"] for replica in replicas)
    envs = on_all(stacks, Stack.env)
    addresses = [value for env in envs.values() for key, value in env.items() if key.endswith(("URL", "ADDRESS"))]
    assert len(addresses) == len(set(addresses)) == COUNT + 2 * S3_STACKS
    for stack in stacks:
        put(stack, envs[stack.name])
    for stack in stacks:
        holds_its_own(stack, envs[stack.name])
    assert_refused(stacks[0], envs[stacks[0].name], envs[stacks[1].name])

    listed = {one["stack"]: one for one in stacks[0].run("ls").data if one["stack"] in envs}
    assert [listed[stack.name]["profile"] for stack in stacks] == ["s3"] * S3_STACKS + ["fs"] * (COUNT - S3_STACKS)
    assert all(one["running"] == one["containers"] for one in listed.values())

    reset, *others = stacks
    before = {stack.name: shape(stack) for stack in others}
    reset.run_here("reset")
    assert owners(warehouse(envs[reset.name])) == set()
    assert {stack.name: shape(stack) for stack in others} == before
    for stack in others:
        holds_its_own(stack, envs[stack.name])

    on_all(stacks, lambda stack: stack.run_here("destroy"))
    assert {stack.name: stack.labelled() for stack in stacks} == {stack.name: [] for stack in stacks}
