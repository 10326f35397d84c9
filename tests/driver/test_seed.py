"""When a stack is seeded, and what can be no seed. The engine in memory has no services: programs are the seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.model.errors import ConfigurationError, SeedFailedError
from hailbox.stack import configfile
from support.fakestack import MakeContext


class Seed:
    """A program that notes each of its runs."""

    def __init__(self, folder: Path) -> None:
        self.path, self._notes = folder / "seed.sh", folder / "notes"
        self.write(f'echo "$HAILBOX_STACK $AWS_ENDPOINT_URL" >>{self._notes}')

    def write(self, text: str) -> None:
        self.path.write_text(f"#!/bin/sh\n{text}\n")
        self.path.chmod(0o755)

    @property
    def runs(self) -> int:
        return len(self._notes.read_text().splitlines()) if self._notes.exists() else 0


@pytest.fixture
def seed(tmp_path: Path) -> Seed:
    return Seed(tmp_path)


def test_after_the_first_up_and_after_each_reset(seed: Seed, make_context: MakeContext, fake: FakeEngine) -> None:
    context = make_context(seed=str(seed.path))
    up(context)
    assert seed.runs == 1
    up(context)
    fake.kill_container(next(iter(fake.all_containers)))
    up(context)
    assert seed.runs == 1
    reset(context)
    assert seed.runs == 2
    reset(context, ["iwhd"])
    assert seed.runs == 2
    assert [name for name in fake.all_volumes if "seeding" in name] == []


def test_data_that_were_there_before_are_left_alone(seed: Seed, make_context: MakeContext) -> None:
    up(make_context())
    up(make_context(seed=str(seed.path), without=("iwhd",)))
    assert seed.runs == 0


def test_a_seed_that_failed_is_tried_again(seed: Seed, make_context: MakeContext) -> None:
    good = seed.path.read_text()
    seed.write("seq 100; exit 3")
    context = make_context(seed=str(seed.path))
    with pytest.raises(SeedFailedError) as caught:
        up(context)
    assert "ended with status 3" in caught.value.problem
    assert caught.value.problem.splitlines()[1:] == [f"  {number}" for number in range(89, 101)]
    seed.path.write_text(good)
    up(context)
    assert seed.runs == 1


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.write_text("x"), "is no program"),
        (lambda path: path.mkdir(), "has no folder"),
        (lambda path: (path / "swift" / "bucket").mkdir(parents=True), "has the folder 'swift'"),
    ],
)
def test_what_can_be_no_seed(tmp_path: Path, make: object, problem: str) -> None:
    make(tmp_path / "seed")  # type: ignore[operator]
    (tmp_path / "hailbox.yaml").write_text("profile: fs\nseed: ./seed\n")
    with pytest.raises(ConfigurationError) as caught:
        configfile.load(tmp_path)
    assert caught.value.problem.startswith(f"{tmp_path}/hailbox.yaml:2:7: {tmp_path}/seed {problem}")
