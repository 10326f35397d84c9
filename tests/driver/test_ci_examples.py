"""The examples for CI are YAML of the right form, and every command of ours in them is one."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hailbox.completion import commands

FOLDER = Path(__file__).parents[2] / "docs" / "examples"


def scripts(name: str) -> Iterator[str]:
    """Every command line of an example."""
    document: Any = yaml.safe_load((FOLDER / name).read_text())
    if name.startswith("github"):
        (job,) = document["jobs"].values()
        # YAML 1.1 takes the key `on` for true.
        assert {"name", "jobs"} < set(document)
        assert "runs-on" in job
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            yield from step.get("run", "").splitlines()
    else:
        (job,) = document.values()
        for part in ("before_script", "script", "after_script"):
            yield from job[part]


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_an_example_brings_up_tests_and_removes(name: str) -> None:
    lines = [shlex.split(line) for line in scripts(name)]
    ours = [words for words in lines if words[0] == "hailbox"]
    used = [words[1] for words in ours]
    assert used[0] == "up"
    assert used[-1] == "destroy"
    assert ["pytest"] in lines
    for words in ours:
        assert words[1] in commands.commands()
        assert {word for word in words if word.startswith("--")} <= set(commands.options(words[1]))


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_an_example_installs_extras_that_there_are(name: str) -> None:
    import tomllib

    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    (words,) = [shlex.split(line) for line in scripts(name) if line.startswith("pip")]
    (wanted,) = [word for word in words if word.startswith("hailbox[")]
    assert set(wanted.partition("[")[2].rstrip("]").split(",")) <= set(project["optional-dependencies"])
