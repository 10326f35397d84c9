"""The interface to the metadata database. SQLite implements it (`sqlite.py`).

The functions of `records`, `journal`, `work` and `evaluation` are given a `Connection` and keep to SQL that more
databases than SQLite know: `?` or `:name` for values, `ON CONFLICT` and `RETURNING`, no `rowid` and no `PRAGMA`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")


class DatabaseError(Exception):
    """The database cannot be read or written: full or broken disk, or it is closed."""


class Cursor(Protocol):
    """The result of a statement; it is valid until the function that ran the statement returns."""

    @property
    def rowcount(self) -> int:
        """How many rows an UPDATE, DELETE or INSERT changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, a tuple; None at the end."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""
        ...


class Connection(Protocol):
    """A transaction in progress, as the functions given to `Database` see it."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ..., /) -> Cursor:
        """Run a statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """Run a statement once for each of `parameters`."""
        ...


class Database(Protocol):
    """The metadata of one daemon."""

    async def write(self, function: Callable[[Connection], _T]) -> _T:
        """Run `function` in a transaction; returns its result once that is durable.

        What `function` raises undoes its changes and is raised here; DatabaseError where the database fails.
        Cancelling takes effect when the transaction is over, and does not undo it.
        """
        ...

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """Run `function` on one snapshot of everything committed. Raises DatabaseError where the database fails."""
        ...

    async def search(self, function: Callable[[Connection], _T]) -> _T:
        """As read(), for what may take long: one at a time, so that reads never wait for it."""
        ...

    async def close(self) -> None:
        """Finish what is waiting, then release the database."""
        ...
