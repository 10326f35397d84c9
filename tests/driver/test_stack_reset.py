"""`reset` on the in-memory engine: what is discarded, and what comes back."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hailbox.commands.down import Removal
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.model import names
from hailbox.model.errors import EngineFailedError, UnknownServiceError
from support.fakestack import DATA, REPLICAS, MakeContext, Removals, container_of, names_of, write_data, written


def test_reset_discards_all_data_and_keeps_the_credentials(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    up(make_context())
    write_data(fake)
    secrets = fake.contents["hailbox-test-credentials"].credentials
    result = reset(make_context())
    assert result.stack is not None
    assert result.stack.working
    assert removals.agree_with(result.removal)
    assert sorted(removals.volumes) == DATA
    assert written(fake) == dict.fromkeys(DATA, 0)
    assert fake.contents["hailbox-test-credentials"].credentials == secrets


@pytest.mark.parametrize("word", ["chunkd", "chunkd-2"])
def test_reset_of_a_service_or_a_replica(
    fake: FakeEngine, make_context: MakeContext, removals: Removals, word: str
) -> None:
    context = make_context(scale={"chunkd": 2})
    up(context)
    write_data(fake)
    result = reset(context, [word])
    discarded = {"hailbox-test-chunkd-2"} | ({"hailbox-test-chunkd-1"} if word == "chunkd" else set())
    assert set(removals.volumes) == set(result.removal.volumes) == discarded
    assert {name for name, number in written(fake).items() if number == 0} == discarded


@pytest.mark.parametrize("wanted", [[], ["tabled"], ["tabled", "chunkd-1"]], ids=str)
def test_dry_run_of_reset_lists_exactly_what_the_real_one_removes(
    fake: FakeEngine, make_context: MakeContext, removals: Removals, wanted: list[str]
) -> None:
    up(make_context())
    before = (dict(fake.all_containers), dict(fake.all_volumes), dict(fake.all_networks), dict(fake.contents))
    listed = reset(make_context(), wanted, dry_run=True)
    assert listed.stack is None
    assert before == (fake.all_containers, fake.all_volumes, fake.all_networks, fake.contents)
    real = reset(make_context(), wanted)
    assert replace(listed.removal, dry_run=False) == real.removal
    assert removals.agree_with(listed.removal)


def test_reset_of_what_is_not_there_discards_nothing(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    up(make_context())
    with pytest.raises(UnknownServiceError) as caught:
        reset(make_context(), ["chunkd", "mongod"])
    assert "'mongod'" in caught.value.problem
    assert removals.volumes == []
    assert names_of(fake) == REPLICAS


def test_reset_from_nothing_brings_the_stack_up(fake: FakeEngine, make_context: MakeContext) -> None:
    result = reset(make_context())
    assert result.stack is not None
    assert result.removal == Removal("test", False)
    assert names_of(fake) == REPLICAS


@pytest.mark.parametrize("differs", ["nothing", "digest", "volume", "configuration"])
def test_reset_runs_compose_only_where_something_differs(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, differs: str
) -> None:
    up(make_context())
    write_data(fake)
    ran: list[str] = []
    run = fake.compose

    def compose(project: str, file: str, arguments: Sequence[str]) -> None:
        ran.append(project)
        run(project, file, arguments)

    monkeypatch.setattr(fake, "compose", compose)
    if differs == "digest":
        container = container_of(fake, "tabled-1")
        fake.all_containers[container.id] = replace(container, labels={**container.labels, names.DIGEST: "other"})
    elif differs == "volume":
        del fake.all_volumes["hailbox-test-chunkd-1"]
    elif differs == "configuration":
        volume = "hailbox-test-credentials"
        fake.contents[volume] = replace(fake.contents[volume], files={})
    before = {container.id for container in fake.all_containers.values()}
    volumes = dict(fake.all_volumes)
    result = reset(make_context()).stack
    assert result is not None
    assert result.working
    assert set(result.changed) >= {"chunkd-1", "cld-1", "iwhd-1", "tabled-1"}
    assert bool(ran) == (differs != "nothing")
    assert names_of(fake) == REPLICAS
    assert set(written(fake).values()) == {0}
    kept = before & {container.id for container in fake.all_containers.values()}
    assert kept == {container_of(fake, "credentials").id}
    assert volumes.items() <= fake.all_volumes.items()
    assert up(make_context()).changed == ()


def test_reset_copes_with_a_port_that_was_taken_meanwhile(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    start = fake.start_container
    taken: list[socket.socket] = []

    def start_if_free(identifier: str) -> None:
        ports = [port.host_port for port in fake.all_containers[identifier].ports]
        if not taken and fake.all_containers[identifier].labels[names.REPLICA] == "tabled-1":
            taken.append(socket.create_server(("127.0.0.1", ports[0])))
        if taken and taken[0].getsockname()[1] in ports:
            raise EngineFailedError("port is already allocated", "try again")
        start(identifier)

    monkeypatch.setattr(fake, "start_container", start_if_free)
    result = reset(make_context()).stack
    (holder,) = taken
    with holder:
        assert result is not None
        assert result.working
        assert container_of(fake, "tabled-1").ports[0].host_port != holder.getsockname()[1]


def test_reset_removes_leftovers_of_another_profile(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    up(make_context())
    up(make_context(profile="fs"))
    write_data(fake)
    removals.clear()
    reset(make_context())
    assert sorted(removals.volumes) == DATA
    assert written(fake) == {"hailbox-test-iwhd-1": 0}
