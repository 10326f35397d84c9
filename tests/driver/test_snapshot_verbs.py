"""Snapshots on the engine in memory: what is copied, and that no kill at any request leaves a lie."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from hailbox.commands.down import destroy, down
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.engine.fake import FakeEngine, VolumeContent
from hailbox.engine.port import ContainerState, Helper
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import (
    NameTakenError,
    NotWorkingError,
    SnapshotDamagedError,
    SnapshotExistsError,
    UnknownSnapshotError,
    UsageError,
)
from hailbox.observe import observe
from hailbox.snapshot import catalog
from hailbox.snapshot.manage import ls, remove
from hailbox.snapshot.restore import restore
from hailbox.snapshot.save import save
from support.fakestack import MakeContext

pytestmark = pytest.mark.slow

SUM = VolumeContent(written=0)


class Copier:
    """Does to the volumes in memory what the helpers' commands do to real ones."""

    def __init__(self, fake: FakeEngine) -> None:
        self.fake = fake
        self.kept: dict[str, dict[str, int]] = {}
        self.frozen: list[ContainerState] = []
        self.damage: dict[str, int] = {}
        """By replica, what its copy holds in place of what was saved."""
        self.waiting: set[str] = set()
        """The restoring helpers that have not yet been told that the services have ended."""

    def __call__(self, helper: Helper) -> bytes:
        if "-lostprocesses-" in helper.name:
            return b"[]"
        if "-digest-" in helper.name:
            return json.dumps(self.kept[next(iter(helper.mounts))] | self.damage).encode()
        if helper.labels[names.HELPER] == names.DISPOSABLE:
            self._see()
            target = next(name for name, place in helper.mounts.items() if place == "/to")
            sources = {
                place.split("/")[2].removesuffix(":ro"): n for n, place in helper.mounts.items() if n != target
            }
            self.kept[target] = {replica: self.fake.contents[name].written for replica, name in sources.items()}
            return b"4096\n"
        self.waiting.add(helper.name)
        return b"ready\nrestored\n"

    def signalled(self, helper: Helper, signal: str) -> None:
        """The services have ended: the restoring helper begins. When they are there again, it ends."""
        assert (helper.labels[names.HELPER], signal) == (names.RESTORE, names.GO)
        if helper.name not in self.waiting:
            return
        self.waiting.remove(helper.name)
        self._see()
        source = next(name for name, place in helper.mounts.items() if place == "/from:ro")
        for name, place in helper.mounts.items():
            if name != source:
                written = self.kept[source][place.removeprefix("/to/")]
                self.fake.contents[name] = replace(self.fake.contents[name], written=written)

    def _see(self) -> None:
        services = ("cld", "chunkd", "tabled", "iwhd")
        containers = self.fake.all_containers.values()
        self.frozen = [c.state for c in containers if c.labels.get(names.SERVICE) in services]


@pytest.fixture
def copier(fake: FakeEngine) -> Copier:
    fake.work = copier = Copier(fake)
    fake.signalled = copier.signalled
    return copier


@pytest.fixture
def context(fake: FakeEngine, copier: Copier, make_context: MakeContext) -> Context:
    made = make_context()
    up(made)
    write(fake, 1)
    return made


def write(fake: FakeEngine, number: int) -> None:
    for name, volume in fake.all_volumes.items():
        if volume.labels.get(names.KIND) == names.DATA:
            fake.contents[name] = replace(fake.contents[name], written=number)


def data(fake: FakeEngine) -> set[int]:
    volumes = fake.all_volumes.items()
    return {fake.contents[n].written for n, volume in volumes if volume.labels.get(names.KIND) == names.DATA}


def serving(fake: FakeEngine) -> bool:
    """Whether a service runs."""
    return any(
        container.state is ContainerState.RUNNING and names.HELPER not in container.labels
        for container in fake.all_containers.values()
    )


def restoring(fake: FakeEngine) -> bool:
    """Whether the helper that puts the copies in place of the data is there."""
    return any(c.labels.get(names.HELPER) == names.RESTORE for c in fake.all_containers.values())


def helpers(fake: FakeEngine) -> list[str]:
    return [c.name for c in fake.all_containers.values() if names.HELPER in c.labels]


def test_saved_and_restored(fake: FakeEngine, copier: Copier, context: Context) -> None:
    saved = save(context, "seed")
    assert (saved.name, saved.size, saved.profile) == ("seed", 4096, "s3")
    assert saved.replicas == ("chunkd-1", "cld-1", "iwhd-1", "tabled-1")
    assert set(copier.frozen) == {ContainerState.PAUSED}
    assert up(context).changed == ()
    write(fake, 2)
    assert ls(context) == [saved]
    result = restore(context, "seed")
    assert set(copier.frozen) == {ContainerState.EXITED}
    assert result.stack is not None
    assert result.stack.working
    assert data(fake) == {1}
    assert helpers(fake) == []


