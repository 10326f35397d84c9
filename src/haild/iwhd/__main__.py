"""`python -m haild.iwhd`: the image warehouse daemon."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from haild.daemon import lifecycle
from haild.daemon.errors import StartError
from haild.daemon.plaintext import PlainFormatter
from haild.daemon.settings import await_file
from haild.iwhd import autostart, configuration
from haild.iwhd.configuration import Configuration
from haild.iwhd.options import Options, UsageError, complain, parse
from haild.iwhd.settings import ProviderSettingsError

logger = logging.getLogger("haild.iwhd")


def configure_log(log_file: Path | None, *, verbose: bool) -> None:
    """Log lines `<ctime> iwhd[PID]: text` to standard error or the file; warnings and up, or all (iwhd.md 14)."""
    try:
        handler = logging.StreamHandler() if log_file is None else logging.FileHandler(log_file)
    except OSError as error:
        raise StartError(f"{log_file}: {error.strerror}") from error
    handler.setFormatter(PlainFormatter(f"%(asctime)s iwhd[{os.getpid()}]: %(message)s", "%a %b %e %H:%M:%S %Y"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _configuration(options: Options) -> Configuration:
    if options.configuration is None:
        return Configuration((autostart.prepare(options.database_port),))
    await_file(options.configuration)
    try:
        return configuration.load(options.configuration)
    except ProviderSettingsError as error:
        logger.error("%s", error)
        raise StartError(f"could not parse {options.configuration}") from error


def run(options: Options) -> int:
    """Run the daemon; returns the exit status. Raises StartError."""
    configure_log(options.log_file, verbose=options.verbose)
    chosen = _configuration(options)
    if options.autostart and options.metadata is None:
        options = options.with_metadata(autostart.METADATA.absolute())
    # After the options are known to be good: these are a fifth of a second of imports.
    from haild.iwhd.daemon import serve

    with lifecycle.pid_file(autostart.PID_FILE.absolute() if options.autostart else None):
        return lifecycle.run(lambda stop: serve(options, chosen, stop), "iwhd")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    try:
        return run(parse(sys.argv[1:] if arguments is None else arguments))
    except UsageError as error:
        return complain(error)
    except (StartError, lifecycle.PidFileLockedError) as error:
        logger.error("%s", error)
        return getattr(error, "exit_status", StartError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
