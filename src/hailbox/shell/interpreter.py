"""What the interpreters have in common: a table of commands, how a line is taken apart, and what can go wrong."""

from __future__ import annotations

import abc
import shlex
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

Tell = Callable[[str], None]
"""Takes a line for the user that is no output of a command, at any time, in the event loop's thread."""


Output = bytes | AsyncGenerator[bytes, None] | None
"""What a command prints: at once, in pieces, or nothing."""


class CommandError(Exception):
    """A command failed; its text is one line. `code` is the protocol's name for it, or None."""

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(f"{code}: {reason}" if code else reason)
        self.code = code


class GoneError(CommandError):
    """The service does not answer, or the session with it is lost: nothing further can work on it."""


@dataclass(frozen=True)
class Command:
    """One command: what runs it, its arguments as help shows them, and what it does."""

    run: Callable[..., Awaitable[Output]]
    arguments: str
    summary: str

    @property
    def limits(self) -> tuple[int, int]:
        """How many arguments there must and may be; `[X]` is one that may be left out."""
        words = self.arguments.split()
        return sum(not word.startswith("[") for word in words), len(words)


class Interpreter(abc.ABC):
    """Runs commands against one service. Use it in one event loop, one command at a time."""

    def __init__(self) -> None:
        self.lost = False
        """Whether the service was lost at some time."""

    @property
    @abc.abstractmethod
    def prompt(self) -> str:
        """What stands before the next command."""

    @property
    @abc.abstractmethod
    def commands(self) -> Mapping[str, Command]:
        """All commands by name, but `help` and `quit`."""

    @abc.abstractmethod
    async def open(self) -> None:
        """Connect. Raises GoneError, and CommandError if the service refuses us."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Leave: locks are free when this returns. Never raises."""

    @abc.abstractmethod
    def translate(self, error: Exception) -> CommandError | None:
        """What an exception of the client means; None if it is none of the client's."""

    async def run(self, words: list[str]) -> AsyncGenerator[bytes, None]:
        """Run one command; yields its output in pieces. Raises CommandError."""
        name, *arguments = words
        if name == "help":
            yield self._help().encode()
            return
        command = self.commands.get(name)
        if command is None:
            raise CommandError("no such command; help lists them")
        least, most = command.limits
        if not least <= len(arguments) <= most:
            raise CommandError(f"usage: {name} {command.arguments}".rstrip())
        try:
            output = await command.run(*arguments)
            if isinstance(output, AsyncGenerator):
                async with aclosing(output) as pieces:
                    async for piece in pieces:
                        yield piece
            elif output:
                yield output
        except CommandError as error:
            self.lost |= isinstance(error, GoneError)
            raise
        except Exception as error:
            translated = self.translate(error)
            if translated is None:
                raise
            self.lost |= isinstance(translated, GoneError)
            raise translated from error

    def _help(self) -> str:
        rows = [(f"{name} {command.arguments}".rstrip(), command.summary) for name, command in self.commands.items()]
        rows += [("help", "this"), ("quit", "leave; so do Ctrl-D and Ctrl-C")]
        width = max(len(usage) for usage, _ in rows)
        return "".join(f"{usage:<{width}}  {summary}\n" for usage, summary in rows)


def split(line: str) -> list[str]:
    """The words of a line, quoted as in a shell; none for an empty line or a comment. Raises CommandError."""
    if line.lstrip().startswith("#"):
        return []
    try:
        return shlex.split(line)
    except ValueError as error:
        raise CommandError(str(error)[:1].lower() + str(error)[1:]) from error
