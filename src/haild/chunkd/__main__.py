"""`python -m haild.chunkd`: options as the reference's (chunkd.md section 9)."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from typing import Final

from haild.chunkd import configuration
from haild.chunkd.daemon import serve
from haild.daemon import lifecycle, log, options, settings
from haild.daemon.errors import StartError
from haild.daemon.secrets import read as read_secrets
from haild.wire.chunk.messages import MAXIMUM_USER

MAXIMUM_SECRET: Final = 1024
"""Bytes. A secret is never sent, so the protocol sets no limit."""


def _parser() -> argparse.ArgumentParser:
    parser = options.Parser(prog="chunkd", description="stores immutable objects under binary keys")
    options.add_config(parser, configuration.DEFAULT_FILE)
    options.add_daemon(parser, levels=None)
    parser.add_argument("--strict-free", action="store_true", help="accepted for the reference's sake")
    return parser


def main() -> int:
    """Run chunkd. Returns the exit status: 0 after an orderly end, 1 if it cannot start."""
    arguments = _parser().parse_args()
    log.configure("chunkd", to_stderr=arguments.stderr, debug=arguments.debug > 0)
    try:
        settings.await_file(arguments.config)
        chosen = configuration.read(settings.load(arguments.config))
        secrets = None
        if chosen.secrets is not None:
            secrets = read_secrets(chosen.secrets, maximum_user=MAXIMUM_USER - 1, maximum_secret=MAXIMUM_SECRET)
        if not arguments.foreground:
            lifecycle.go_to_background()
        with lifecycle.pid_file(arguments.pid or chosen.pid_file):
            return lifecycle.run(functools.partial(serve, chosen, secrets), "chunkd")
    except (StartError, settings.SettingsError, lifecycle.PidFileLockedError, OSError) as error:
        with contextlib.suppress(OSError):
            print(f"chunkd: {error}", file=sys.stderr)  # noqa: T201 - it may not log yet
        return getattr(error, "exit_status", StartError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
