"""The commands that only look: status, wait, logs, env, compose, ls."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hailbox.cli.life import Port, Profile, Scale, Services
from hailbox.cli.verb import Shown, pairs

Make = Any


def status(make: Make) -> Shown:
    """Show each service, whether it works, and where it is reached."""
    from hailbox.cli import render
    from hailbox.stack.status import status as run

    result = run(make())
    return Shown(result, render.stack, working=result.working, essential=True)


Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.")]


def wait(make: Make, timeout: Timeout = 60.0) -> Shown:
    """Wait until the stack works; for scripts beside an `up` elsewhere."""
    from hailbox.cli import render
    from hailbox.stack.status import wait as run

    return Shown(run(make(), deadline=timeout), render.stack)


Tail = Annotated[int | None, typer.Option("--tail", "-n", metavar="N", help="Only the last N lines of each replica.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as lines come.")]


def logs(make: Make, services: Services = None, tail: Tail = None, follow: Follow = False) -> Shown:
    """Print what the services logged, merged in order of time."""
    from hailbox.stack.logs import LogLine
    from hailbox.stack.logs import logs as run

    def line(entry: LogLine) -> str:
        return f"{entry.time[:23]}Z  {entry.replica:<12} {entry.text}"

    lines = run(make(), services or (), tail=tail, follow=follow)
    if follow:
        for entry in lines:
            print(line(entry), flush=True)  # noqa: T201
        return Shown(None, None)
    collected = list(lines)
    return Shown(collected, (lambda entries: "\n".join(map(line, entries))) if collected else None, essential=True)


def env(make: Make) -> Shown:
    """Print KEY=VALUE lines for `eval "$(hailbox env)"`, direnv or a .env file."""
    from hailbox.cli import render
    from hailbox.stack.env import env as run

    return Shown(run(make()), render.env, essential=True)


def compose(make: Make, profile: Profile = None, scale: Scale = None, port: Port = None) -> Shown:
    """Print the Compose file of the stack; Compose alone can run it."""
    from hailbox.stack.make import compose as run

    context = make(profile=profile, scale=pairs(scale, "--scale"), ports=pairs(port, "--port"))
    return Shown(run(context), str.rstrip, essential=True)


def ls(make: Make) -> Shown:
    """List all stacks on the engine."""
    from hailbox.cli import render
    from hailbox.stack.status import ls as run

    return Shown(run(make().engine), render.stacks, essential=True)
