"""The verbs on the in-memory engine: what they change, what they leave, what they return."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox.cli import render
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import (
    Container,
    ContainerDetails,
    ContainerState,
    EngineVersion,
    Image,
    Network,
    PublishedPort,
    Volume,
)
from hailbox.model import names
from hailbox.model.errors import (
    ComposeFailedError,
    ConfigurationError,
    EngineFailedError,
    EngineTooOldError,
    HailboxError,
    NotWorkingError,
    StackDownError,
    UnknownProfileError,
    UnknownServiceError,
    UnknownStackError,
)
from hailbox.model.progress import Phase, Progress
from hailbox.stack import down as stopping
from hailbox.stack.context import Context
from hailbox.stack.down import Removal, destroy, down
from hailbox.stack.env import env
from hailbox.stack.logs import LogLine, logs
from hailbox.stack.make import build, compose
from hailbox.stack.reset import reset
from hailbox.stack.status import ls, status, wait
from hailbox.stack.up import up

MakeContext = Callable[..., Context]
REPLICAS = ["chunkd-1", "cld-1", "credentials", "iwhd-1", "tabled-1"]
DATA = [f"hailbox-test-{replica}" for replica in ("chunkd-1", "cld-1", "iwhd-1", "tabled-1")]


class Removals:
    """Notes what is removed from the engine, by name."""

    def __init__(self, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.containers: list[str] = []
        self.volumes: list[str] = []
        self.networks: list[str] = []
        self.images: list[str] = []
        container, volume = fake.remove_container, fake.remove_volume
        network, image = fake.remove_network, fake.remove_image

        def remove_container(identifier: str) -> None:
            self.containers.append(fake.all_containers[identifier].name)
            container(identifier)

        def remove_volume(name: str) -> None:
            self.volumes.append(name)
            volume(name)

        def remove_network(identifier: str) -> None:
            self.networks.append(fake.all_networks[identifier].name)
            network(identifier)

        def remove_image(reference: str) -> None:
            self.images.append(reference)
            image(reference)

        monkeypatch.setattr(fake, "remove_container", remove_container)
        monkeypatch.setattr(fake, "remove_volume", remove_volume)
        monkeypatch.setattr(fake, "remove_network", remove_network)
        monkeypatch.setattr(fake, "remove_image", remove_image)

    def clear(self) -> None:
        for noted in (self.containers, self.volumes, self.networks, self.images):
            noted.clear()

    def agree_with(self, removal: Removal) -> bool:
        """Whether exactly what the result names was removed."""
        return (
            sorted(self.containers) == list(removal.containers)
            and sorted(self.volumes) == list(removal.volumes)
            and sorted(self.networks) == list(removal.networks)
            and sorted(self.images) == list(removal.images)
        )


@pytest.fixture
def removals(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Removals:
    return Removals(fake, monkeypatch)


def names_of(fake: FakeEngine) -> list[str]:
    """The replicas that have a container, in order, each as often as it has one."""
    return sorted(c.labels[names.REPLICA] for c in fake.all_containers.values())


def container_of(fake: FakeEngine, replica: str, stack: str = "test") -> Container:
    (found,) = [
        c
        for c in fake.all_containers.values()
        if c.labels.get(names.REPLICA) == replica and c.labels.get(names.STACK) == stack
    ]
    return found


def set_state(fake: FakeEngine, replica: str, state: ContainerState) -> None:
    found = container_of(fake, replica)
    fake.all_containers[found.id] = replace(found, state=state)


def write_data(fake: FakeEngine) -> None:
    for name in fake.contents:
        fake.contents[name] = replace(fake.contents[name], written=1)


def written(fake: FakeEngine) -> dict[str, int]:
    return {name: content.written for name, content in fake.contents.items() if not name.endswith("-credentials")}


# up


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


# down


def test_down_keeps_data_credentials_and_the_record(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    first = up(make_context())
    write_data(fake)
    secrets = fake.contents["hailbox-test-credentials"].credentials
    removals.clear()
    result = down(make_context())
    assert removals.agree_with(result)
    assert names_of(fake) == ["credentials"]
    assert fake.all_networks == {}
    assert removals.volumes == []
    second = up(make_context())
    assert [replica.endpoint for replica in second.replicas] == [replica.endpoint for replica in first.replicas]
    assert set(written(fake).values()) == {1}
    assert fake.contents["hailbox-test-credentials"].credentials == secrets


def test_down_twice_is_no_error(make_context: MakeContext) -> None:
    up(make_context())
    down(make_context())
    assert down(make_context()) == Removal("test", False)


def test_down_stops_cld_behind_its_clients(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    order: list[str] = []
    stop = fake.stop_container

    def note(identifier: str, *, stop_timeout: int) -> None:
        order.append(fake.all_containers[identifier].labels[names.REPLICA])
        stop(identifier, stop_timeout=stop_timeout)

    monkeypatch.setattr(fake, "stop_container", note)
    down(make_context())
    assert sorted(order) == ["chunkd-1", "cld-1", "iwhd-1", "tabled-1"]
    assert order[-1] == "cld-1"


def test_down_names_who_had_to_be_killed(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    stubborn = container_of(fake, "chunkd-1").id
    details = fake.container_details

    def killed(identifier: str) -> ContainerDetails:
        return replace(details(identifier), exit_code=137 if identifier == stubborn else 0)

    monkeypatch.setattr(stopping, "STOP_TIMEOUT", 0)  # nobody is so fast
    monkeypatch.setattr(fake, "container_details", killed)
    assert down(make_context()).killed == ("chunkd-1",)
    assert names_of(fake) == ["credentials"]


def test_down_lets_a_frozen_one_go_on_first(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    set_state(fake, "iwhd-1", ContainerState.PAUSED)
    frozen = container_of(fake, "iwhd-1").id
    stopped_in: list[ContainerState] = []
    stop = fake.stop_container

    def note(identifier: str, *, stop_timeout: int) -> None:
        if identifier == frozen:
            stopped_in.append(fake.all_containers[identifier].state)
        stop(identifier, stop_timeout=stop_timeout)

    monkeypatch.setattr(fake, "stop_container", note)
    down(make_context())
    assert stopped_in == [ContainerState.RUNNING]
    assert names_of(fake) == ["credentials"]


# reset


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


# destroy


def test_destroy_leaves_nothing(fake: FakeEngine, make_context: MakeContext, removals: Removals) -> None:
    up(make_context())
    images = dict(fake.all_images)
    listed = destroy(make_context(), dry_run=True)
    assert names_of(fake) == REPLICAS
    result = destroy(make_context())
    assert result == replace(listed, dry_run=False)
    assert removals.agree_with(result)
    assert sorted(result.volumes) == sorted([*DATA, "hailbox-test-credentials"])
    assert (fake.all_containers, fake.all_volumes, fake.all_networks) == ({}, {}, {})
    assert fake.all_images == images


def test_destroy_with_images_removes_those_that_hailbox_made(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    fake.all_images["python:3.13-slim"] = Image("foreign", ("python:3.13-slim",), {"maintainer": "somebody"})
    up(make_context())
    listed = destroy(make_context(), dry_run=True, images=True)
    assert len(listed.images) == 5
    assert destroy(make_context(), images=True) == replace(listed, dry_run=False)
    assert removals.agree_with(listed)
    assert list(fake.all_images) == ["python:3.13-slim"]
    # Also where no stack is left.
    assert destroy(make_context(), images=True) == Removal("test", False)


def test_destroy_with_images_leaves_those_that_others_use(fake: FakeEngine, make_context: MakeContext) -> None:
    """The engine would refuse to remove them, in the middle of the work."""
    fake.all_images["hailbox/base:python3.13"] = Image("base", ("hailbox/base:python3.13",), {names.IMAGE: "base"})
    up(make_context())
    up(make_context(stack="other", profile="fs"))
    removed = destroy(make_context(), images=True).images
    assert sorted(image.partition(":")[0] for image in removed) == ["hailbox/chunkd", "hailbox/cld", "hailbox/tabled"]
    assert {c.image for c in fake.all_containers.values()} <= fake.all_images.keys()
    removed = destroy(make_context(stack="other"), images=True).images
    assert sorted(image.partition(":")[0] for image in removed) == ["hailbox/base", "hailbox/iwhd", "hailbox/runtime"]


def test_destroy_of_a_part(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    fake.all_containers.clear()
    fake.all_networks.clear()
    assert destroy(make_context()).containers == ()
    assert fake.all_volumes == {}


# invariants


@pytest.mark.parametrize(
    "verb",
    [down, destroy, status, env, lambda context: list(logs(context))],
    ids=["down", "destroy", "status", "env", "logs"],
)
def test_what_needs_a_stack_says_which_there_are(
    make_context: MakeContext, verb: Callable[[Context], object]
) -> None:
    with pytest.raises(UnknownStackError) as caught:
        verb(make_context())
    assert caught.value.remedy == "create it with: hailbox --stack test up"
    up(make_context(stack="other"))
    with pytest.raises(UnknownStackError) as caught:
        verb(make_context())
    assert caught.value.remedy == "there are: other"


def test_no_volume_is_removed_but_by_reset_and_destroy(
    fake: FakeEngine, make_context: MakeContext, removals: Removals
) -> None:
    context = make_context()
    up(context)
    write_data(fake)
    for verb in (up, down, up, status, env, build, compose, lambda c: list(logs(c)), lambda c: wait(c, deadline=1)):
        verb(context)
    ls(fake)
    up(make_context(scale={"chunkd": 2}))
    up(make_context(profile="fs"))
    up(make_context(profile="s3"))
    reset(context, dry_run=True)
    destroy(context, dry_run=True)
    assert removals.volumes == []
    assert {name: number for name, number in written(fake).items() if name in DATA} == dict.fromkeys(DATA, 1)


def put_foreign(fake: FakeEngine) -> None:
    """Objects that are not the stack's, with names and labels that could be mistaken for it."""
    for index, labels in enumerate(
        [
            {},
            {names.STACK: "other", names.REPLICA: "cld-1", names.SERVICE: "cld"},
            {names.STACK: "tes", names.REPLICA: "cld-1"},
            {"com.docker.compose.project": "hailbox-test"},
        ]
    ):
        name = f"hailbox-test-foreign-{index}"
        port = (PublishedPort(1, "tcp", "127.0.0.1", 1),)
        fake.all_containers[name] = Container(name, name, "image", "id", ContainerState.EXITED, labels, port)
        fake.all_volumes[name] = Volume(name, labels)
        fake.all_networks[name] = Network(name, name, labels)
        fake.all_images[name] = Image(name, (f"hailbox/foreign:{index}",), labels)


