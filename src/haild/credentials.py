"""Makes a stack's credentials once, and writes the configuration files that hold them.

Run as a one-shot container on the volume that all daemons of the stack mount read-only:

    python -m haild.credentials --directory DIR [--secret-is-user] [--file PATH TEMPLATE]...

`DIR/credentials.json` is made if it is missing or damaged, and kept otherwise. Every `@NAME@` in a template is
replaced by the credential of that name. Files of earlier runs that are not named any more are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE_NAME = "credentials.json"

_ALPHABET = string.ascii_letters + string.digits
_PLACEHOLDER = re.compile(r"@([A-Z][A-Z_]*)@")


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
    }


def load_or_make(directory: Path, *, secret_is_user: bool) -> dict[str, str]:
    """The credentials in `directory`; makes what is missing or does not fit the rule asked for."""
    fresh = generate(secret_is_user=secret_is_user)
    path = directory / FILE_NAME
    try:
        kept = json.loads(path.read_text(encoding="ascii"))
        present = {name: kept[name] for name in fresh if isinstance(kept.get(name), str) and kept[name]}
    except (OSError, ValueError, AttributeError):
        present = {}
    found = dict(present)
    for service in ("CLD", "CHUNK"):
        user, secret = f"{service}_USER", f"{service}_SECRET"
        # The user stays, whatever its secret: what it has stored belongs to it.
        if secret_is_user:
            present[secret] = present.setdefault(user, fresh[user])
        elif present.get(secret) == present.get(user):
            present.pop(secret, None)
    credentials = fresh | present
    if credentials != found or not path.exists():
        _write(path, json.dumps(credentials, indent=1, sort_keys=True) + "\n")
    return credentials


def fill(template: str, credentials: Mapping[str, str]) -> str:
    """`template` with the credentials in place of their names. Raises KeyError for an unknown name."""
    return _PLACEHOLDER.sub(lambda match: credentials[match[1]], template)


def _write(path: Path, text: str) -> None:
    """Write durably and at once: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(directory: Path, templates: Mapping[str, str], credentials: Mapping[str, str]) -> None:
    """Write all templates, filled, below `directory`; remove the folders of configurations that are not named."""
    for name, template in templates.items():
        _write(directory / name, fill(template, credentials))
    kept = {name.split("/", 1)[0] for name in templates}
    for entry in directory.iterdir():
        if entry.is_dir() and entry.name not in kept:
            shutil.rmtree(entry)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if the directory cannot be written."""
    parser = argparse.ArgumentParser(
        prog="haild.credentials", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--secret-is-user", action="store_true")
    parser.add_argument("--file", nargs=2, action="append", default=[], metavar=("PATH", "TEMPLATE"))
    options = parser.parse_args(arguments)
    try:
        credentials = load_or_make(options.directory, secret_is_user=options.secret_is_user)
        write_files(options.directory, dict(options.file), credentials)
    except OSError as error:
        print(f"haild.credentials: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
