"""What was asked for on a page: verbs of the CLI, each in a thread, with the command line that does the same."""

from __future__ import annotations

import itertools
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from hailbox.console.state import Problem, defect
from hailbox.context import Context
from hailbox.model.errors import HailboxError
from hailbox.model.progress import Progress

KEPT: Final = 8
"""Jobs that a page shows."""


class JobState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Task:
    """A verb of the CLI with its arguments."""

    words: tuple[str, ...]
    """As a user would type them after `hailbox --stack NAME`."""
    run: Callable[[Context], str]
    """Calls the verb; returns what it did, in a line. Raises HailboxError."""


@dataclass
class Job:
    """One task that was started."""

    number: int
    line: str
    """The command line that does the same."""
    state: JobState = JobState.RUNNING
    said: str = ""
    """The last step, or the result."""
    problem: Problem | None = None
    began: float = field(default_factory=time.time)


def command_line(stack: str, words: Sequence[str]) -> str:
    """What a user types for these words about that stack."""
    return shlex.join(["hailbox", "--stack", stack, *words])


class Jobs:
    """Starts tasks and remembers the last ones."""

    def __init__(self, context: Callable[[], Context], changed: Callable[[], None]) -> None:
        self._context = context
        self._changed = changed
        self._numbers = itertools.count(1)
        self._jobs: deque[Job] = deque(maxlen=KEPT)

    @property
    def all(self) -> list[Job]:
        """The last ones, the newest first."""
        return list(self._jobs)[::-1]

    def start(self, task: Task) -> Job:
        """Start a task; returns at once."""
        context = self._context()
        job = Job(next(self._numbers), command_line(context.stack, task.words))
        self._jobs.append(job)
        context = replace(
            context,
            report=lambda progress: self._step(job, progress),
            command=f"hailbox {' '.join(task.words)}",
            started=time.monotonic(),
            spans=[],
        )
        threading.Thread(target=self._run, args=(job, task, context), daemon=True).start()
        self._changed()
        return job

    def refuse(self, action: str, error: HailboxError) -> None:
        """Note a form that could not be understood."""
        job = Job(next(self._numbers), action)
        self._fail(job, error)
        self._jobs.append(job)
        self._changed()

    def _step(self, job: Job, progress: Progress) -> None:
        job.said = " ".join(filter(None, (progress.subject, progress.phase.value, progress.detail)))
        self._changed()

    def _run(self, job: Job, task: Task, context: Context) -> None:
        try:
            job.said = task.run(context)
            job.state = JobState.DONE
        except HailboxError as error:
            self._fail(job, error)
        except Exception as error:
            self._fail(job, defect(error))
        self._changed()

    def _fail(self, job: Job, error: HailboxError) -> None:
        job.problem = Problem.of(error)
        job.state = JobState.FAILED
