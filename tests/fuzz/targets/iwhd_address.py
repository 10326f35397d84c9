"""Addresses of the image warehouse: `haild.wire.iwhd.target.parse_target`, and the paths it writes itself."""

from collections.abc import Iterator

from haild.wire.iwhd.target import MAXIMUM_NAME, Target, is_path_segment, parse_target, path_of

TOKENS = (
    b"%2e",
    b"%2F",
    b"../",
    b"_attrs",
    b"_query",
    b"_providers/",
    b"/_primary",
    b"_new",
    b"_metrics",
    b"http://",
    b"%00",
)


def seeds() -> Iterator[bytes]:
    yield from (
        b"/",
        b"/b/k/_attrs",
        b"/_providers/p/_primary",
        b"/_metrics",
        b"http://h:1//b/%C3%A9?x",
        b"/b/..%2f..%2fetc",
    )


def fuzz(data: bytes) -> None:
    target = parse_target(data.decode("utf-8", "surrogateescape"))
    if target is None:
        return
    names = [name for name in (target.bucket, target.key, target.name) if name]
    assert all(is_path_segment(name) and len(name.encode()) <= MAXIMUM_NAME for name in names)
    assert not {".", ".."} & set(names)
    assert parse_target(_path(target)) == target


def _path(target: Target) -> str:
    """The address that `target` came from, as we write it."""
    names = [name for name in (target.bucket, target.key, target.name) if name]
    match target.kind:
        case "root":
            return "/"
        case "health" | "metrics":
            return f"/_{target.kind}"
        case "providers" | "provider":
            return path_of("_providers", *names)
        case "primary":
            return path_of("_providers", *names, "_primary")
        case "query":
            return path_of(*names, "_query")
        case "attributes":
            return path_of(*names, "_attrs")
        case _:
            return path_of(*names)
