"""`up` on the in-memory engine: what it makes, changes and leaves."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox.commands.down import down
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState, EngineVersion, Image
from hailbox.model.errors import (
    ComposeFailedError,
    ConfigurationError,
    EngineTooOldError,
    HailboxError,
    UnknownProfileError,
    UnknownServiceError,
)
from hailbox.model.progress import Phase, Progress
from support.fakestack import (
    DATA,
    REPLICAS,
    MakeContext,
    Removals,
    container_of,
    names_of,
    set_state,
    write_data,
    written,
)


def test_up_makes_everything_and_says_where_it_is(fake: FakeEngine, make_context: MakeContext) -> None:
    result = up(make_context())
    assert result.working
    assert (result.stack, result.profile, result.healed) == ("test", "s3", ())
    assert names_of(fake) == REPLICAS
    assert {replica.replica: replica.endpoint.rpartition(":")[0] for replica in result.replicas} == {
        "cld-1": "127.0.0.1",
        "chunkd-1": "127.0.0.1",
        "tabled-1": "http://127.0.0.1",
        "iwhd-1": "http://127.0.0.1",
    }
    for replica in result.replicas:
        published = {port.host_port for port in container_of(fake, replica.replica).ports}
        assert {int(replica.endpoint.rpartition(":")[2])} == published


def test_up_remembers_profile_and_scale(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context(scale={"chunkd": 3}))
    assert up(make_context()).changed == ()
    assert sum(name.startswith("chunkd") for name in names_of(fake)) == 3
    down(make_context())
    up(make_context())
    assert sum(name.startswith("chunkd") for name in names_of(fake)) == 3
    assert up(make_context(scale={"chunkd": 1})).working
    assert names_of(fake) == REPLICAS


def test_up_with_another_profile_keeps_all_data(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    up(make_context())
    write_data(fake)
    result = up(make_context(profile="fs"))
    assert (result.profile, [replica.replica for replica in result.replicas]) == ("fs", ["iwhd-1"])
    assert names_of(fake) == ["credentials", "iwhd-1"]
    assert written(fake) == dict.fromkeys(DATA, 1)
    assert up(make_context()).profile == "fs"
    assert up(make_context(profile="s3")).working
    assert names_of(fake) == REPLICAS
    assert removals.volumes == []


def test_up_changes_only_what_is_different(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    before = dict(fake.all_containers)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    result = up(make_context(ports={"tabled": port}))
    assert container_of(fake, "tabled-1").ports[0].host_port == port
    assert sorted(result.changed) == ["credentials", "tabled-1"]
    kept = {container_of(fake, name).id for name in ("cld-1", "chunkd-1", "iwhd-1")}
    assert kept <= before.keys()
    assert up(make_context()).changed == ()


def test_up_with_an_image_of_the_user(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    write_data(fake)
    fake.all_images["own/tabled:1"] = Image("own", ("own/tabled:1",))
    assert up(make_context(images={"tabled": "own/tabled:1"})).working
    assert container_of(fake, "tabled-1").image == "own/tabled:1"
    assert container_of(fake, "cld-1").image.startswith("hailbox/cld:")
    assert set(written(fake).values()) == {1}
    assert up(make_context()).changed == ()
    up(make_context(images={"tabled": "ours"}))
    assert container_of(fake, "tabled-1").image.startswith("hailbox/tabled:")


def test_up_with_a_profile_of_the_user_remembers_it_without_the_file(
    fake: FakeEngine, make_context: MakeContext, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("summary: 2010-01-01\nservices: {cld: [{}], chunkd: [{}, {}]}\n")
    assert up(make_context(profile=str(path))).profile == "mine"
    path.unlink()
    result = up(make_context())
    assert (result.profile, result.changed) == ("mine", ())
    assert names_of(fake) == ["chunkd-1", "chunkd-2", "cld-1", "credentials"]
    with pytest.raises(ConfigurationError) as caught:
        up(make_context(profile=str(path)))
    assert caught.value.problem == f"{path} cannot be read: No such file or directory"


@pytest.mark.parametrize("state", [state for state in ContainerState if state is not ContainerState.RUNNING])
def test_up_from_any_state_of_a_container(
    fake: FakeEngine, make_context: MakeContext, state: ContainerState, removals: Removals
) -> None:
    up(make_context())
    write_data(fake)
    set_state(fake, "chunkd-1", state)
    assert up(make_context()).working
    assert names_of(fake) == REPLICAS
    assert container_of(fake, "chunkd-1").state is ContainerState.RUNNING
    assert set(written(fake).values()) == {1}
    assert removals.volumes == []


@pytest.mark.parametrize("gone", ["container", "network", "credentials container", "volume", "credentials"])
def test_up_makes_again_what_somebody_removed(fake: FakeEngine, make_context: MakeContext, gone: str) -> None:
    up(make_context())
    if gone == "container":
        del fake.all_containers[container_of(fake, "tabled-1").id]
    elif gone == "network":
        fake.all_networks.clear()
    elif gone == "credentials container":
        del fake.all_containers[container_of(fake, "credentials").id]
    elif gone == "volume":
        del fake.all_containers[container_of(fake, "chunkd-1").id]
        del fake.all_volumes["hailbox-test-chunkd-1"], fake.contents["hailbox-test-chunkd-1"]
    else:
        volume = "hailbox-test-credentials"
        fake.contents[volume] = replace(fake.contents[volume], credentials=None)
    result = up(make_context())
    assert result.working
    assert names_of(fake) == REPLICAS
    assert sorted(fake.all_volumes) == sorted([*DATA, "hailbox-test-credentials"])
    assert len(fake.all_networks) == 1
    assert fake.contents["hailbox-test-credentials"].credentials


def test_up_removes_what_a_killed_compose_left(fake: FakeEngine, make_context: MakeContext) -> None:
    """Compose renames the old container while it makes the new one."""
    up(make_context())
    whole = container_of(fake, "cld-1")
    fake.all_containers["old"] = replace(whole, id="old", name="0123456789ab_hailbox-test-cld-1")
    assert up(make_context()).working
    assert names_of(fake) == REPLICAS


def test_up_takes_other_ports_if_some_were_taken_meanwhile(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake.compose
    taken: list[socket.socket] = []

    def fail_once(project: str, file: str, arguments: list[str]) -> None:
        if not taken:
            wanted = file.rpartition("org.hailbox.port.tabled-1.s3: '")[2].partition("'")[0]
            taken.append(socket.create_server(("127.0.0.1", int(wanted))))
            raise ComposeFailedError("port is already allocated", "try again")
        run(project, file, arguments)

    monkeypatch.setattr(fake, "compose", fail_once)
    result = up(make_context())
    (holder,) = taken
    with holder:
        assert result.working
        assert container_of(fake, "tabled-1").ports[0].host_port != holder.getsockname()[1]


def test_up_does_not_try_for_ever(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fail(project: str, file: str, arguments: list[str]) -> None:
        tried.append(project)
        raise ComposeFailedError("it does not like the file", "mend it")

    monkeypatch.setattr(fake, "compose", fail)
    with pytest.raises(ComposeFailedError):
        up(make_context())
    assert tried == ["hailbox-test"]


def test_up_on_an_engine_that_is_too_old_changes_nothing(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "version", lambda: EngineVersion("19.03.15", "1.40", "linux", "amd64"))
    with pytest.raises(EngineTooOldError) as caught:
        up(make_context())
    assert "19.03.15" in caught.value.problem
    assert (fake.all_containers, fake.all_volumes, fake.all_networks) == ({}, {}, {})


def test_what_an_engine_can_do_counts_and_not_the_number_of_its_release(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "version", lambda: EngineVersion("4.3.1", "1.41", "linux", "amd64", "Podman"))
    assert up(make_context()).working


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"profile": "nosuch"}, UnknownProfileError),
        ({"scale": {"nosuch": 2}}, UnknownServiceError),
        ({"profile": "fs", "scale": {"chunkd": 2}}, UnknownServiceError),
        ({"profile": "fs", "ports": {"tabled": 1}}, UnknownServiceError),
        ({"images": {"nosuch": "image"}}, UnknownServiceError),
    ],
    ids=str,
)
def test_up_with_a_choice_that_cannot_be_changes_nothing(
    fake: FakeEngine, make_context: MakeContext, choices: dict[str, object], error: type[HailboxError]
) -> None:
    with pytest.raises(error):
        up(make_context(**choices))
    assert (fake.all_containers, fake.all_volumes, fake.all_networks) == ({}, {}, {})


def test_up_tells_of_its_progress(make_context: MakeContext) -> None:
    told: list[Progress] = []
    up(replace(make_context(), report=told.append))
    starting = [step.subject for step in told if step.phase is Phase.STARTING]
    assert sorted(starting) == ["chunkd-1", "cld-1", "iwhd-1", "tabled-1"]
    assert all(step.seconds >= 0 for step in told)
