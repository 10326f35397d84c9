"""`python -m haild.tabled`: the daemon, with upstream's options (tabled.md 2.1)."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from haild.daemon import lifecycle, log, options
from haild.daemon.errors import StartError
from haild.tabled import configuration

VERSION: Final = "0.5.2"


def _parser() -> argparse.ArgumentParser:
    parser = options.ArgpParser("tabled", "S3-compatible object server", VERSION)
    options.add_config(parser, configuration.DEFAULT_FILE)
    options.add_daemon(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    log.configure("tabled", to_stderr=chosen.stderr, debug=chosen.debug > 0)
    try:
        settings = configuration.read(chosen.config)
        if not chosen.foreground:
            lifecycle.go_to_background()
        with lifecycle.pid_file(chosen.pid or settings.pid_file):
            from haild.tabled.daemon import Daemon, check_database

            configuration.require_cld(settings)
            check_database(settings.directory)
            daemon = Daemon(settings)
            return lifecycle.run(daemon.run, "tabled")
    except (StartError, lifecycle.PidFileLockedError, OSError) as error:
        sys.stderr.write(f"tabled: {error}\n")
        return getattr(error, "exit_status", StartError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
