"""YAML documents of users: where each value stands, and what is refused before anyone asks what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import yaml

from hailbox.model.errors import ConfigurationError

_Loader: Final[type[Any]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")

Path = tuple[str, ...]
"""Keys from the top of a document to a value."""


@dataclass(frozen=True)
class Place:
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Document:
    """The nodes of one or more YAML documents, later ones over earlier ones."""

    root: yaml.Node | None
    files: tuple[str, ...]

    def place(self, path: Path) -> Place | None:
        """Where the value at that path stands; None if no file has it."""
        node = self.root
        for part in path:
            if not isinstance(node, yaml.MappingNode):
                return None
            node = next((value for name, value in node.value if name.value == part), None)
        return None if node is None else place_of(node)

    def refuse(self, path: Path, problem: str, remedy: str) -> NoReturn:
        """Raise the error for the value at that path."""
        refuse(self.place(path) or Place(self.files[-1], 1, 1), problem, remedy)


def place_of(node: yaml.Node) -> Place:
    """Where a node begins."""
    mark = node.start_mark
    return Place(str(mark.name), mark.line + 1, mark.column + 1)


def refuse(where: Place, problem: str, remedy: str) -> NoReturn:
    """Raise the error for something in a file."""
    raise ConfigurationError(f"{where}: {problem}", remedy)


class Listed(tuple[T, ...]):
    """A list of a file that knows where it stands, for what can only be judged together with other things."""

    place: Place

    def __new__(cls, values: tuple[T, ...], place: Place) -> Listed[T]:
        found = super().__new__(cls, values)
        found.place = place
        return found


class _Stream:
    """A text as a stream with a name."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text

    def read(self, size: int = -1) -> str:
        """The next characters, at most `size`."""
        part, self._text = (self._text, "") if size < 0 else (self._text[:size], self._text[size:])
        return part


def parse(name: str, content: bytes) -> Document:
    """The document in a file of that name. Raises ConfigurationError with the place of what is not YAML."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        refuse(Place(name, line, column), "this is not UTF-8", "save the file as UTF-8")
    try:
        loader = _Loader(_Stream(name, text.removeprefix("\ufeff")))
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name, 1, 1)
        tab = mark is not None and _is_tab(text, mark.line, mark.column)
        problem = "a tab" if tab else error.problem or "this is not YAML"
        if problem.startswith("but ") and error.context:
            problem = f"{error.context}, {problem}"
        refuse(where, problem, "indent with spaces" if tab else "mend that line")
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        refuse(Place(name, line, column), "this character may not stand in YAML", "remove it")
    except RecursionError:
        refuse(Place(name, 1, 1), "this is nested too deeply", "use fewer levels")
    if root is not None:
        _check(root, ())
    return Document(root, (name,))


def _is_tab(text: str, line: int, column: int) -> bool:
    lines = text.split("\n")
    return line < len(lines) and "\t" in lines[line][: column + 1]


def _check(node: yaml.Node, above: tuple[int, ...]) -> None:
    """Refuse keys that stand twice, keys that are not words, and values that contain themselves."""
    if id(node) in above or len(above) > 50:
        refuse(place_of(node), "a value contains itself", "write it out, without the alias")
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _check(entry, (*above, id(node)))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, Place] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                refuse(place_of(name), "a key is not a word", "use a word as the key")
            if name.value in seen:
                first = seen[name.value]
                refuse(
                    place_of(name),
                    f"the key {name.value!r} is here twice",
                    f"the first is in line {first.line}; keep one",
                )
            seen[name.value] = place_of(name)
            _check(value, (*above, id(node)))


def over(upper: Document, lower: Document) -> Document:
    """`upper` laid over `lower`: mappings are joined key by key, everything else is replaced."""
    return Document(_over(upper.root, lower.root), (*lower.files, *upper.files))


def is_null(node: yaml.Node | None) -> bool:
    """Whether there is no value."""
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null")


def _over(upper: yaml.Node | None, lower: yaml.Node | None) -> yaml.Node | None:
    if is_null(upper):
        return lower
    if not (isinstance(upper, yaml.MappingNode) and isinstance(lower, yaml.MappingNode)):
        return upper
    above = {name.value: (name, value) for name, value in upper.value}
    joined = [
        (name, _over(above.pop(name.value)[1], value) if name.value in above else value)
        for name, value in lower.value
    ]
    return yaml.MappingNode(upper.tag, [*joined, *above.values()], upper.start_mark, upper.end_mark)