def test_nothing_foreign_is_ever_touched(fake: FakeEngine, make_context: MakeContext) -> None:
    put_foreign(fake)
    kinds = (fake.all_containers, fake.all_volumes, fake.all_networks, fake.all_images)
    foreign = [{key: thing for key, thing in kind.items() if "foreign" in key} for kind in kinds]
    assert all(len(kind) == 4 for kind in foreign)
    context = make_context()
    for verb in (up, down, up, reset, lambda c: reset(c, ["cld"]), lambda c: destroy(c, images=True)):
        verb(context)
        assert [{key: thing for key, thing in kind.items() if "foreign" in key} for kind in kinds] == foreign


def test_stacks_do_not_touch_each_other(fake: FakeEngine, make_context: MakeContext) -> None:
    one, two = make_context(stack="one"), make_context(stack="two", profile="fs")
    up(one)
    up(two)
    assert up(one).changed == up(two).changed == ()
    reset(one)
    destroy(one)
    assert {container.labels[names.STACK] for container in fake.all_containers.values()} == {"two"}
    assert status(two).working


# looking


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
    assert caught.value.problem == "cld-1 does not work: its container is paused"
    assert caught.value.remedy.startswith("heal it with: hailbox --stack test up; "), "nothing was tried yet"


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
    assert sorted(line.text for line in logs(make_context(), ["tabled-1"], follow=True)) == ["", "two \ufffd"]
    with pytest.raises(UnknownServiceError):
        list(logs(make_context(), ["mongod"]))


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
