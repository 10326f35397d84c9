"""`python -m haild.tabled`: the daemon, with upstream's options (tabled.md 2.1)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from haild.daemon import lifecycle, log
from haild.daemon.errors import StartError
from haild.tabled import configuration

VERSION = "0.5.2"
USAGE_ERROR = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tabled", add_help=False, description="S3-compatible object server", allow_abbrev=True)
    parser.add_argument("-C", "--config", type=Path, metavar="FILE", default=configuration.DEFAULT_FILE)
    parser.add_argument("-D", "--debug", type=int, choices=(0, 1, 2), default=0, metavar="LEVEL")
    parser.add_argument("-E", "--stderr", action="store_true", help="log to standard error")
    parser.add_argument("-F", "--foreground", action="store_true", help="do not fork")
    parser.add_argument("-P", "--pid", type=Path, metavar="FILE", help="PID file")
    parser.add_argument("-?", "--help", action="help", help="give this help list")
    parser.add_argument("--usage", action="help", help="give a short usage message")
    parser.add_argument("-V", "--version", action="version", version=VERSION)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon; returns the exit status."""
    options = _parser().parse_args(arguments)
    log.configure("tabled", to_stderr=options.stderr, debug=options.debug > 0)
    try:
        settings = configuration.read(options.config)
        if not options.foreground:
            lifecycle.go_to_background()
        with lifecycle.pid_file(options.pid or settings.pid_file):
            from haild.tabled.daemon import Daemon, check_database
            from haild.tabled.group import cldaddresses

            cldaddresses.check(settings)
            check_database(settings.directory)
            daemon = Daemon(settings)
            return lifecycle.run(daemon.run)
    except (StartError, lifecycle.PidFileLockedError, OSError) as error:
        sys.stderr.write(f"tabled: {error}\n")
        return getattr(error, "exit_status", StartError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
