"""What a crash-point sweep found: the counts of each killed command, and the page that is made of them.

A sweep kills a command at every moment and then runs another one. Each swept command leaves a file of counts in
`artefacts/crash-sweep`; `write_page` makes docs/crash-sweep.md of all of them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from support.enginestack import ARTEFACTS, ROOT

FOLDER = ARTEFACTS / "crash-sweep"
PAGE = ROOT / "docs" / "crash-sweep.md"

MEMORY, REAL = "on the engine in memory", "on a real engine"

COMMANDS = (
    "`up` from nothing",
    "`up` after `down`",
    "`up` that heals",
    "`down`",
    "`reset`",
    "`reset chunkd`",
    "`destroy`",
)
"""What is swept, on either engine."""


@dataclass
class Tally:
    """The sweep of one command on one of the two engines."""

    engine: str
    """MEMORY or REAL."""
    command: str
    """As the page calls it."""
    calls: dict[str, int] = field(default_factory=dict)
    """Calls at the seam in a run that is not killed, by method."""
    moments: int = 0
    """At which the command can be killed: before and after each call, and within Compose's."""
    runs: dict[str, int] = field(default_factory=dict)
    """Kills, by the command that was run next."""
    converged: int = 0
    """Runs in which that command, alone, came to the state that it promises."""
    second: int = 0
    """Runs in which it did so only when it was run again."""
    at_stake: int = 0
    """Objects that were there before and that neither of the two commands may discard."""
    lost: int = 0
    """Of these."""
    failures: list[str] = field(default_factory=list)
    """What did not converge at once, for the message of the test."""

    def ran(self, following: str) -> None:
        """Count a run."""
        self.runs[following] = self.runs.get(following, 0) + 1

    @property
    def total(self) -> int:
        """All runs."""
        return sum(self.runs.values())

    def save(self) -> None:
        """Keep it for the page."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z]+", "-", f"{self.engine} {self.command}".lower()).strip("-")
        (FOLDER / f"{name}.json").write_text(json.dumps(asdict(self), indent=1))


def calls_of(moments: Iterable[str]) -> dict[str, int]:
    """Calls by method, from the moments before each, in the order in which they first come."""
    return dict(Counter(moment.removeprefix("before ") for moment in moments if moment.startswith("before ")))


def load() -> list[Tally]:
    """The tallies of the last sweeps."""
    return [Tally(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]


def sentence(engine: str, tallies: Iterable[Tally]) -> str:
    """The counts of one engine in a line, which the README quotes."""
    of_engine = [tally for tally in tallies if tally.engine == engine]
    runs = sum(tally.total for tally in of_engine)
    converged = sum(tally.converged for tally in of_engine)
    second = sum(tally.second for tally in of_engine)
    at_stake = sum(tally.at_stake for tally in of_engine)
    lost = sum(tally.lost for tally in of_engine)
    return (
        f"Killed {engine}: {runs:,} runs, {converged:,} converged, {second} needed a second command; "
        f"of {at_stake:,} objects at stake {lost} were lost."
    )


def _table(tallies: list[Tally]) -> list[str]:
    following = sorted({name for tally in tallies for name in tally.runs})
    head = ["killed", "moments", *(f"then `{name}`" for name in following), "converged", "second", "at stake", "lost"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for tally in tallies:
        runs = [str(tally.runs.get(name, "")) for name in following]
        cells = [tally.command, tally.moments, *runs, tally.converged, tally.second, tally.at_stake, tally.lost]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return lines


def page(tallies: list[Tally]) -> str:
    """The page, in Markdown."""
    memory = [tally for tally in tallies if tally.engine == MEMORY]
    real = [tally for tally in tallies if tally.engine == REAL]
    return "\n".join(
        [
            "# What happens when hailbox is killed",
            "",
            "Written by `make test-full` from its last run (tests/driver/test_stack_crash_sweep.py and",
            "tests/faults/test_crash_sweep.py). A command is killed with SIGKILL before and after each of its calls",
            "to the engine or Compose, and within Compose's work; then another command is run, once, and has to come",
            "to the state that it promises: `up` and `reset` to a stack of which every service works, `down` and",
            "`destroy` to what they leave, `status` to the truth without a change. Objects were stored before; *at",
            "stake* are those that neither the killed command nor the next one may discard.",
            "",
            sentence(MEMORY, tallies),
            "",
            sentence(REAL, tallies),
            "",
            "## On the engine in memory",
            "",
            "Every moment, and after each of them every command.",
            "",
            *_table(memory),
            "",
            "## On a real engine",
            "",
            "Every moment; the next commands take turns. Moments within Compose's run are 0.1 to 1.2 s after its",
            "start; it goes on when the driver is dead, and no process of it is left when the next command has",
            "ended. A moment at which the command had ended already is no run.",
            "",
            *_table(real),
            "",
            "## The calls",
            "",
            "What each command asks of the engine and of Compose, all through one seam (src/hailbox/engine/port.py).",
            "",
            "| command | calls | of these |",
            "| --- | --- | --- |",
            *(
                f"| {tally.command} | {sum(tally.calls.values())} | "
                + ", ".join(f"{name} {count}" if count > 1 else name for name, count in tally.calls.items())
                + " |"
                for tally in real
            ),
            "",
        ]
    )


def write_page() -> None:
    """Write the page, if there are counts of all COMMANDS on both engines."""
    known = {(tally.engine, tally.command): tally for tally in load()}
    wanted = [(engine, command) for engine in (MEMORY, REAL) for command in COMMANDS]
    if missing := [key for key in wanted if key not in known]:
        print(f"docs/crash-sweep.md is not written: no counts of {missing}")
    else:
        PAGE.write_text(page([known[key] for key in wanted]))
