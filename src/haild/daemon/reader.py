"""A reader of what the daemon of this container does; see `haild.daemon.insight`.

    python3 -m haild.daemon.reader events [--after N] [--seconds S]     a JSON object on a line for each event
    python3 -m haild.daemon.reader metrics                              Prometheus' text format
    python3 -m haild.daemon.reader state                                what else the daemon tells, as JSON

A reader of events ends by itself after S seconds, because the engine does not end a command when the reader of its
output is gone; the next one goes on after the event N of the last. It imports little: it is started often.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from typing import Final

VARIABLE: Final = "HAILD_INSIGHT"
"""Names the path of the daemon's socket."""


def main(arguments: list[str]) -> int:
    """Print what was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="reader", description="Read what the daemon of this container does.")
    parser.add_argument("what", choices=["events", "metrics", "state"])
    parser.add_argument("--after", type=int, default=-1, metavar="N", help="go on after the event of this number")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="how long to read events")
    options = parser.parse_args(arguments)
    path = os.environ.get(VARIABLE, "")
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            sys.stderr.write(f"reader: {path or VARIABLE}: {error.strerror or error}\n")
            return 1
        connection.sendall(f"{options.what} {options.after}\n".encode())
        end = time.monotonic() + (options.seconds if options.what == "events" else 30.0)
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                block = connection.recv(1 << 16)
                if not block:
                    break
                sys.stdout.buffer.write(block)
                sys.stdout.buffer.flush()
            except (TimeoutError, BrokenPipeError):
                break
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
