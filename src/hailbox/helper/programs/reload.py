"""Run a daemon from a mounted checkout, and start it again when a file of the checkout changes.

    python3 -c TEXT haild.tabled ARGUMENTS...

It is the first process of a service's container. A change restarts the daemon within a second. Where a changed
file is not Python, it says which line is wrong, lets the running daemon go on, and waits for the next change. When
the daemon ends by itself, this program ends with its status, unless the code has just changed: then it waits for the
next change, so that a mistake is shown once. Signals are passed on. Standard library only.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

INTERVAL = 0.3
"""Seconds between two looks at the files."""
TRIAL = 5.0
"""Seconds in which a daemon that ends after a change is blamed on the change."""
GRACE = 3.0
"""Seconds that a daemon has to stop."""


def stamps(root: Path) -> "dict[Path, tuple[int, int]]":
    """By module: when it was changed, and its size."""
    found = {}
    for path in root.rglob("*.py"):
        try:
            status = path.stat()
        except OSError:
            continue  # an editor is replacing it
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def mistake(paths: "list[Path]") -> "str | None":
    """The first of these files that is not Python, and why; None if all are."""
    for path in paths:
        try:
            compile(path.read_bytes(), str(path), "exec")
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            return f"{path}{f', line {line}' if line else ''}: {getattr(error, 'msg', error)}"
        except OSError:
            continue
    return None


def say(text: str) -> None:
    """A line for the log."""
    sys.stderr.write(f"reload: {text}\n")
    sys.stderr.flush()


class Reloader:
    """Keeps one daemon running from the code below `root`."""

    def __init__(self, root: Path, command: "list[str]") -> None:
        self.root = root
        self.command = command
        self.daemon: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.changed = False
        """Whether what runs now is code that was changed since the container was started."""
        self.stopping = False

    def start(self) -> None:
        """Start the daemon."""
        self.started = time.monotonic()
        self.daemon = subprocess.Popen(self.command)

    def stop(self) -> None:
        """Stop the daemon; kill it if it does not stop."""
        if self.daemon is None:
            return
        self.daemon.terminate()
        try:
            self.daemon.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.daemon = None

    def pass_on(self, number: int, _frame: object) -> None:
        """Give a signal to the daemon; the ones that end it end this program, too."""
        self.stopping = self.stopping or number in (signal.SIGTERM, signal.SIGINT)
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(number)

    def look(self, before: "dict[Path, tuple[int, int]]") -> "dict[Path, tuple[int, int]]":
        """Start the daemon again if the code differs from `before` and is Python; returns how the code is now."""
        now = stamps(self.root)
        if now != before:
            wrong = mistake([path for path, stamp in now.items() if before.get(path) != stamp])
            if wrong:
                say(f"{wrong}; the daemon goes on with the code before, waiting for the next change")
                return now
            names = sorted(str(path.relative_to(self.root)) for path in now.keys() | before.keys()
                           if now.get(path) != before.get(path))  # fmt: skip
            say(f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''} changed; starting again")
            self.stop()
            self.changed = True
            self.start()
        return now

    def run(self) -> int:
        """Keep the daemon running; returns the exit status for the container."""
        seen = stamps(self.root)
        self.start()
        while True:
            time.sleep(INTERVAL)
            status = self.daemon.poll() if self.daemon is not None else None
            if self.stopping and (self.daemon is None or status is not None):
                return status if status is not None and status >= 0 else 0
            if self.stopping:
                # Asked to stop while another daemon was being started, which has not heard of it.
                self.stop()
                return 0
            if status is not None:
                self.daemon = None
                if not self.changed or time.monotonic() - self.started > TRIAL:
                    return status if status >= 0 else 128 - status
                say(f"the daemon ended with status {status} after the change; waiting for the next change")
            seen = self.look(seen)


def main() -> int:
    """Run the module named by the first argument with the others."""
    module, *arguments = sys.argv[1:]
    root = Path(os.environ.get("PYTHONPATH", "/opt/hailbox").split(os.pathsep)[0]) / "haild"
    reloader = Reloader(root, [sys.executable, "-m", module, *arguments])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, reloader.pass_on)
    return reloader.run()


if __name__ == "__main__":
    sys.exit(main())