def test_the_helper_ends_when_all_services_are_started(fake: FakeEngine, context: Context) -> None:
    """The engine takes long to unmount its volumes, and no service could be started meanwhile."""
    save(context, "seed")
    seen: list[set[ContainerState]] = []

    def look(moment: str) -> None:
        if moment == "before await_exit" and restoring(fake):
            services = [c for c in fake.all_containers.values() if names.SERVICE in c.labels]
            seen.append({c.state for c in services if c.labels[names.REPLICA] != ONE_SHOT})

    fake.interrupt = look
    restore(context, "seed")
    assert seen == [{ContainerState.RUNNING}]


def test_a_stopped_stack_is_saved_and_restored(fake: FakeEngine, context: Context) -> None:
    down(context)
    save(context, "seed")
    write(fake, 2)
    restore(context, "seed")
    assert data(fake) == {1}


def test_reset_keeps_snapshots_and_destroy_does_not(fake: FakeEngine, context: Context) -> None:
    save(context, "seed")
    reset(context)
    assert data(fake) == {0}
    restore(context, "seed")
    assert data(fake) == {1}
    destroy(context)
    assert fake.all_volumes == {}


def test_restored_where_a_volume_is_gone(fake: FakeEngine, context: Context) -> None:
    save(context, "seed")
    down(context)
    fake.remove_volume(names.data_volume("test", "chunkd-1"))
    write(fake, 2)
    restore(context, "seed")
    assert data(fake) == {1}


def test_restored_at_the_scale_it_was_saved(fake: FakeEngine, context: Context, make_context: MakeContext) -> None:
    save(context, "small")
    wide = make_context(scale={"chunkd": 3})
    up(wide)
    write(fake, 3)
    save(wide, "wide")
    restore(context, "small")
    assert sorted(c.labels[names.REPLICA] for c in fake.all_containers.values()) == [
        "chunkd-1",
        "cld-1",
        "credentials",
        "iwhd-1",
        "tabled-1",
    ]
    assert data(fake) == {1}
    restore(context, "wide")
    assert sum(c.labels[names.SERVICE] == "chunkd" for c in fake.all_containers.values()) == 3
    assert data(fake) == {3}


def test_dry_runs_change_nothing(fake: FakeEngine, context: Context) -> None:
    save(context, "seed")
    before = (dict(fake.all_containers), dict(fake.all_volumes))
    assert restore(context, "seed", dry_run=True).removal.volumes == tuple(
        sorted(names.data_volume("test", replica) for replica in ("chunkd-1", "cld-1", "iwhd-1", "tabled-1"))
    )
    removal = remove(context, "seed", dry_run=True)
    assert (fake.all_containers, fake.all_volumes) == before
    assert set(removal.volumes) == set(fake.all_volumes) - {
        v.name for v in observe(fake, "test").volumes if v.labels[names.KIND] in (names.DATA, names.CREDENTIALS)
    }
    assert remove(context, "seed").volumes == removal.volumes
    assert ls(context) == []


def test_what_is_refused(context: Context) -> None:
    save(context, "seed")
    with pytest.raises(SnapshotExistsError):
        save(context, "seed")
    for verb in (restore, remove):
        with pytest.raises(UnknownSnapshotError, match="other"):
            verb(context, "other")
    for name in ("", "Big", "a/b", "-x", "a" * 64):
        with pytest.raises(UsageError):
            save(context, name)


class KilledError(BaseException):
    """The driver is gone."""


