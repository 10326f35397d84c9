"""A stack as a test suite uses it: driven through the command line, whose JSON is a stable interface."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hailbox.testing.owner import abandoned


class StackCommandError(Exception):
    """A command failed. `code` is the stable code of its error; the text says what is wrong and what to do."""

    def __init__(self, command: Sequence[str], errors: Sequence[Mapping[str, str]]) -> None:
        first = errors[0] if errors else {"code": "unknown", "problem": "it said nothing", "remedy": ""}
        self.code = first["code"]
        super().__init__(f"hailbox {' '.join(command)}: {first['problem']} -> {first['remedy']} [{self.code}]")


def run(words: Sequence[str], directory: Path) -> Any:
    """What a command returns with `--json`. Raises StackCommandError if it fails."""
    command = [sys.executable, "-m", "hailbox", *words, "--json"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        raise StackCommandError(
            words, [{"code": "no-answer", "problem": done.stderr.strip(), "remedy": ""}]
        ) from None
    if done.returncode != 0:
        raise StackCommandError(words, document["errors"])
    return document["data"]


@dataclass
class RunningStack:
    """A stack for tests. All methods raise StackCommandError if the command fails."""

    name: str
    directory: Path
    """Where commands run; a `hailbox.yaml` there counts."""
    used: bool = False
    """Whether a test may have stored something since it was last clean."""
    _env: dict[str, str] = field(default_factory=dict)
    _resetter: subprocess.Popen[str] | None = None

    def run(self, *words: str) -> Any:
        """Run a command on this stack; what it returns."""
        return run(["--stack", self.name, *words], self.directory)

    def up(self, *options: str) -> None:
        """Bring it up; `options` as `hailbox up` takes them."""
        self.run("up", *options)
        self._env.clear()

    def reset(self) -> None:
        """Discard everything that was stored; returns when the stack works again."""
        self.run("reset")
        self._env.clear()
        self.used = False

    def clean(self) -> None:
        """Discard everything that was stored, as fast as that can be done (`hailbox reset --quick`)."""
        answer = self._quick_reset()
        if answer is None:  # the program that does it was ended: by a Ctrl-C, for one
            self.reset()
            return
        if answer["errors"]:
            raise StackCommandError(["reset", "--quick"], answer["errors"])
        if not answer["data"]["quick"]:
            self._env.clear()
        self.used = False

    def _quick_reset(self) -> Any:
        """The envelope of one quick reset, by a program that stays; None if that program has ended."""
        if self._resetter is None or self._resetter.poll() is not None:
            command = [sys.executable, "-m", "hailbox", "--stack", self.name, "reset", "--repeat", "--quiet"]
            self._resetter = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        assert self._resetter.stdin is not None and self._resetter.stdout is not None  # noqa: S101, PT018 - pipes
        try:
            self._resetter.stdin.write("\n")
            self._resetter.stdin.flush()
            return json.loads(self._resetter.stdout.readline())
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """End the program that resets; the stack stays."""
        resetter, self._resetter = self._resetter, None
        if resetter is not None:
            with contextlib.suppress(OSError):
                resetter.communicate()

    def destroy(self) -> None:
        """Remove everything of it."""
        self.close()
        self.run("destroy")

    def env(self) -> dict[str, str]:
        """Addresses and credentials, as `hailbox env` prints them."""
        if not self._env:
            self._env = dict(self.run("env"))
        return dict(self._env)

    @contextlib.contextmanager
    def fault(self, kind: str, *replicas: str, **options: str) -> Iterator[None]:
        """Have a fault in effect within the block: `fault("slow", "chunkd-1", delay="200ms")`. Always ends it.

        Afterwards the stack is healed, so that the next test finds it working.
        """
        words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
        self.run("fault", kind, *replicas, *words)
        try:
            yield
        finally:
            self.run("fault", "clear")
            self.up()

    def keep_evidence(self, folder: Path, since: float) -> list[Path]:
        """Write what explains a failure: the log lines since `since` (seconds since the epoch), and the bundle."""
        folder.mkdir(parents=True, exist_ok=True)
        moment = datetime.datetime.fromtimestamp(since, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        kept: list[Path] = []
        with contextlib.suppress(StackCommandError):
            lines = [entry for entry in self.run("logs") if entry["time"] >= moment]
            logs = folder / "logs.txt"
            logs.write_text("".join(f"{e['time']} {e['replica']} {e['text']}\n" for e in lines), encoding="utf-8")
            kept.append(logs)
        bundle = folder / "bundle.tar.gz"
        with contextlib.suppress(StackCommandError):
            self.run("doctor", "--bundle", str(bundle))
        return [*kept, bundle] if bundle.exists() else kept


def remove_abandoned(directory: Path) -> list[str]:
    """Destroy the stacks of test runs on this host that were killed; their names."""
    names = {str(entry["stack"]) for entry in run(["ls"], directory)}
    found = sorted(name for name in names if abandoned(name))
    for name in found:
        # Another run may remove it at this moment.
        with contextlib.suppress(StackCommandError):
            run(["--stack", name, "destroy"], directory)
    return found
