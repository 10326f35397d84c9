"""The JSON Schemas in docs/results are those of the commands' results. Run this file to write them again."""

import json
from pathlib import Path

import pytest
import typer

from hailbox.cli.app import app
from hailbox.cli.results import NO_RESULT, RESULTS
from hailbox.cli.resultschema import envelope_schema
from support.jsonschema import troubles

FOLDER = Path(__file__).parents[2] / "docs" / "results"


def file_of(command: str) -> Path:
    return FOLDER / f"{command.replace(' ', '-')}.json"


def text_of(command: str) -> str:
    return json.dumps(envelope_schema(command, RESULTS[command]), indent=1) + "\n"


def test_every_command_has_a_schema() -> None:
    group = typer.main.get_command(app)
    found = set()
    for name in group.list_commands(None):  # type: ignore[attr-defined]
        below = getattr(group.get_command(None, name), "commands", {})  # type: ignore[attr-defined]
        found |= {f"{name} {each}" for each in below} or {name}
    assert found - NO_RESULT == set(RESULTS)


@pytest.mark.parametrize("command", sorted(RESULTS))
def test_the_file_is_up_to_date(command: str) -> None:
    assert file_of(command).read_text() == text_of(command), "if that is meant: run this file"


def test_there_is_no_other_file() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {file_of(command).name for command in RESULTS}


def test_what_differs_from_a_schema_is_found() -> None:
    schema = envelope_schema("down", RESULTS["down"])
    good = {
        "version": 1,
        "command": "down",
        "stack": "x",
        "status": "ok",
        "exit_code": 0,
        "errors": [],
        "data": {
            "stack": "x",
            "dry_run": False,
            **{name: [] for name in ("containers", "volumes", "networks", "images", "killed")},
        },
    }
    assert troubles(good, schema, schema) == []
    assert troubles(good | {"data": None}, schema, schema) == []
    for wrong in (
        {"data": good["data"] | {"volumes": [1]}},  # type: ignore[operator]
        {"data": good["data"] | {"more": 1}},  # type: ignore[operator]
        {"data": {"stack": "x"}},
        {"exit_code": "0"},
        {"version": 2},
        {"stack": True},
    ):
        assert troubles(good | wrong, schema, schema), wrong


if __name__ == "__main__":
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name in RESULTS:
        file_of(name).write_text(text_of(name))
