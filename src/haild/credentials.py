"""Makes a stack's credentials once, and writes the configuration files that hold them.

Run as a one-shot container on the volume that all daemons of the stack mount read-only:

    python -m haild.credentials --directory DIR [--secret-is-user] [--group REPLICA GID]... [--file PATH TEMPLATE]...

`DIR/credentials.json` is made if it is missing, and kept otherwise. If it is damaged, they are taken from the
configuration files that were written with them. Those that are in none of the files are lost: they are made again,
which is said in `DIR/lost.json`. Every `@NAME@` in a template is replaced by the credential of that name. Files of
earlier runs that are not named any more are removed.

With `--group` a replica's files can be read by that group alone, which only its container has: so each sees its own,
although all mount the volume. That takes the right to give files away.
"""

from __future__ import annotations

import argparse
import hmac
import json
import os
import re
import secrets
import shutil
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from haild.wire.emptying import secret_of

FILE_NAME: Final = "credentials.json"
LOST_NAME: Final = "lost.json"
"""Names of credentials that had to be made again although something was stored with them."""

_ALPHABET: Final = string.ascii_letters + string.digits
_MODE: Final = 0o400
"""Of a file: without groups the daemons run as the user of this program."""
_GROUP_MODE: Final = 0o440
_FOLDER_MODE: Final = 0o750
_ROOT_MODE: Final = 0o711
"""Of the directory: each daemon finds its own folder by name, and none sees which others there are."""
_PLACEHOLDER: Final = re.compile(r"@([A-Z][A-Z_]*)@")


def _random(length: int, alphabet: str = _ALPHABET) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _access_key() -> str:
    # tabled's user names are [A-Za-z0-9_]+ (tabled.md 7); this is the shape of an AWS access key id.
    return "HAIL" + _random(16, string.ascii_uppercase + string.digits)


def generate(*, secret_is_user: bool = False) -> dict[str, str]:
    """New random credentials by name. With `secret_is_user` those of cld and chunkd follow the originals' rule."""
    cld_user, chunk_user = "tabled", f"hail{_random(12)}"
    return {
        "AWS_ACCESS_KEY_ID": _access_key(),
        "AWS_SECRET_ACCESS_KEY": _random(40),
        "PROBE_ACCESS_KEY_ID": _access_key(),
        "PROBE_SECRET_ACCESS_KEY": _random(40),
        "CLD_USER": cld_user,
        "CLD_SECRET": cld_user if secret_is_user else _random(40),
        "CHUNK_USER": chunk_user,
        "CHUNK_SECRET": chunk_user if secret_is_user else _random(40),
        "ROOT_SECRET": _random(43),
    }


NAMES: Final = tuple(generate())
"""What every stack has."""


def load_or_make(
    directory: Path, *, secret_is_user: bool, templates: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The credentials in `directory`; makes what is missing or does not fit the rule asked for.

    templates: of the configuration files by path below `directory`; from what an earlier run wrote with them, the
    credentials are taken where `credentials.json` does not have them.
    """
    fresh = generate(secret_is_user=secret_is_user)
    path = directory / FILE_NAME
    present = _kept(path, fresh)
    if present.keys() < fresh.keys():
        written = _recovered(directory, templates or {})
        present = {name: written[name] for name in fresh if name in written} | present
        # A file that is whole and lacks a name was written by a release that did not know it: nothing is lost.
        gone = not _kept(path, fresh) and _was_used(directory)
        _note_lost(directory, [name for name in fresh if name not in present] if gone else [])
    found = dict(present)
    for service in ("CLD", "CHUNK"):
        user, secret = f"{service}_USER", f"{service}_SECRET"
        # The user stays, whatever its secret: what it has stored belongs to it.
        if secret_is_user:
            present[secret] = present.setdefault(user, fresh[user])
        elif present.get(secret) == present.get(user):
            present.pop(secret, None)
    credentials = fresh | present
    if credentials != found or credentials != _kept(path, fresh):
        _write(path, json.dumps(credentials, indent=1, sort_keys=True) + "\n")
    return credentials


def _kept(path: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """What the file has of the wanted names; nothing where it is missing or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="ascii"))
        return {name: kept[name] for name in wanted if isinstance(kept.get(name), str) and kept[name]}
    except (OSError, ValueError, AttributeError):
        return {}


def _was_used(directory: Path) -> bool:
    """Whether an earlier run has written files here: then what is missing is lost, not new."""
    return any(entry.is_dir() for entry in directory.iterdir()) if directory.is_dir() else False


def _note_lost(directory: Path, names: list[str]) -> None:
    """Keep the names of credentials that had to be made again, for the driver to show; none: forget earlier ones."""
    path = directory / LOST_NAME
    if names:
        _write(path, json.dumps(names) + "\n")
        print(f"haild.credentials: LOST, made again: {', '.join(names)}", file=sys.stderr)  # noqa: T201
    else:
        path.unlink(missing_ok=True)


