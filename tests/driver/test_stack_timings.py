"""Where the time of `up` goes: steps one after the other, shown on one scale."""

from collections.abc import Callable

from hailbox.cli import render
from hailbox.commands.up import up
from hailbox.context import Context


def test_steps_follow_one_another(make_context: Callable[..., Context]) -> None:
    result = up(make_context())
    names = [span.name for span in result.timings]
    assert names[0] == "until here"
    assert "Compose" in names
    assert names[-1] == "probe until all work"
    edges = [edge for span in result.timings for edge in (span.begin, span.end)]
    assert edges == sorted(edges)


def test_a_stack_that_works_needs_no_compose(make_context: Callable[..., Context]) -> None:
    context = make_context()
    up(context)
    context.spans.clear()
    assert "Compose" not in [span.name for span in up(context).timings]


def test_every_step_and_replica_has_its_line(make_context: Callable[..., Context]) -> None:
    result = up(make_context())
    text = render.stack_with_timings(result)
    for subject in [span.name for span in result.timings] + [f"{r.replica} works" for r in result.replicas]:
        assert sum(line.startswith(subject) for line in text.splitlines()) == 1
