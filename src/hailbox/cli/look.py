"""The commands that only look: status, wait, logs, env, compose, ls."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hailbox.cli import output
from hailbox.cli.command import Shown
from hailbox.cli.life import Port, Profile, Scale, Services, numbers
from hailbox.model.errors import NotWorkingError

Make = Any


Why = Annotated[bool, typer.Option("--why", help="Also say what is at the root of the trouble.")]


def status(make: Make, why: Why = False) -> Shown:
    """Show each service, whether it works, and where it is reached."""
    from hailbox.cli import render
    from hailbox.commands.status import status as run
    from hailbox.stack.selection import stack_down

    if why:
        from hailbox.cli import doctor
        from hailbox.doctor import examine

        return doctor.shown(examine.why(make()))
    result = run(make())
    sick = [replica.replica for replica in result.replicas if not replica.working]
    error: NotWorkingError | None = None
    if result.down:
        error = stack_down(result.stack)
    elif sick:
        error = NotWorkingError(
            f"{', '.join(sick)} of stack {result.stack} {'do' if len(sick) > 1 else 'does'} not work",
            f"bring it up, or heal it, with: hailbox --stack {result.stack} up",
        )
    return Shown(result, render.stack, error=error, essential=True)


Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long to wait.")]


def wait(make: Make, timeout: Timeout = 60.0) -> Shown:
    """Wait until the stack works; for scripts beside an `up` elsewhere."""
    from hailbox.cli import render
    from hailbox.commands.status import wait as run

    return Shown(run(make(), deadline=timeout), render.stack)


Tail = Annotated[
    int | None, typer.Option("--tail", "-n", min=0, metavar="N", help="Only the last N lines of each replica.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as lines come.")]


def logs(make: Make, services: Services = None, tail: Tail = None, follow: Follow = False) -> Shown:
    """Print what the services logged, merged in order of time."""
    from hailbox.commands.logs import LogLine
    from hailbox.commands.logs import logs as run

    def line(entry: LogLine) -> str:
        return f"{entry.time[:23]}Z  {entry.replica:<12} {entry.text}"

    lines = run(make(), services or (), tail=tail, follow=follow)
    if follow:
        for entry in lines:
            output.write(line(entry))
        return Shown(None, None)
    collected = list(lines)
    return Shown(collected, (lambda entries: "\n".join(map(line, entries))) if collected else None, essential=True)


def env(make: Make) -> Shown:
    """Print KEY=VALUE lines for `eval "$(hailbox env)"`, direnv or a .env file."""
    from hailbox.cli import render
    from hailbox.commands.env import env as run

    return Shown(run(make()), render.env, essential=True)


def compose(make: Make, profile: Profile = None, scale: Scale = None, port: Port = None) -> Shown:
    """Print the Compose file of the stack; Compose alone can run it."""
    from hailbox.commands.build import compose as run

    return Shown(run(make(profile=profile, **numbers(scale, port))), str.rstrip, essential=True)


def profiles(_make: Make) -> Shown:
    """List the profiles: which services there are, and how they are connected."""
    from hailbox.cli import render
    from hailbox.stack.definitions import load_catalog

    return Shown(list(load_catalog().profiles.values()), render.profiles, essential=True)


def ls(make: Make) -> Shown:
    """List all stacks on the engine."""
    from hailbox.cli import render
    from hailbox.commands.status import ls as run

    return Shown(run(make().engine), render.stacks, essential=True)
