"""Command lines of the daemons: the options that they share, as upstream has them (cld.md 13.1, tabled.md 2.1)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Ends with `usage_status` where the command line is wrong."""

    usage_status = 2

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit."""
        self.print_usage(sys.stderr)
        self.exit(self.usage_status, f"{self.prog}: {message}\n")


class ArgpParser(Parser):
    """As glibc's argp: `-?`, `--usage`, `-V`, and EX_USAGE of sysexits.h for a wrong command line."""

    usage_status = 64

    def __init__(self, prog: str, description: str, version: str) -> None:
        super().__init__(prog=prog, add_help=False, description=description, allow_abbrev=True)
        self.add_argument("-?", "--help", action="help", help="give this help list")
        self.add_argument("--usage", action="help", help="give a short usage message")
        self.add_argument("-V", "--version", action="version", version=version)


def add_config(parser: argparse.ArgumentParser, default: Path) -> None:
    """-C."""
    parser.add_argument("-C", "--config", type=Path, metavar="FILE", default=default, help="the configuration")


def add_daemon(parser: argparse.ArgumentParser, *, levels: Sequence[int] | None = (0, 1, 2)) -> None:
    """-D -E -F -P. levels: what -D takes; None: any number."""
    parser.add_argument("-D", "--debug", type=int, choices=levels, default=0, metavar="LEVEL", help="log more")
    parser.add_argument("-E", "--stderr", action="store_true", help="log to standard error")
    parser.add_argument("-F", "--foreground", action="store_true", help="do not fork")
    parser.add_argument("-P", "--pid", type=Path, metavar="FILE", help="write the process id to FILE")