def _recovered(directory: Path, templates: Mapping[str, str]) -> dict[str, str]:
    """The credentials that stand in the files of earlier runs, found by the templates that the files were made of.

    A file of the same name in the folder of an earlier configuration counts, too: it is compared line by line, as the
    template may have changed since.
    """
    found: dict[str, str] = {}
    for name, template in templates.items():
        exact = directory / name
        others = sorted(directory.glob(f"*/{exact.name}"))
        for file in [exact, *(other for other in others if other != exact)]:
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            found = _values(template, text) | found
    return found


def _values(template: str, text: str) -> dict[str, str]:
    """The credentials in `text`, each line of which was made of the line of the template at the same place."""
    wanted = [line for line in template.splitlines() if _PLACEHOLDER.search(line)]
    lines = text.splitlines()
    found: dict[str, str] = {}
    for line in wanted:
        pattern = _pattern(line)
        for number, candidate in enumerate(lines):
            match = pattern.fullmatch(candidate)
            if match:
                found = match.groupdict() | found
                del lines[: number + 1]
                break
    return found


def _pattern(line: str) -> re.Pattern[str]:
    """What a line of a template becomes, with the credentials as named groups."""
    parts: list[str] = []
    position = 0
    seen: set[str] = set()
    for match in _PLACEHOLDER.finditer(line):
        name = match[1]
        parts.append(re.escape(line[position : match.start()]))
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>[A-Za-z0-9]+)")
        seen.add(name)
        position = match.end()
    return re.compile("".join(parts) + re.escape(line[position:]))


def iwhd_token(credentials: Mapping[str, str]) -> str:
    """The token for an iwhd that asks for a login (`IWHD_TOKEN`): derived, so that older stacks have one too."""
    secret = credentials["AWS_SECRET_ACCESS_KEY"].encode()
    return hmac.new(secret, b"iwhd token", "sha256").hexdigest()[:40]


_DERIVED: Final[Mapping[str, Callable[[Mapping[str, str]], str]]] = {
    "IWHD_TOKEN": iwhd_token,
    "EMPTYING_SECRET": lambda credentials: secret_of(credentials["ROOT_SECRET"]),
}


def derived(credentials: Mapping[str, str]) -> dict[str, str]:
    """The credentials, and those that are made of them: the token of iwhd, the secret of `haild.wire.emptying`."""
    return {**credentials, **{name: make(credentials) for name, make in _DERIVED.items()}}


def fill(template: str, credentials: Mapping[str, str]) -> str:
    """`template` with the credentials in place of their names. Raises KeyError for an unknown name."""

    def value(match: re.Match[str]) -> str:
        make = _DERIVED.get(match[1])
        return make(credentials) if make else credentials[match[1]]

    return _PLACEHOLDER.sub(value, template)


def _write(path: Path, text: str, group: int | None = None) -> None:
    """Write durably and at once: a reader sees the old file or the new one. `group`: the one that may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if group is not None:
        os.chown(path.parent, os.geteuid(), group)
        path.parent.chmod(_FOLDER_MODE)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        if group is not None:
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, _GROUP_MODE)
        os.fsync(stream.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(
    directory: Path,
    templates: Mapping[str, str],
    credentials: Mapping[str, str],
    groups: Mapping[str, int] | None = None,
) -> None:
    """Write all templates, filled, below `directory`; remove the folders of configurations that are not named.

    groups: by replica, whose folders begin with its name: the group that may read its files; all others may not.
    """
    for name, template in templates.items():
        replica = name.split("/", 1)[0].rpartition("-")[0]
        _write(directory / name, fill(template, credentials), (groups or {}).get(replica))
    if groups:
        _keep_for_us(directory)
    kept = {name.split("/", 1)[0] for name in templates}
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name not in kept:
            shutil.rmtree(entry)


def _keep_for_us(directory: Path) -> None:
    """Take what is common to all replicas from the user of the daemons, whom an earlier release gave it to."""
    for path in (directory, *(entry for entry in directory.iterdir() if entry.is_file())):
        os.chown(path, os.geteuid(), os.getegid())
        path.chmod(_ROOT_MODE if path == directory else _MODE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if the directory cannot be written."""
    parser = argparse.ArgumentParser(
        prog="haild.credentials", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--secret-is-user", action="store_true")
    parser.add_argument("--file", nargs=2, action="append", default=[], metavar=("PATH", "TEMPLATE"))
    parser.add_argument("--group", nargs=2, action="append", default=[], metavar=("REPLICA", "GID"))
    options = parser.parse_args(arguments)
    groups = {replica: int(group) for replica, group in options.group}
    templates = dict(options.file)
    try:
        credentials = load_or_make(options.directory, secret_is_user=options.secret_is_user, templates=templates)
        write_files(options.directory, templates, credentials, groups)
    except OSError as error:
        print(f"haild.credentials: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
