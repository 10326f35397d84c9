"""The keyring of a running tabled: its root key, and the master keys that the metadata keep."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final, Protocol

from haild.tabled.encryption import keyring
from haild.tabled.encryption.keyring import Keyring, WrongKeyError
from haild.tabled.encryption.spec import CUSTOMER, Wanted
from haild.tabled.metadata.records import StoredBody
from haild.tabled.s3 import sessions
from haild.tabled.s3.authentication import invalid_token
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.sessions import Session

ROOT_FILE: Final = "rootkey"
"""In the metadata's directory, where the configuration names no root key."""


class MasterKeys(Protocol):
    """Where the wrapped master keys are kept."""

    async def master_keys(self) -> dict[int, str]:
        """By number."""
        ...

    async def add_master_key(self, number: int, wrapped: str) -> None:
        """Keep one more, unless there is one with its number."""
        ...


def root_key(configured: str, directory: Path) -> bytes:
    """The root key that a configuration says, or that is in a file of the metadata's directory; made if missing.

    Raises OSError.
    """
    text = configured or _read_or_make(directory / ROOT_FILE)
    return hashlib.sha256(f"hailbox root key {text}".encode()).digest()


def _read_or_make(path: Path) -> str:
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # never replaces the key that another process has just made
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return path.read_text(encoding="ascii").strip()


class Keys:
    """Gives the keys of bodies. Reads the root key when the first one is asked for."""

    def __init__(self, configured: str, directory: Path, masters: MasterKeys) -> None:
        """`configured`: the configuration's root key, may be empty; `directory`: that of the metadata."""
        self._configured = configured
        self._directory = directory
        self._masters = masters
        self._known: dict[int, str] = {}
        self._keyring = Keyring({})

    async def keyring(self) -> Keyring:
        """The master keys as they are now: `tdbadm` may have made a new one. Raises S3Error (InternalError)."""
        wrapped = await self._masters.master_keys()
        if wrapped and wrapped == self._known:
            return self._keyring
        root = root_key(self._configured, self._directory)
        if not wrapped:
            await self._masters.add_master_key(1, keyring.new_master(root, 1))
            wrapped = await self._masters.master_keys()
        try:
            self._keyring = Keyring.unwrap(root, wrapped)
        except WrongKeyError as error:
            raise S3Error("InternalError", f"The root key is not the one of these metadata: {error}.") from None
        self._known = wrapped
        return self._keyring

    async def session(self, token: str) -> Session:
        """What a session token holds. Raises InvalidToken."""
        try:
            return sessions.from_bytes((await self.keyring()).of_token(token))
        except (WrongKeyError, ValueError, TypeError):
            raise invalid_token() from None

    async def new_key(self, body: int, wanted: Wanted) -> tuple[bytes, str]:
        """A key for a new body, and the text that keeps it in the body's row."""
        if wanted.encryption["algorithm"] == CUSTOMER:
            assert wanted.customer is not None  # noqa: S101 - spec.wanted and spec.part_key see to that
            return keyring.new_customer_key(wanted.customer, body)
        return (await self.keyring()).new_key(body, wanted.encryption.get("key", ""))

    async def key_of(self, stored: StoredBody, customer: bytes | None) -> bytes:
        """The key of an encrypted body. Raises S3Error."""
        try:
            if stored.cipher.startswith(f"{keyring.CUSTOMER}:"):
                return keyring.customer_key_of(customer or b"", stored.body, stored.cipher)
            return (await self.keyring()).key_of(stored.body, stored.cipher)
        except (WrongKeyError, ValueError):
            raise S3Error("InternalError", "The key of this object cannot be unwrapped.") from None
