"""What the pages can do: each form is a verb of the CLI with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hailbox.bench.measure import LARGEST, BenchResult, Load, measure
from hailbox.commands.restart import restart
from hailbox.commands.up import up
from hailbox.console.jobs import Task
from hailbox.context import Context
from hailbox.fault import duration
from hailbox.fault.active import clear
from hailbox.fault.inject import FaultRequest, inject
from hailbox.model.errors import UsageError
from hailbox.model.size import parse, rounded
from hailbox.snapshot import manage
from hailbox.snapshot.catalog import check_name
from hailbox.snapshot.restore import restore
from hailbox.snapshot.save import save

Form = Mapping[str, str]

FAULTS: Final[Mapping[str, str]] = {
    "kill": "end the daemon, and keep it dead",
    "stop": "stop the daemon, and keep it down",
    "pause": "freeze the daemon",
    "isolate": "lose every packet to and from it",
    "partition": "lose every packet between two",
    "slow": "delay or lose what it sends",
    "fill-disk": "let its data not grow",
    "corrupt": "damage a file of its data",
}
"""The kinds of faults, and what they do."""


def _restart(form: Form) -> Task:
    replica = _required(form, "replica")

    def run(context: Context) -> str:
        return f"restarted: {', '.join(restart(context, [replica]).changed)}"

    return Task(("restart", replica), run)


def _up(_form: Form) -> Task:
    def run(context: Context) -> str:
        result = up(context)
        healed = f"; healed: {', '.join(result.healed)}" if result.healed else ""
        return f"every service works{healed}"

    return Task(("up",), run)


def _fault(form: Form) -> Task:
    kind, replica = _required(form, "kind"), _required(form, "replica")
    if kind not in FAULTS:
        raise UsageError(f"there is no fault {kind!r}", f"choose one of: {', '.join(FAULTS)}")
    typed = ["fault", kind, replica]
    peer = None
    delay = loss = 0.0
    if kind == "partition":
        peer = _required(form, "peer")
        typed.append(peer)
    if kind == "slow":
        if text := form.get("delay", "").strip():
            delay = duration.seconds(text, "--delay")
            typed += ["--delay", text]
        if text := form.get("loss", "").strip():
            loss = duration.share(text, "--loss")
            typed += ["--loss", text]
    file = form.get("file", "").strip() if kind == "corrupt" else ""
    if file:
        typed += ["--file", file]
    seconds = None
    if text := form.get("for", "").strip():
        seconds = duration.seconds(text, "--for")
        typed += ["--for", text]
    asked = FaultRequest(kind, replica, peer=peer, seconds=seconds, delay=delay, loss=loss, file=file)
    return Task(tuple(typed), lambda context: f"in effect: {inject(context, asked).id}")


def _clear(form: Form) -> Task:
    fault = form.get("fault", "")
    faults = [fault] if fault else []

    def run(context: Context) -> str:
        ended = clear(context, faults).faults
        return f"ended: {', '.join(ended)}" if ended else "no fault was in effect"

    return Task(("fault", "clear", *faults), run)


def _save(form: Form) -> Task:
    name = check_name(_required(form, "name"))
    return Task(("snapshot", "save", name), lambda context: f"saved: {rounded(save(context, name).size)}")


def _restore(form: Form) -> Task:
    name = _required(form, "name")

    def run(context: Context) -> str:
        return f"the data is that of {restore(context, name).snapshot.taken}"

    return Task(("snapshot", "restore", name), run)


def _remove(form: Form) -> Task:
    name = _required(form, "name")

    def run(context: Context) -> str:
        return f"removed: {', '.join(manage.remove(context, name).volumes)}"

    return Task(("snapshot", "rm", name), run)


def bench(form: Form, keep: Callable[[BenchResult], None]) -> Task:
    """Measures the services; `keep` is given the result. Raises UsageError."""
    default = Load()
    services = [service for service in form.get("services", "").split() if service]
    typed = ["bench", *services]
    seconds = default.seconds
    if text := form.get("seconds", "").strip():
        seconds = duration.seconds(text, "--seconds")
        if not 0.1 <= seconds <= 600:
            raise UsageError(f"--seconds {text} is not from 0.1 to 600", "write for example: --seconds 2")
        typed += ["--seconds", f"{seconds:g}"]
    connections = [_connections(each) for each in form.get("connections", "").replace(",", " ").split()]
    typed += [word for number in connections for word in ("--connections", str(number))]
    named = form.get("sizes", "").replace(",", " ").split()
    typed += [word for text in named for word in ("--size", text)]
    load = Load(
        connections=sorted(set(connections)) or default.connections,
        seconds=seconds,
        sizes=[parse(text, LARGEST) for text in dict.fromkeys(named)] or default.sizes,
    )

    def run(context: Context) -> str:
        result = measure(context, services, load)
        keep(result)
        return f"measured: {len(result.figures)}"

    return Task(tuple(typed), run)


def _connections(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= 256:
        return int(text)
    raise UsageError(f"{text!r} is no number of connections from 1 to 256", "write for example: 1 16")


ACTIONS: Final[Mapping[str, Callable[[Form], Task]]] = {
    "restart": _restart,
    "up": _up,
    "fault": _fault,
    "clear": _clear,
    "save": _save,
    "restore": _restore,
    "remove": _remove,
}
"""By the name that a form has in its field `action`. They raise UsageError."""


def task(form: Form) -> Task:
    """What a form asks for. Raises UsageError."""
    action = ACTIONS.get(form.get("action", ""))
    if action is None:
        raise UsageError("the form asks for nothing that this console can do", "go back, and load the page again")
    return action(form)


def _required(form: Form, name: str) -> str:
    if value := form.get(name, "").strip():
        return value
    raise UsageError(f"the form does not say which {name}", "go back, and choose one")
