"""What a user gets wrong: two lines, a code, a documented exit status; the same as JSON; no traceback."""

from pathlib import Path

import pytest

from hailbox.cli.options import pairs
from hailbox.model.errors import UsageError
from support.cli_program import run
from support.engine_server import EMPTY, engine, serve

BAD_USAGE = {
    "unknown command": (["frob"], "'frob'", "hailbox --help"),
    "unknown option": (["up", "--frob"], "--frob", "hailbox up --help"),
    "a word too many": (["down", "chunkd"], "chunkd", "hailbox down --help"),
    "stack name": (["status", "--stack", "My_Stack"], "'My_Stack'", "lower-case"),
    "scale without a number": (["up", "--scale", "chunkd"], "'chunkd'", "--scale chunkd=3"),
    "option without its argument": (["doctor", "--bundle"], "'--bundle'", "hailbox doctor --help"),
    "the same in a group": (["fault", "kill", "cld-1", "--for"], "'--for'", "hailbox fault kill --help"),
    "the same of no command": (["--stack"], "'--stack'", "hailbox --help"),
    "timeout": (["wait", "--timeout", "-1"], "--timeout", "hailbox wait --help"),
}


@pytest.mark.parametrize(
    "value", ["", "=", "a=", "=1", "a=0", "a=33", "a=-1", "a=1.0", "a=８", "a= 1", "a=1=1", "a=" + "9" * 5000]
)
def test_pairs_that_are_refused(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        pairs([value], "--scale", range(1, 33), "chunkd=3")
    assert repr(value) in caught.value.problem
    assert "1 to 32" in caught.value.problem


def test_pairs() -> None:
    assert pairs(None, "--scale", range(1, 33), "") == {}
    assert pairs(["a=1", "b=32", "a=2"], "--scale", range(1, 33), "") == {"a": 2, "b": 32}


@pytest.mark.parametrize("case", BAD_USAGE)
def test_bad_usage(tmp_path: Path, case: str) -> None:
    arguments, named, advised = BAD_USAGE[case]
    ended = run(tmp_path, *arguments)
    assert (ended.status, ended.out) == (2, "")
    code, problem, remedy = ended.error()
    assert code == "bad-usage"
    assert named in problem
    assert advised in remedy


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["frob", "--json"], None),
        (["--json", "up", "--frob"], "up"),
        (["up", "--json", "--scale", "x"], "up"),
    ],
)
def test_bad_usage_as_json(tmp_path: Path, arguments: list[str], command: str | None) -> None:
    ended = run(tmp_path, *arguments)
    document = ended.document()
    assert (document["command"], document["status"], document["exit_code"], ended.status) == (command, "error", 2, 2)
    assert [error["code"] for error in document["errors"]] == ["bad-usage"]
    assert ended.err == ""


BROKEN_FILES = {
    "not YAML": ("stack: drv\nscale: {chunkd: 3\n", "hailbox.yaml:3:1: did not find expected"),
    "not a mapping": ("- stack\n", "hailbox.yaml:1:1: the document is a list"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_broken_configuration_file(tmp_path: Path, case: str) -> None:
    content, named = BROKEN_FILES[case]
    (tmp_path / "hailbox.yaml").write_text(content)
    ended = run(tmp_path, "status")
    assert (ended.status, ended.out) == (2, "")
    code, problem, _ = ended.error()
    assert code == "bad-configuration"
    assert named in problem


@pytest.mark.parametrize(
    ("arguments", "status", "code", "named", "advised"),
    [
        (["status", "--stack", "nosuch"], 5, "unknown-stack", "'nosuch'", "hailbox --stack nosuch up"),
        (["reset", "nosuch", "--dry-run"], 2, "unknown-service", "'nosuch'", "chunkd"),
        (["up", "--profile", "nosuch"], 2, "unknown-profile", "'nosuch'", "s3"),
        (["wait", "--timeout", "0.1"], 5, "not-working", "0.1 s", "hailbox --stack hail up"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_engine_does_not_have(
    tmp_path: Path, arguments: list[str], status: int, code: str, named: str, advised: str
) -> None:
    with serve(tmp_path, engine(EMPTY)) as address:
        ended = run(tmp_path, *arguments, "--quiet", variables={"DOCKER_HOST": address})
    assert (ended.status, ended.out) == (status, "")
    said, problem, remedy = ended.error()
    assert said == code
    assert named in problem
    assert advised in remedy
