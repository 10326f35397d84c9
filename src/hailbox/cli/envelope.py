"""What `--json` prints: one object, the same for every command, whether it succeeded or not.

`version` 1; `command` (null where there is no such); `stack` (null where a command is about none, or did not come
as far as to know it); `status`: `ok` or `error`; `exit_code`; `data`: the command's result or null; `errors`: a list
of objects with `code`, `problem`, `remedy`, empty if and only if `status` is `ok`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hailbox.model.errors import HailboxError

VERSION: Final = 1


def envelope(
    command: str | None, stack: str | None, data: Any, errors: Sequence[HailboxError] = ()
) -> dict[str, Any]:
    """The object to print. The exit code is that of the first error."""
    return {
        "version": VERSION,
        "command": command,
        "stack": stack,
        "status": "error" if errors else "ok",
        "exit_code": errors[0].exit_status if errors else 0,
        "data": plain(data),
        "errors": [{"code": error.code, "problem": error.problem, "remedy": error.remedy} for error in errors],
    }


def plain(value: Any) -> Any:
    """`value` as what JSON knows: data classes as objects, tuples and sets as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    return value


def text(document: Mapping[str, Any]) -> str:
    """The envelope as indented JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def line(document: Mapping[str, Any]) -> str:
    """An object as JSON in one line."""
    return json.dumps(document, ensure_ascii=False)
