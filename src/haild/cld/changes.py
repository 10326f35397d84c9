"""What has changed and is not stored yet: rows by table and key, the last change of each."""

from __future__ import annotations

from enum import Enum
from typing import Any

Row = tuple[Any, ...]


class Table(Enum):
    """A table of the store: its name, its key columns, its other columns."""

    INODES = ("inodes", ("inum",), ("version", "created", "modified", "flags", "path"))
    CONTENTS = ("contents", ("inum",), ("data",))
    SESSIONS = (
        "sessions",
        ("sid",),
        (
            "user",
            "transport",
            "host",
            "port",
            "began",
            "client_sequence",
            "server_sequence",
            "next_handle",
            "answers",
            "lifeline",
        ),
    )
    HANDLES = ("handles", ("sid", "handle"), ("inum", "mode", "events"))
    LOCKS = ("locks", ("number",), ("inum", "sid", "handle", "shared", "held", "since"))

    def __init__(self, label: str, key: tuple[str, ...], columns: tuple[str, ...]) -> None:
        self.label = label
        self.key = key
        self.columns = columns

    # Members are compared by identity only; the default hash would hash the name on every look-up.
    __hash__ = object.__hash__


Rows = dict[tuple[Any, ...], Row | None]


class Changes:
    """A batch of changed rows; None stands for a deleted one. `weight`: bytes of file contents, roughly."""

    __slots__ = ("purge", "tables", "weight")

    def __init__(self) -> None:
        self.tables: dict[Table, Rows] = {table: {} for table in Table}
        self.weight = 0
        self.purge = False
        """Whether no byte of what is deleted may be left on disk."""

    def put(self, table: Table, key: Row, row: Row) -> None:
        self.tables[table][key] = row
        if table is Table.CONTENTS:
            self.weight += len(row[0])

    def delete(self, table: Table, key: Row) -> None:
        self.tables[table][key] = None

    def has(self, table: Table, key: Row) -> bool:
        return key in self.tables[table]

    def take(self) -> Changes:
        """Hand over what has gathered and start empty."""
        taken = Changes()
        taken.tables, self.tables = self.tables, taken.tables
        taken.weight, self.weight = self.weight, 0
        taken.purge, self.purge = self.purge, False
        return taken

    def __bool__(self) -> bool:
        return any(self.tables.values())
