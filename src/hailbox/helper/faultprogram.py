"""The program of a helper container: the agent's modules as text, behind a few lines that load them.

So the agents need no image of their own, and are always those of the driver that starts them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_AGENT = "hailbox.helper.programs.fault"

_MODULES = {
    "network": ("run", "netlink", "network"),
    "process": ("run", "container", "process"),
    "corruption": ("run", "corruption"),
    "nospace": ("run", "container", "ptrace", "nospace"),
}
"""By agent: its modules, those that others import first."""

_LOADER = """\
import json, sys, types
modules, arguments = json.loads(sys.argv[1]), sys.argv[2]
for name, text in modules:
    sys.modules[name] = module = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
"""

_RUN = "sys.exit(sys.modules['{package}.run'].run(sys.modules['{package}.{module}'].{name}, arguments))"


def _loaded(agent: str, last_line: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    folder = Path(__file__).parent / "programs" / "fault"
    packages = ["hailbox", "hailbox.helper", "hailbox.helper.programs", _AGENT]
    modules = [(name, "") for name in packages]
    modules += [(f"{_AGENT}.{name}", (folder / f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES[agent]]
    return ("python3", "-I", "-c", _LOADER + last_line, json.dumps(modules), json.dumps(arguments))


def agent(module: str, name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The command that runs the agent class `name` of `module` until it is ended."""
    return _loaded(module, _RUN.format(package=_AGENT, module=module, name=name), arguments)


def choice(root: str, wanted: str) -> tuple[str, ...]:
    """The command that prints, as JSON, what `corruption.choose` finds, or why it finds nothing."""
    call = (
        "found = sys.modules['hailbox.helper.programs.fault.corruption']\n"
        "from pathlib import Path\n"
        "given = json.loads(arguments)\n"
        "try:\n"
        "    print(json.dumps(found.choose(Path(given['root']), given['wanted'])))\n"
        "except OSError as error:\n"
        "    print(json.dumps({'missing': str(error)}))\n"
    )
    return _loaded("corruption", call, {"root": root, "wanted": wanted})
