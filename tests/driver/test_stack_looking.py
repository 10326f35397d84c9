"""The verbs that only look, on the in-memory engine: what they return."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox.cli import render
from hailbox.commands.build import build, compose
from hailbox.commands.down import destroy, down, remove_all
from hailbox.commands.env import env
from hailbox.commands.follow import follow
from hailbox.commands.logs import LogLine, logs
from hailbox.commands.ls import ls
from hailbox.commands.reset import reset
from hailbox.commands.status import status, wait
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState, Volume
from hailbox.model import names
from hailbox.model.errors import NotWorkingError, StackDownError, UnknownServiceError
from hailbox.model.progress import Progress
from support.fakestack import MakeContext, container_of, set_state


def test_status_names_what_does_not_work_and_why(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    assert status(make_context()).working
    set_state(fake, "tabled-1", ContainerState.EXITED)
    del fake.all_containers[container_of(fake, "iwhd-1").id]
    before = dict(fake.all_containers)
    result = status(make_context())
    assert not result.working
    assert {replica.replica: replica.reason for replica in result.replicas} == {
        "cld-1": "",
        "chunkd-1": "",
        "tabled-1": "its container is exited",
        "iwhd-1": "it has no container",
    }
    assert fake.all_containers == before


def test_a_stack_that_is_down_is_said_to_be(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context()
    up(context)
    assert not status(context).down
    down(context)
    result = status(context)
    assert (result.down, result.working) == (True, False)
    assert render.stack(result) == "stack test, profile s3: down"
    with pytest.raises(StackDownError, match="stack test is down") as raised:
        wait(context, deadline=0)
    assert raised.value.remedy == "start it with: hailbox --stack test up"
    up(context)
    del fake.all_containers[container_of(fake, "iwhd-1").id]
    assert not status(context).down


def test_listing_of_stacks(fake: FakeEngine, make_context: MakeContext) -> None:
    assert ls(fake) == []
    up(make_context(stack="one"))
    up(make_context(stack="two", profile="fs"))
    down(make_context(stack="two"))
    fake.all_volumes["left"] = Volume("left", {names.STACK: "three"})
    assert [(s.stack, s.profile, s.running, s.containers, s.volumes, len(s.endpoints)) for s in ls(fake)] == [
        ("one", "s3", 4, 4, 5, 4),
        ("three", "?", 0, 0, 1, 0),
        ("two", "fs", 0, 0, 2, 0),
    ]


def test_env_has_what_clients_need_and_a_shell_takes_it(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context(scale={"chunkd": 2}))
    found = env(make_context())
    assert list(found) == [
        "HAILBOX_STACK",
        "IWHD_URL",
        "IWHD_URLS",
        "AWS_ENDPOINT_URL",
        "TABLED_URLS",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "CLD_ADDRESS",
        "CLD_USER",
        "CLD_SECRET",
        "CHUNKD_ADDRESSES",
        "CHUNKD_USER",
        "CHUNKD_SECRET",
    ]
    for value in found.values():
        assert shlex.split(value) == [value]
    ports = [container_of(fake, name).ports[0].host_port for name in ("chunkd-1", "chunkd-2")]
    assert found["CHUNKD_ADDRESSES"] == ",".join(f"127.0.0.1:{port}" for port in ports)
    assert found["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{container_of(fake, 'tabled-1').ports[0].host_port}"
    assert found["TABLED_URLS"] == found["AWS_ENDPOINT_URL"]
    assert found["IWHD_URLS"] == found["IWHD_URL"]
    down(make_context())
    assert env(make_context()) == found


def test_members_of_a_group_share_their_data(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context(scale={"tabled": 2})
    up(context)
    assert len(env(make_context())["TABLED_URLS"].split(",")) == 2
    volume = "hailbox-test-tabled-1"
    assert [v for v in fake.all_volumes if "tabled" in v] == [volume]
    assert status(make_context()).working
    before = {name: container_of(fake, name).id for name in ("tabled-1", "tabled-2", "chunkd-1")}
    removal = reset(make_context(), ["tabled-2"]).removal
    assert removal.volumes == (volume,)
    assert removal.containers == ("hailbox-test-tabled-1", "hailbox-test-tabled-2")
    after = {name: container_of(fake, name).id for name in before}
    assert [name for name in before if before[name] != after[name]] == ["tabled-1", "tabled-2"]
    assert up(make_context()).lost == ()
    up(make_context(scale={"tabled": 1}))
    assert volume in fake.all_volumes


def test_env_of_a_profile_names_only_what_it_has(make_context: MakeContext) -> None:
    up(make_context(profile="fs"))
    assert list(env(make_context())) == ["HAILBOX_STACK", "IWHD_URL", "IWHD_URLS"]


def test_wait_for_a_stack_that_works(make_context: MakeContext) -> None:
    up(make_context())
    assert wait(make_context(), deadline=0).working


def test_wait_for_a_stack_that_somebody_brings_up(fake: FakeEngine, make_context: MakeContext) -> None:
    context = make_context()

    def bring_up(progress: Progress) -> None:
        if not fake.all_containers:
            up(context)

    assert wait(replace(context, report=bring_up), deadline=20).working


def test_wait_in_vain(fake: FakeEngine, make_context: MakeContext) -> None:
    with pytest.raises(NotWorkingError) as caught:
        wait(make_context(), deadline=0)
    assert "no stack 'test' after 0 s" in caught.value.problem
    up(make_context())
    set_state(fake, "cld-1", ContainerState.PAUSED)
    with pytest.raises(NotWorkingError) as caught:
        wait(make_context(), deadline=0)
    assert caught.value.problem == "cld-1 is frozen: its container is paused"
    assert caught.value.remedy == "let it go on: hailbox --stack test up", "nothing was tried yet"


def test_logs_are_merged_in_order_of_time(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    said = {
        "cld-1": [b"2026-01-01T00:00:01.1Z one\r", b"2026-01-01T00:00:03.0Z three"],
        "tabled-1": [b"2026-01-01T00:00:02.5Z two \xff", b"2026-01-01T00:00:04.0Z"],
    }

    def lines(identifier: str, **_options: object) -> list[bytes]:
        return said.get(fake.all_containers[identifier].labels[names.REPLICA], [])

    monkeypatch.setattr(fake, "logs", lines)
    assert list(logs(make_context())) == [
        LogLine("cld-1", "2026-01-01T00:00:01.1Z", "one"),
        LogLine("tabled-1", "2026-01-01T00:00:02.5Z", "two \ufffd"),
        LogLine("cld-1", "2026-01-01T00:00:03.0Z", "three"),
        LogLine("tabled-1", "2026-01-01T00:00:04.0Z", ""),
    ]
    assert [line.text for line in logs(make_context(), ["cld"])] == ["one", "three"]
    later = [line.text for line in logs(make_context(), since=1767225602.5)]
    assert later == ["two \ufffd", "three", ""], "2026-01-01T00:00:02.5Z and later"
    following = follow(make_context(), ["tabled-1"])
    assert [next(following).text, next(following).text] == ["two \ufffd", ""]
    with pytest.raises(UnknownServiceError):
        list(logs(make_context(), ["mongod"]))
    down(make_context())
    with pytest.raises(StackDownError):
        list(logs(make_context(), ["cld"]))


def test_destroy_all_removes_every_stack_and_dry_run_none(fake: FakeEngine, make_context: MakeContext) -> None:
    for name in ("one", "two"):
        up(make_context(stack=name))
    seen = remove_all(make_context(), dry_run=True)
    assert [(removal.stack, removal.dry_run) for removal in seen] == [("one", True), ("two", True)]
    assert len(ls(fake)) == 2
    done = remove_all(make_context())
    assert [removal.volumes for removal in done] == [removal.volumes for removal in seen]
    assert ls(fake) == []
    assert remove_all(make_context()) == []


def test_compose_and_build_start_nothing(fake: FakeEngine, make_context: MakeContext) -> None:
    assert compose(make_context()).startswith("# Stack test, profile s3.")
    assert set(build(make_context()).images) == {"cld", "chunkd", "tabled", "iwhd", "credentials"}
    assert (fake.all_containers, fake.all_volumes, fake.all_networks) == ({}, {}, {})


def test_compose_prints_what_up_runs(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    run = fake.compose

    def note(project: str, file: str, arguments: list[str]) -> None:
        ran.append(file)
        run(project, file, arguments)

    monkeypatch.setattr(fake, "compose", note)
    printed = compose(make_context())
    up(make_context())
    assert ran == [printed]


def test_the_current_directory_is_never_written(
    tmp_path: Path, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir(mode=0o500)
    monkeypatch.chdir(here)
    context = make_context()
    for verb in (up, down, reset, status, env, compose, destroy):
        verb(context)
    assert list(here.iterdir()) == []
