"""What `up` and `reset` tell of a change to a stack that exists already."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Image
from hailbox.model.progress import Phase, Progress
from hailbox.model.record import Record
from hailbox.stack.differences import differences
from support.fakestack import MakeContext


@pytest.mark.parametrize("verb", ["up", "reset"])
def test_another_image_is_told_before_anything_starts(fake: FakeEngine, make_context: MakeContext, verb: str) -> None:
    up(make_context())
    fake.all_images["some/image"] = Image("sha256:1", ("some/image",))
    steps: list[Progress] = []
    context = replace(make_context(images={"chunkd": "some/image"}), report=steps.append)
    result = up(context) if verb == "up" else reset(context).stack
    assert result is not None
    assert result.differences == ("images.chunkd: ours -> some/image",)
    told = [step for step in steps if step.phase is Phase.CHANGING]
    assert [(step.subject, step.detail) for step in told] == [("images.chunkd", "ours -> some/image")]
    first = next(step for step in steps if step.phase in (Phase.STARTING, Phase.REMOVED))
    assert steps.index(told[0]) < steps.index(first)


def test_a_first_up_changes_nothing_that_exists(fake: FakeEngine, make_context: MakeContext) -> None:
    assert up(make_context()).differences == ()


def test_values_that_may_be_secret_are_not_told() -> None:
    now = Record("s3", overrides={"chunkd": {"environment": {"TOKEN": "hidden"}, "command": ["a"]}})
    assert differences(Record("s3"), now) == {
        "services.chunkd.command": "none -> ['a']",
        "services.chunkd.environment": "changed",
    }
