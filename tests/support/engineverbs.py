"""The verbs, on whatever engine DOCKER_HOST names."""

from __future__ import annotations

import os
import subprocess
import time

from support import enginetable
from support.acknowledged import Acknowledged
from support.enginestack import Answer, Stack

FULL = bool(os.environ.get("HAILBOX_FULL"))


class Verbs:
    """Uses verbs on a stack that does not exist yet, and keeps which."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.used: list[str] = []
        self.engine = ""
        """As `doctor` names it."""

    def run(self, verb: str, *words: str, ok: bool = True) -> Answer:
        """Run a command of which `verb` is the name, of one or two words."""
        self.used.append(verb)
        return self.stack.run(*verb.split(), *words, ok=ok)

    def exercise(self, where: str) -> None:
        """Use a sample of the verbs; in a full run all of them, which then stand in docs/engines.md. `where`: where
        the engine is."""
        self.run("up")
        assert self.run("up").data["changed"] == []
        checks = {check["name"]: check["detail"] for check in self.run("doctor", ok=False).data["checks"]}
        self.engine = checks["engine"].partition("; without rights")[0].replace("version ", "Docker ")
        objects = Acknowledged()
        objects.put(self.stack.s3())

        self.run("snapshot save", "seeded")
        self.run("fault pause", "chunkd-1")
        assert self.run("status", ok=False).status == 5
        assert self.run("up").data["ended_faults"] == ["pause-chunkd-1"]
        if FULL:
            self._more(objects)
        self.run("reset")
        assert len(objects.missing(self.stack)) == len(objects.bodies)
        self.run("reset", "--to", "seeded")
        objects.expect_all(self.stack)
        self.run("destroy")
        enginetable.record(self.engine, where, self.used)

    def _more(self, objects: Acknowledged) -> None:
        for fault in (
            ("kill", "tabled-1"),
            ("stop", "cld-1"),
            ("isolate", "chunkd-1"),
            ("slow", "tabled-1", "--delay", "20ms"),
        ):
            self.run(f"fault {fault[0]}", *fault[1:])
            self.run("fault clear")
            self.run("up")
        self.stack.container("tabled-1").kill()
        self.run("up")
        self.run("restart")
        self.run("down")
        self.run("up")
        objects.expect_all(self.stack)
        self._exec()
        assert self.run("logs", "cld").data
        self._follow_a_restart()

    def _exec(self) -> None:
        self.used.append("exec")
        command = self.stack.command("exec", "tabled-1", "echo", "heard")
        done = subprocess.run(command, env=self.stack.environment(), check=True, capture_output=True)
        assert done.stdout == b"heard\n"

    def _follow_a_restart(self) -> None:
        self.used.append("logs -f")
        with subprocess.Popen(
            self.stack.command("logs", "--follow", "-n", "0", "cld"),
            env=self.stack.environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as follower:
            assert follower.stdout is not None
            time.sleep(1)  # the follower tells nothing of when it has begun
            self.stack.container("cld-1").restart()
            assert any("serving on port" in line for line in follower.stdout)
            follower.terminate()
