"""Runs a command of the driver and kills it, with SIGKILL, at its N-th moment at the engine.

    python crashing_driver.py STACK N COMMAND [WORD]...

Moments are before and after each request to the engine, and, in a Compose run, DURING seconds after its start. Prints
the moment and dies there. If it gets through, it ends with status 0 and prints a JSON list of all moments.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from hailbox.commands.down import destroy, down
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.context import Context
from hailbox.engine.docker import DockerEngine
from hailbox.model.config import Config
from hailbox.stack import definitions

DURING = (0.1, 0.4, 0.8, 1.2)
VERBS = {"up": up, "down": down, "reset": reset, "destroy": destroy}


class CrashingEngine:
    """The real engine, reached through a seam that can be the last thing that the driver sees."""

    def __init__(self, at: int) -> None:
        self._engine = DockerEngine()
        self._at = at
        self._lock = threading.Lock()
        self.moments: list[str] = []

    def _reached(self, moment: str) -> bool:
        with self._lock:
            self.moments.append(moment)
            return len(self.moments) == self._at

    def _die(self, moment: str) -> None:
        print(moment, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._engine, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._reached(f"before {name}"):
                self._die(f"before {name}")
            for delay in DURING if name == "compose" else ():
                moment = f"{delay} s into {name}"
                if self._reached(moment):
                    timer = threading.Timer(delay, self._die, [moment])
                    timer.daemon = True
                    timer.start()
            answer = method(*args, **kwargs)
            if self._reached(f"after {name}"):
                self._die(f"after {name}")
            return answer

        return call


def main() -> None:
    stack, at, command, *words = sys.argv[1:]
    os.chdir(Path("/"))
    engine: Any = CrashingEngine(int(at))
    context = Context(engine, definitions.load_catalog(), Config(stack=stack), command=f"hailbox {command}")
    verb = VERBS[command]
    if words:
        reset(context, words)
    else:
        verb(context)
    print(json.dumps(engine.moments))


if __name__ == "__main__":
    main()
