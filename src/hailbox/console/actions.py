"""What the pages can do: each form is a verb of the CLI with its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hailbox.commands.restart import restart
from hailbox.commands.up import up
from hailbox.console.jobs import Task
from hailbox.context import Context
from hailbox.fault import duration
from hailbox.fault.active import clear
from hailbox.fault.inject import Asked, inject
from hailbox.model.errors import UsageError

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
    words = ["fault", kind, replica]
    peer = None
    delay = loss = 0.0
    if kind == "partition":
        peer = _required(form, "peer")
        words.append(peer)
    if kind == "slow":
        if text := form.get("delay", "").strip():
            delay = duration.seconds(text, "--delay")
            words += ["--delay", text]
        if text := form.get("loss", "").strip():
            loss = duration.share(text, "--loss")
            words += ["--loss", text]
    file = form.get("file", "").strip() if kind == "corrupt" else ""
    if file:
        words += ["--file", file]
    seconds = None
    if text := form.get("for", "").strip():
        seconds = duration.seconds(text, "--for")
        words += ["--for", text]
    asked = Asked(kind, replica, peer=peer, seconds=seconds, delay=delay, loss=loss, file=file)
    return Task(tuple(words), lambda context: f"in effect: {inject(context, asked).id}")


def _clear(form: Form) -> Task:
    fault = form.get("fault", "")
    faults = [fault] if fault else []

    def run(context: Context) -> str:
        ended = clear(context, faults).faults
        return f"ended: {', '.join(ended)}" if ended else "no fault was in effect"

    return Task(("fault", "clear", *faults), run)


ACTIONS: Final[Mapping[str, Callable[[Form], Task]]] = {
    "restart": _restart,
    "up": _up,
    "fault": _fault,
    "clear": _clear,
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
