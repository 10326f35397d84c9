"""By command, the type of its result: `data` of what `--json` prints. Made for schemas; no command loads it."""

from __future__ import annotations

from typing import Any, Final

from hailbox.bench.measure import BenchResult
from hailbox.commands.build import BuildResult
from hailbox.commands.config import Setting
from hailbox.commands.connect import Connection
from hailbox.commands.down import Removal
from hailbox.commands.logs import LogLine
from hailbox.commands.ls import StackSummary
from hailbox.commands.preview import Preview
from hailbox.commands.reset import ResetResult
from hailbox.commands.result import StackResult
from hailbox.commands.run import RunResult
from hailbox.console.top import ReplicaUsage
from hailbox.doctor.report import Report
from hailbox.fault.active import Cleared
from hailbox.fault.result import Fault
from hailbox.model.catalog import Profile
from hailbox.snapshot.catalog import Snapshot
from hailbox.snapshot.restore import Restored
from hailbox.snapshot.transfer import Exported

_FAULTS: Final = ("kill", "stop", "pause", "partition", "isolate", "fill-disk", "corrupt", "slow")

RESULTS: Final[dict[str, Any]] = {
    "bench": BenchResult,
    "build": BuildResult,
    "completion": dict[str, str],
    "compose": str,
    "config": tuple[Setting, ...] | dict[str, Any],
    "connect": Connection,
    "destroy": Removal | list[Removal],
    "doctor": Report,
    "down": Removal,
    "env": dict[str, str],
    "exec": dict[str, Any],
    **{f"fault {kind}": Fault for kind in _FAULTS},
    "fault clear": Cleared,
    "fault ls": list[Fault],
    "init": dict[str, str],
    "logs": list[LogLine],
    "ls": list[StackSummary],
    "open": dict[str, Any],
    "profiles": list[Profile],
    "reset": ResetResult | Restored,
    "restart": StackResult,
    "run": RunResult,
    "snapshot export": Exported,
    "snapshot import": Snapshot,
    "snapshot ls": list[Snapshot],
    "snapshot restore": Restored,
    "snapshot rm": Removal,
    "snapshot save": Snapshot,
    "status": StackResult | Report,
    "top": tuple[ReplicaUsage, ...],
    "trace": None,
    "up": StackResult | Preview,
    "wait": StackResult,
}
"""None: the command prints its results in lines, and ends with an envelope without data."""
NO_RESULT: Final = frozenset({"console", "shell", "ui"})
"""Commands that go on until the user ends them, and have no result."""
