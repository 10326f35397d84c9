"""Invariant 1: any command can be killed at any instant, and the next one converges, whichever it is.

Exhaustive: the driver dies before and after every request to the engine, and before every step of Compose; after
each death every command is tried.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import pytest

from hailbox.commands.down import destroy, down
from hailbox.commands.reset import reset
from hailbox.commands.status import status
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.engine.fake import FakeEngine, VolumeContent
from hailbox.engine.port import Container, ContainerState, Network, Volume
from hailbox.images import build as images
from hailbox.model import names
from hailbox.model.errors import UnknownStackError
from hailbox.probe import patience
from hailbox.probe.outcome import Outcome, Reached
from support.crashsweep import MEMORY, Tally, calls_of
from support.fakestack import EngineProbes

pytestmark = pytest.mark.slow

DATA = {"chunkd-1", "cld-1", "iwhd-1", "tabled-1"}
KEPT = DATA | {"credentials"}
"""Whatever has a volume; an object is stored in each before a command is killed."""

Verb = Callable[[Context], object]


class KilledError(BaseException):
    """The driver is gone; not an Exception, as nothing may catch it."""


@dataclass(frozen=True)
class State:
    """Everything that an engine holds."""

    containers: Mapping[str, Container]
    volumes: Mapping[str, Volume]
    networks: Mapping[str, Network]
    contents: Mapping[str, VolumeContent]

    @classmethod
    def of(cls, fake: FakeEngine) -> "State":
        return cls(dict(fake.all_containers), dict(fake.all_volumes), dict(fake.all_networks), dict(fake.contents))

    def put_back(self, fake: FakeEngine) -> None:
        fake.all_containers, fake.all_volumes = dict(self.containers), dict(self.volumes)
        fake.all_networks, fake.contents = dict(self.networks), dict(self.contents)

    @property
    def empty(self) -> bool:
        return not (self.containers or self.volumes or self.networks)

    def states(self) -> dict[str, ContainerState]:
        """By replica; no two containers may be of one."""
        found = {c.labels[names.REPLICA]: c.state for c in self.containers.values()}
        assert len(found) == len(self.containers)
        return found

    def holding(self) -> set[str]:
        """The replicas whose volumes hold the object that was stored."""
        labelled = self.volumes.items()
        return {v.labels.get(names.REPLICA, "credentials") for name, v in labelled if self.contents[name].written}


class Probes(EngineProbes):
    """Also calls a container sick that is in `wedged`: only a new one in its place works."""

    wedged: Collection[str] = ()

    def _outcome(self, replica: str) -> Outcome:
        ids = {c.id for c in self.engine.all_containers.values() if c.labels.get(names.REPLICA) == replica}
        if ids & set(self.wedged):
            return Outcome(replica, Reached.NOTHING, "wedged", 0.1)
        return super()._outcome(replica)


def assert_whole(state: State) -> None:
    services = dict.fromkeys(DATA, ContainerState.RUNNING)
    assert state.states() == services | {"credentials": ContainerState.EXITED}
    assert len(state.networks) == 1
    assert len(state.volumes) == len(KEPT)


def after_up(context: Context, before: State, after: State) -> None:
    assert_whole(after)


def after_reset(context: Context, before: State, after: State) -> None:
    assert_whole(after)
    assert not after.holding() & DATA


def after_partial_reset(context: Context, before: State, after: State) -> None:
    assert_whole(after)
    assert "chunkd-1" not in after.holding()


def after_down(context: Context, before: State, after: State) -> None:
    assert set(after.states()) <= {"credentials"}
    assert after.networks == {}
    assert after.volumes == before.volumes


def after_destroy(context: Context, before: State, after: State) -> None:
    assert after.empty


def after_status(context: Context, before: State, after: State) -> None:
    assert after == before


def truthful_status(context: Context) -> None:
    """It calls nothing working that is not; with the credentials there, neither the other way round."""
    said = {replica.replica for replica in status(context).replicas if replica.working}
    assert isinstance(context.watch, Probes)
    assert isinstance(context.engine, FakeEngine)
    really = {replica for replica in DATA if context.watch._outcome(replica).working}
    containers = context.engine.all_containers.values()
    one_shot = [c for c in containers if c.labels.get(names.REPLICA) == "credentials"]
    made = any(container.state is ContainerState.EXITED for container in one_shot)
    assert said == really if made else said <= really


def reset_chunkd(context: Context) -> None:
    reset(context, ["chunkd"])


def bring_up(context: Context) -> None:
    assert up(context).working


@dataclass(frozen=True)
class Following:
    """A command to run after a killed one."""

    run: Verb
    check: Callable[[Context, State, State], None]
    keeps: frozenset[str]
    """Whose data it may not discard."""
    needs_stack: bool = False
    """Whether it refuses where there is none."""


FOLLOWING = {
    "up": Following(bring_up, after_up, frozenset(KEPT)),
    "down": Following(down, after_down, frozenset(KEPT), needs_stack=True),
    "reset": Following(reset, after_reset, frozenset({"credentials"})),
    "reset chunkd": Following(reset_chunkd, after_partial_reset, frozenset(KEPT - {"chunkd-1"})),
    "status": Following(truthful_status, after_status, frozenset(KEPT), needs_stack=True),
    "destroy": Following(destroy, after_destroy, frozenset(), needs_stack=True),
}


@dataclass
class Sweep:
    """Kills one command at every moment, and runs every other one after it."""

    fake: FakeEngine
    context: Context
    verb: Verb
    keeps: Collection[str]
    """Whose data the killed command may not discard."""
    tally: Tally

    def run(self) -> None:
        start = State.of(self.fake)
        self.tally.calls = calls_of(self._moments())
        for at in itertools.count(1):
            start.put_back(self.fake)
            moment = self._killed_at(at)
            if moment is None:
                break
            self.tally.moments = at
            dead = State.of(self.fake)
            for name, following in FOLLOWING.items():
                dead.put_back(self.fake)
                self._follow(start, dead, f"{moment} (moment {at})", name, following)
        start.put_back(self.fake)

    def _moments(self) -> list[str]:
        seen: list[str] = []
        self.fake.interrupt = seen.append
        self.verb(self.context)
        self.fake.interrupt = lambda moment: None
        return seen

    def _killed_at(self, at: int) -> str | None:
        """Run the command until that moment; its name, or None if it gets through before."""
        count = itertools.count(1)

        def kill(moment: str) -> None:
            if next(count) == at:
                raise KilledError(moment)

        self.fake.interrupt = kill
        try:
            self.verb(self.context)
        except KilledError as killed:
            return str(killed)
        finally:
            self.fake.interrupt = lambda moment: None
        return None

    def _follow(self, start: State, dead: State, moment: str, name: str, following: Following) -> None:
        self.tally.ran(name)
        problem = self._attempt(dead, following)
        if problem is None:
            self.tally.converged += 1
        else:
            self.tally.failures.append(f"killed {moment}, then {name}: {problem}")
            self.tally.second += self._attempt(dead, following) is None
        stake = start.holding() & set(self.keeps) & following.keeps
        self.tally.at_stake += len(stake)
        if gone := stake - State.of(self.fake).holding():
            self.tally.lost += len(gone)
            self.tally.failures.append(f"killed {moment}, then {name}: the data of {sorted(gone)} is lost")

    def _attempt(self, dead: State, following: Following) -> str | None:
        """Run a command that is not killed; returns what is wrong after it, or None."""
        try:
            following.run(self.context)
        except UnknownStackError:
            return None if dead.empty and following.needs_stack else "it finds no stack"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        try:
            following.check(self.context, dead, State.of(self.fake))
        except AssertionError as error:
            return f"wrong state: {error}"
        return None


@pytest.fixture
def context(fake: FakeEngine, make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> Context:
    # The sources do not change during a sweep, and reading them takes most of an `up` in memory.
    monkeypatch.setattr(images, "plan", remembered(images.plan))
    # To measure how busy the host is takes a fiftieth of a second each time, and probes in memory take none.
    monkeypatch.setattr(patience, "strain", lambda: 1.0)
    made = make_context()
    return replace(made, watch=Probes(fake, made.stack))


def remembered(plan: Callable[[list[str]], images.ImagePlan]) -> Callable[[list[str]], images.ImagePlan]:
    known = functools.cache(lambda services: plan(list(services)))
    return lambda services: known(tuple(services))


def fill(fake: FakeEngine, context: Context) -> None:
    """A working stack with an object in every volume."""
    up(context)
    fake.contents = {name: replace(content, written=1) for name, content in fake.contents.items()}


def sweep(fake: FakeEngine, context: Context, command: str, verb: Verb, keeps: Collection[str]) -> Tally:
    made = Sweep(fake, context, verb, keeps, Tally(MEMORY, command))
    made.run()
    made.tally.save()
    assert made.tally.failures == []
    assert made.tally.converged == made.tally.total == made.tally.moments * len(FOLLOWING)
    return made.tally


def test_up_from_nothing(fake: FakeEngine, context: Context) -> None:
    assert sweep(fake, context, "`up` from nothing", up, KEPT).moments > 30


def test_up_after_down(fake: FakeEngine, context: Context) -> None:
    fill(fake, context)
    down(context)
    found = sweep(fake, context, "`up` after `down`", up, KEPT)
    assert found.moments > 20
    assert found.at_stake > 0


def test_up_that_heals(fake: FakeEngine, context: Context) -> None:
    """The ladder to its end: a restart that does not help, then a new container."""
    fill(fake, context)
    assert isinstance(context.watch, Probes)
    context.watch.wedged = [c.id for c in fake.all_containers.values() if c.labels[names.REPLICA] == "tabled-1"]
    found = sweep(fake, context, "`up` that heals", up, KEPT)
    assert {"restart_container", "remove_container", "compose"} <= set(found.calls)


def test_up_on_a_working_stack_changes_nothing(fake: FakeEngine, context: Context) -> None:
    fill(fake, context)
    before = State.of(fake)
    result = up(context)
    assert (result.changed, result.healed) == ((), ())
    assert State.of(fake) == before


def test_down(fake: FakeEngine, context: Context) -> None:
    fill(fake, context)
    assert sweep(fake, context, "`down`", down, KEPT).moments > 10


def test_reset(fake: FakeEngine, context: Context) -> None:
    fill(fake, context)
    assert sweep(fake, context, "`reset`", reset, {"credentials"}).moments > 30


def test_reset_of_one_service(fake: FakeEngine, context: Context) -> None:
    fill(fake, context)
    found = sweep(fake, context, "`reset chunkd`", reset_chunkd, KEPT - {"chunkd-1"})
    assert found.moments > 20


def test_destroy(fake: FakeEngine, context: Context) -> None:
    fill(fake, context)
    assert sweep(fake, context, "`destroy`", destroy, set()).moments > 10


def test_a_sweep_finds_what_does_not_converge(fake: FakeEngine, context: Context) -> None:
    """The sweep itself: of a command that loses data, and one that has to be run twice, it says so."""

    def forgetful(context: Context) -> None:
        down(context)
        for name in sorted(fake.contents):
            if name.endswith("tabled-1"):
                fake.contents[name] = dataclasses.replace(fake.contents[name], written=0)
        up(context)

    fill(fake, context)
    losing = Sweep(fake, context, forgetful, KEPT, Tally(MEMORY, "forgetful"))
    losing.run()
    assert losing.tally.lost > 0
    assert any("the data of ['tabled-1'] is lost" in failure for failure in losing.tally.failures)

    turns = itertools.count()

    def fickle(context: Context) -> None:
        if next(turns) % 2 == 0:
            raise RuntimeError("not yet")
        bring_up(context)

    twice = Sweep(fake, context, down, KEPT, Tally(MEMORY, "fickle"))
    twice._follow(State.of(fake), State.of(fake), "never", "up", replace(FOLLOWING["up"], run=fickle))
    assert (twice.tally.converged, twice.tally.second) == (0, 1)
