"""`python -m haild.cld`: the options of the reference daemon (cld.md 13.1), `--secrets`, and `admin`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from haild.cld import admin, insight
from haild.cld.server import Server
from haild.daemon import emptying, lifecycle, log, options, settings
from haild.daemon.errors import StartError
from haild.daemon.insight import HERE
from haild.daemon.secrets import read as read_secrets
from haild.wire import emptying as wire
from haild.wire.cld import messages as cld

logger = logging.getLogger("haild.cld")


def _arguments() -> argparse.ArgumentParser:
    parser = options.Parser(prog="cld", description="Coarse lock service.", epilog="See also: cld admin -h")
    parser.add_argument("-d", "--data", metavar="DIR", type=Path, required=True, help="database directory")
    parser.add_argument("-p", "--port", metavar="PORT", default=str(cld.DEFAULT_PORT), help="port, or auto")
    parser.add_argument("--port-file", metavar="FILE", type=Path, help="write the port number to FILE")
    options.add_daemon(parser)
    parser.add_argument("--strict-free", action="store_true", help="accepted and ignored")
    parser.add_argument(
        "--secrets", metavar="FILE", type=Path, help="lines USER<TAB>SECRET; without it a user's key is its name"
    )
    return parser


async def _serve(stop: asyncio.Event, arguments: argparse.Namespace, port: int) -> None:
    secrets = read_secrets(arguments.secrets) if arguments.secrets is not None else None
    proof = emptying.proof("cld")
    if proof is not None and secrets is not None:
        secrets |= {wire.CLD_USER: proof.encode()}
    server = await Server.start(arguments.data, port, secrets)
    server.service.on_answer = insight.note
    HERE.state = insight.leases(lambda: list(server.service.registry.sessions.values()))
    try:
        if arguments.port_file is not None:
            lifecycle.write_port_file(arguments.port_file, str(server.port))
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: logger.info("%s", server.statistics()))
        logger.info("serving on port %d, UDP and TCP", server.port)
        await server.serve(stop)
    finally:
        await server.close()


def main() -> int:
    """Run the daemon; returns the exit status."""
    if sys.argv[1:2] == ["admin"]:
        return admin.main(sys.argv[2:])
    arguments = _arguments().parse_args()
    log.configure("cld", to_stderr=arguments.stderr, debug=arguments.debug > 0)
    try:
        port = settings.port_number(arguments.port, auto=True)
        if not arguments.foreground:
            lifecycle.go_to_background()
        with lifecycle.pid_file(arguments.pid):
            return lifecycle.run(lambda stop: _serve(stop, arguments, port), "cld")
    except (StartError, settings.SettingsError, lifecycle.PidFileLockedError, OSError) as error:
        logger.error("%s", error)
        return getattr(error, "exit_status", StartError.exit_status)


if __name__ == "__main__":
    sys.exit(main())
