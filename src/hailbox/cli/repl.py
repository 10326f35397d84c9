"""A conversation with a service: one command, a script from standard input, or a person at a terminal."""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hailbox.cli import interruption, output
from hailbox.cli.command import CommandOutput
from hailbox.cli.output import Invocation
from hailbox.model.errors import CommandFailedError, InterruptionError, NotWorkingError
from hailbox.shell.background import Background
from hailbox.shell.interpreter import CommandError, GoneError, Interpreter, Tell, split

QUIT: Final = ("quit", "exit")


@dataclass
class CommandRun:
    """One command of a script: its output as text, and why it failed, or None."""

    command: str
    output: str
    error: str | None = None


@dataclass
class Transcript:
    """What `--json` shows of a conversation."""

    replica: str
    commands: list[CommandRun] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """What the shell said unasked, such as that the session is lost."""


class Conversation:
    """Takes commands from where they come and runs them by an interpreter."""

    def __init__(self, invocation: Invocation, service: str, replica: str) -> None:
        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._invocation = invocation
        self._service = service
        self._transcript = Transcript(replica)
        self._background = Background()
        self._prompt = ""
        """What the user is being asked with, if so."""

    def tell(self, text: str) -> None:
        """Say something unasked; called from any thread."""
        self._transcript.notices.append(text)
        if self._invocation.json:
            return
        if self._prompt and threading.current_thread() is not threading.main_thread():
            import readline  # here, as scripts have no use for it

            # In place of the line that is being typed, which comes again below it.
            sys.stdout.write(f"\r\x1b[K{text}\n{self._prompt}{readline.get_line_buffer()}")
            sys.stdout.flush()
        else:
            _complain(text)

    def hold(
        self, open_interpreter: Callable[[Tell], Interpreter], words: list[str] | None, *, stop_on_error: bool
    ) -> CommandOutput:
        """Run `words`, or all of standard input. Raises CommandFailedError, NotWorkingError, InterruptionError."""
        interruption.raise_instead()
        try:
            interpreter = open_interpreter(self.tell)
            with self._background, self._opened(interpreter):
                if words:
                    self._one(interpreter, words)
                elif self.interactive:
                    self._person(interpreter)
                else:
                    return self._script(interpreter, stop_on_error)
        except KeyboardInterrupt as error:
            raise InterruptionError(
                "shell was interrupted; it has given up its locks, and commands that were done stay done",
                "run it again, if need be",
            ) from error
        return CommandOutput(self._transcript, None)

    @contextlib.contextmanager
    def _opened(self, interpreter: Interpreter) -> Iterator[None]:
        replica = self._transcript.replica
        try:
            self._background.run(interpreter.open())
        except GoneError as error:
            raise self._gone(error) from error
        except CommandError as error:
            raise CommandFailedError(f"{replica} refused: {error}", self._where_to_look()) from error
        try:
            yield
        finally:
            interruption.ignore()
            self._background.run(interpreter.close())

    def _gone(self, error: GoneError) -> NotWorkingError:
        return NotWorkingError(f"{self._transcript.replica} cannot be used: {error}", self._where_to_look())

    def _where_to_look(self) -> str:
        make = "; --create makes a missing table" if self._service == "chunkd" else ""
        return f"see how it is with: hailbox --stack {self._invocation.stack} status{make}"

    def _perform(self, interpreter: Interpreter, words: list[str]) -> None:
        """Run one command and print, or keep, what it yields. Raises CommandError."""
        kept = bytearray()

        def take(piece: bytes) -> None:
            if self._invocation.json:
                kept.extend(piece)
            else:
                output.write_bytes(piece)
                kept[:] = piece[-1:]

        ran = CommandRun(shlex.join(words), "")
        self._transcript.commands.append(ran)
        try:
            self._background.run(_each(interpreter.run(words), take))
        except CommandError as error:
            ran.error = str(error)
            raise
        finally:
            if self._invocation.json:
                ran.output = kept.decode("utf-8", "backslashreplace")
            elif self.interactive and kept and kept != b"\n":
                output.write("")

    def _one(self, interpreter: Interpreter, words: list[str]) -> None:
        try:
            self._perform(interpreter, words)
        except GoneError as error:
            raise self._gone(error) from error
        except CommandError as error:
            raise CommandFailedError(
                f"{shlex.join(words)}: {error}", f"list the commands with: hailbox shell {self._service} help"
            ) from error

    def _script(self, interpreter: Interpreter, stop_on_error: bool) -> CommandOutput:
        failed: list[str] = []
        lost = False
        for number, line in enumerate(sys.stdin, 1):
            try:
                words = split(line)
                if words and words[0] in QUIT:
                    break
                if words:
                    self._perform(interpreter, words)
            except CommandError as error:
                failed.append(f"line {number}: {line.strip()}: {error}")
                if not self._invocation.json:
                    _complain(failed[-1])
                lost = isinstance(error, GoneError)
                if lost or stop_on_error:
                    break
        return CommandOutput(
            self._transcript, None, error=self._verdict(failed, lost or interpreter.lost, stop_on_error)
        )

    def _verdict(self, failed: list[str], lost: bool, stopped: bool) -> CommandFailedError | None:
        if not failed and not lost:
            return None
        replica, total = self._transcript.replica, len(self._transcript.commands)
        if lost:
            return CommandFailedError(
                f"{replica} was lost while the script ran, after {total} of its commands", self._where_to_look()
            )
        rest = "; the rest was not run" if stopped else ""
        return CommandFailedError(
            f"{len(failed)} of {total} commands failed{rest}",
            "mend what is named above" if not self._invocation.json else "see `error` of each command",
        )

    def _person(self, interpreter: Interpreter) -> None:
        _complete([*interpreter.commands, "help", "quit"])
        while True:
            try:
                line = self._ask(interpreter.prompt)
            except (EOFError, KeyboardInterrupt):
                output.write("")
                return
            words: list[str] = []
            try:
                words = split(line)
                if words and words[0] in QUIT:
                    return
                if words:
                    self._perform(interpreter, words)
            except CommandError as error:
                _complain(": ".join([*words[:1], str(error)]))
            except KeyboardInterrupt:
                _complain("interrupted")

    def _ask(self, prompt: str) -> str:
        self._prompt = prompt
        try:
            return input(prompt)
        finally:
            self._prompt = ""


async def _each(pieces: AsyncGenerator[bytes, None], take: Callable[[bytes], None]) -> None:
    import asyncio  # here, as everything of the command line starts without it

    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            # In a thread: who reads our output may be slow, and the session must go on.
            await asyncio.to_thread(take, piece)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"hailbox: {text}", file=sys.stderr, flush=True)  # noqa: T201


def _complete(names: list[str]) -> None:
    """Give the terminal line editing, and completion of the first word."""
    import readline

    def candidate(text: str, state: int) -> str | None:
        first = not readline.get_line_buffer()[: readline.get_begidx()].strip()
        found = [f"{name} " for name in names if name.startswith(text)] if first else []
        return found[state] if state < len(found) else None

    readline.set_completer_delims(" ")
    readline.set_completer(candidate)
    readline.parse_and_bind("tab: complete")
