"""Write a hailbox.yaml in which every key is explained and commented out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hailbox.cli.command import CommandOutput, ContextFor, command
from hailbox.model.config import Config
from hailbox.model.errors import UsageError
from hailbox.model.schema import example

HEADING: Final = """\
Choices for hailbox; see `hailbox config` for what is in force. All keys are optional.
What you do not commit goes into hailbox.override.yaml beside this file."""


@command(about_stack=False)
def init(_context_for: ContextFor) -> CommandOutput:
    path = Path.cwd() / "hailbox.yaml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example(Config, HEADING))
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", "edit it, or remove it first") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "choose a directory of your own") from error
    return CommandOutput({"path": str(path)}, lambda data: f"wrote {data['path']}")
