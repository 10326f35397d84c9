"""Command line of iwhd (iwhd.md section 2)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

from haild.daemon.settings import SettingsError, port_number
from haild.wire.iwhd.target import DEFAULT_PORT, VERSION

AUTOSTART_DATABASE_PORT: Final = 27018
"""Where upstream's autostart ran its database; taken means that another one runs (iwhd.md section 12)."""


class UsageError(Exception):
    """The command line cannot be used. `hint` asks for a pointer to the help."""

    def __init__(self, text: str, *, hint: bool = True) -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. Exactly one of `configuration` and `autostart` is there.

    `metadata` is the directory of the metadata store where the user named one; `database_port` is only of
    use to autostart.
    """

    configuration: Path | None
    autostart: bool
    metadata: Path | None
    database_port: int
    master: tuple[str, int] | None
    port: int
    log_file: Path | None
    verbose: bool

    def with_metadata(self, directory: Path) -> Options:
        """These options with the metadata in `directory`."""
        return replace(self, metadata=directory)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="iwhd",
        usage="iwhd [OPTION]",
        description="Deltacloud image-warehouse daemon.",
        epilog="DIRECTORY is told from HOST by a slash in it. HOST[:PORT] of a database is accepted but not used, "
        "except by -a: the metadata are kept in DIRECTORY, by default in .iwhd/db under the primary provider's "
        "path, or in /var/lib/iwhd/_db if it has none.",
        add_help=False,
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="read the configuration from FILE")
    parser.add_argument(
        "-a", "--autostart", action="store_true", help="no configuration: keep all in ./_fs and ./_db"
    )
    parser.add_argument("-d", "--db", metavar="DIRECTORY|HOST[:PORT]", help="where the metadata are")
    parser.add_argument("-m", "--master", metavar="HOST[:PORT]", help="be a slave of that iwhd (default port 9090)")
    parser.add_argument("-p", "--port", metavar="PORT", default=str(DEFAULT_PORT), help="listen port (default 9090)")
    parser.add_argument("-l", "--logfile", metavar="FILE", help="append the log to FILE")
    parser.add_argument("-v", "--verbose", action="store_true", help="log all that is done")
    parser.add_argument("--help", action="help", help="print this and exit")
    parser.add_argument(
        "--version", action="version", version=f"iwhd (hailbox) {VERSION}", help="print the version and exit"
    )
    return parser


def parse(arguments: Sequence[str]) -> Options:
    """The options of a command line. Raises UsageError; SystemExit(0) after --help and --version."""
    values = _parser().parse_args(arguments)
    if values.config is not None and values.autostart:
        raise UsageError("-c and -a exclude each other", hint=False)
    if values.config is None and not values.autostart:
        raise UsageError("no configuration file and no -a: say where to keep things")
    directory = Path(values.db) if values.db is not None and "/" in values.db else None
    _, database_port = (
        ("localhost", AUTOSTART_DATABASE_PORT)
        if directory is not None
        else _address(values.db or "localhost", AUTOSTART_DATABASE_PORT)
    )
    return Options(
        configuration=None if values.config is None else Path(values.config),
        autostart=values.autostart,
        metadata=directory,
        database_port=database_port,
        master=None if values.master is None else _address(values.master, DEFAULT_PORT),
        port=_port(values.port),
        log_file=None if values.logfile is None else Path(values.logfile),
        verbose=values.verbose,
    )


def _port(text: str) -> int:
    try:
        return port_number(text)
    except SettingsError as error:
        raise UsageError(str(error)) from error


def _address(text: str, default_port: int) -> tuple[str, int]:
    host, separator, port = text.partition(":")
    if not host:
        raise UsageError(f"{text!r} is not HOST[:PORT]")
    return host, _port(port) if separator else default_port


def complain(error: UsageError) -> int:
    """Say what is wrong with the command line; returns the exit status."""
    sys.stderr.write(f"iwhd: {error}\n")
    if error.hint:
        sys.stderr.write("Try 'iwhd --help' for more information.\n")
    return 1
