"""Becoming the docker client, for what needs this terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from hailbox import surroundings
from hailbox.cli.command import ContextFor
from hailbox.commands.execute import attached


def attach(context_for: ContextFor, replica: str, command: Sequence[str]) -> NoReturn:
    """Run a command in a container in place of this program: the docker client knows terminals, signals and
    half-closed pipes, and hailbox has nothing to add."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    program = attached(context_for(), replica, command, terminal=terminal)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, which a program would inherit
    names = ("TERM", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    os.execve(program[0], program, surroundings.environment(*names))  # noqa: S606