def sweep(
    fake: FakeEngine, prepare: Callable[[], None], verb: Callable[[], object], check: Callable[[str], None]
) -> int:
    """Run `verb` killed at moment 1, 2, … until it gets through; returns the kills."""
    for at in itertools.count(1):
        prepare()
        count = 0

        def kill(moment: str, at: int = at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise KilledError(f"{moment} ({at})")

        fake.interrupt = kill
        try:
            verb()
        except KilledError as killed:
            fake.interrupt = lambda moment: None
            check(str(killed))
            continue
        fake.interrupt = lambda moment: None
        return at - 1
    raise AssertionError("not reached")


def test_a_killed_save_is_never_listed_and_is_made_again(fake: FakeEngine, context: Context) -> None:
    def prepare() -> None:
        if ls(context):
            remove(context, "seed")
        up(context)

    def check(moment: str) -> None:
        observed = observe(fake, "test")
        sealed = catalog.seal("test", "seed") in fake.all_volumes
        assert bool(catalog.snapshots(observed)) == sealed, moment
        assert not (helpers(fake) and sealed), moment
        if not sealed:
            save(context, "seed")
        assert up(context).working
        assert helpers(fake) == []
        assert catalog.half_made(observe(fake, "test")) == []
        assert data(fake) == {1}

    assert sweep(fake, prepare, lambda: save(context, "seed"), check) > 20


@pytest.mark.parametrize("again", [True, False], ids=["restore", "up"])
def test_a_killed_restore_is_finished_by_the_next_command(fake: FakeEngine, context: Context, again: bool) -> None:
    save(context, "seed")

    def prepare() -> None:
        up(context)
        write(fake, 2)

    def check(moment: str) -> None:
        nonlocal wrote_behind_it
        if again:
            restore(context, "seed")
        elif helpers(fake) and data(fake) == {1} and serving(fake):
            # Restored and started, and the helper is still there: what is written now must not be replaced again.
            write(fake, 3)
            wrote_behind_it += 1
            assert up(context).working
            assert data(fake) == {3}, moment
            assert helpers(fake) == []
            return
        assert up(context).working
        # Either nothing was restored or all of it.
        assert data(fake) in (({1},) if again else ({1}, {2})), moment
        assert helpers(fake) == []

    wrote_behind_it = 0
    assert sweep(fake, prepare, lambda: restore(context, "seed"), check) > 20
    assert again or wrote_behind_it


def test_a_frozen_helper_is_let_go_on(fake: FakeEngine, context: Context) -> None:
    """A user may pause all containers, that of a killed restore included."""
    save(context, "seed")
    write(fake, 2)

    def kill(moment: str) -> None:
        if moment == "after start_container" and restoring(fake):
            raise KilledError(moment)

    fake.interrupt = kill
    with pytest.raises(KilledError):
        restore(context, "seed")
    fake.interrupt = lambda moment: None
    for helper in [c for c in fake.all_containers.values() if names.HELPER in c.labels]:
        fake.all_containers[helper.id] = replace(helper, state=ContainerState.PAUSED)
    assert up(context).working
    assert data(fake) == {1}
    assert helpers(fake) == []


def test_a_half_restored_stack_is_not_saved_and_reset_gives_the_data_up(fake: FakeEngine, context: Context) -> None:
    save(context, "seed")
    write(fake, 2)

    def kill(moment: str) -> None:
        if moment == "after start_container" and restoring(fake):
            raise KilledError(moment)

    fake.interrupt = kill
    with pytest.raises(KilledError):
        restore(context, "seed")
    fake.interrupt = lambda moment: None
    with pytest.raises(NotWorkingError):
        save(context, "other")
    reset(context)
    assert data(fake) == {0}
    assert helpers(fake) == []


def test_a_killed_removal_leaves_no_snapshot(fake: FakeEngine, context: Context) -> None:
    def prepare() -> None:
        if not ls(context):
            save(context, "seed")

    def check(moment: str) -> None:
        if ls(context):
            remove(context, "seed")
        save(context, "next")
        assert [snapshot.name for snapshot in ls(context)] == ["next"], moment
        remove(context, "next")

    assert sweep(fake, prepare, lambda: remove(context, "seed"), check) > 5


def test_a_damaged_snapshot_is_not_restored(fake: FakeEngine, copier: Copier, context: Context) -> None:
    save(context, "seed")
    write(fake, 2)
    copier.damage = {"chunkd-1": 7}
    with pytest.raises(SnapshotDamagedError, match="the data of chunkd-1 is not what was saved"):
        restore(context, "seed")
    assert data(fake) == {2}
    assert serving(fake)
    restore(context, "seed", verify=False)
    assert data(fake) == {1}


@pytest.mark.parametrize(("first", "second"), [("one", "seal-one"), ("seal-one", "one")])
def test_the_names_of_two_snapshots_never_meet(context: Context, first: str, second: str) -> None:
    save(context, first)
    with pytest.raises(NameTakenError, match="of stack test"):
        save(context, second)
    assert [snapshot.name for snapshot in ls(context)] == [first]
    assert restore(context, first).stack


def test_a_snapshot_never_writes_into_the_volume_of_another_stack(fake: FakeEngine, context: Context) -> None:
    """Stack `test-snapshot` keeps its data where a snapshot `iwhd-1` of stack `test` would be."""
    labels = {names.STACK: "test-snapshot", names.REPLICA: "iwhd-1", names.KIND: names.DATA}
    fake.create_volume("hailbox-test-snapshot-iwhd-1", labels)
    before = fake.all_volumes["hailbox-test-snapshot-iwhd-1"]
    with pytest.raises(NameTakenError, match="of stack test-snapshot"):
        save(context, "iwhd-1")
    assert fake.all_volumes["hailbox-test-snapshot-iwhd-1"] == before
    assert ls(context) == []


def test_a_seal_without_its_copy_is_no_snapshot(fake: FakeEngine, context: Context) -> None:
    """Else the engine would make an empty volume of that name, and the data be replaced by nothing."""
    labels = {names.STACK: "test", names.SNAPSHOT_NAME: "z"}
    fake.create_volume("elsewhere", labels | {names.KIND: names.SNAPSHOT})
    fake.create_volume("hailbox-test-snapshot-seal-z", labels | {names.KIND: names.SEAL, catalog.SIZE: "many"})
    assert ls(context) == []
    with pytest.raises(UnknownSnapshotError):
        restore(context, "z")
    assert data(fake) == {1}
