"""`python -m haild.chunkd`: options as the reference's (chunkd.md section 9)."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from pathlib import Path

from haild.chunkd import configuration
from haild.chunkd.daemon import serve
from haild.daemon import lifecycle, log, settings
from haild.daemon.errors import StartError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chunkd", description="stores immutable objects under binary keys")
    parser.add_argument("-C", "--config", metavar="FILE", type=Path, default=configuration.DEFAULT_FILE)
    parser.add_argument("-D", "--debug", metavar="LEVEL", type=int, default=0, help="log more")
    parser.add_argument("-E", "--stderr", action="store_true", help="log to standard error")
    parser.add_argument("-F", "--foreground", action="store_true", help="stay in the foreground")
    parser.add_argument("-P", "--pid", metavar="FILE", type=Path, help="the pid file")
    parser.add_argument("--strict-free", action="store_true", help="accepted for the reference's sake")
    return parser


def main() -> int:
    """Run chunkd. Returns the exit status: 0 after an orderly end, 1 if it cannot start."""
    options = _parser().parse_args()
    log.configure("chunkd", to_stderr=options.stderr, debug=options.debug > 0)
    try:
        settings.await_file(options.config)
        chosen = configuration.read(settings.load(options.config))
        secrets = None
        if chosen.secrets is not None:
            settings.await_file(chosen.secrets)
            secrets = configuration.read_secrets(chosen.secrets)
        if not options.foreground:
            lifecycle.go_to_background()
        with lifecycle.pid_file(options.pid or chosen.pid_file):
            return lifecycle.run(functools.partial(serve, chosen, secrets))
    except (StartError, settings.SettingsError, lifecycle.PidFileLockedError, OSError) as error:
        with contextlib.suppress(OSError):
            print(f"chunkd: {error}", file=sys.stderr)  # noqa: T201 - it may not log yet
        return getattr(error, "exit_status", StartError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
