"""The keys of bodies, and the keys that keep them: root key, master keys, keys of KMS, keys of customers.

    root key (a file of the configuration)
      wraps master keys (in the metadata, numbered; the newest is used)
        from which the keys of SSE-S3 and of each KMS key id are derived (HMAC-SHA-256)
          wrap the key of each body (in the body's row)

A customer's key (SSE-C) wraps the keys of its bodies itself; it is never stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from haild.tabled.encryption.frames import KEY

CUSTOMER: Final = "c"
"""What names the wrapping key of a body that a customer's key protects."""
_NONCE: Final = 12


class WrongKeyError(Exception):
    """A key does not open what it should open, or the key that would is not there."""


def _seal(key: bytes, content: bytes, about: str) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, about.encode())).decode("ascii")


def _open(key: bytes, text: str, about: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        sealed = base64.b64decode(text, validate=True)
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
    except (InvalidTag, ValueError, binascii.Error):
        raise WrongKeyError(f"the key does not open {about}") from None


def new_master(root: bytes, number: int) -> str:
    """A new random master key with this number, wrapped by the root key."""
    return _seal(root, secrets.token_bytes(KEY), f"master key {number}")


@dataclass(frozen=True)
class Keyring:
    """The master keys by number. Wraps and unwraps the keys of bodies."""

    masters: Mapping[int, bytes]

    @classmethod
    def unwrap(cls, root: bytes, wrapped: Mapping[int, str]) -> Keyring:
        """The master keys that `new_master` made. Raises WrongKeyError for another root key."""
        return cls({number: _open(root, text, f"master key {number}") for number, text in wrapped.items()})

    def new_key(self, body: int, kms: str = "") -> tuple[bytes, str]:
        """A key for a body, and the text that keeps it; `kms`: the KMS key that wraps it, empty for SSE-S3."""
        key = secrets.token_bytes(KEY)
        name = f"{max(self.masters)}/{quote(kms, safe='')}"
        return key, f"{name}:{_seal(self._wrapping(name), key, _about(name, body))}"

    def key_of(self, body: int, cipher: str) -> bytes:
        """The key that `new_key` kept. Raises WrongKeyError."""
        name, _, text = cipher.partition(":")
        return _open(self._wrapping(name), text, _about(name, body))

    def rewrap(self, body: int, cipher: str) -> str:
        """The text of a body's key under the newest master key; as it is for a customer's. Raises WrongKeyError."""
        name, _, _ = cipher.partition(":")
        if name == CUSTOMER or name.startswith(f"{max(self.masters)}/"):
            return cipher
        name, key = f"{max(self.masters)}/{name.partition('/')[2]}", self.key_of(body, cipher)
        return f"{name}:{_seal(self._wrapping(name), key, _about(name, body))}"

    def token(self, content: bytes) -> str:
        """Content that only this server can read and make: a session token."""
        name = str(max(self.masters))
        return f"{name}.{_seal(self._derived(name, 'token'), content, 'token').replace('+', '-').replace('/', '_')}"

    def of_token(self, text: str) -> bytes:
        """What `token` was given. Raises WrongKeyError."""
        name, _, sealed = text.partition(".")
        return _open(self._derived(name, "token"), sealed.replace("-", "+").replace("_", "/"), "token")

    def _wrapping(self, name: str) -> bytes:
        number, _, kms = name.partition("/")
        return self._derived(number, f"kms {unquote(kms)}" if kms else "s3")

    def _derived(self, number: str, use: str) -> bytes:
        master = self.masters.get(int(number)) if number.isascii() and number.isdecimal() else None
        if master is None:
            raise WrongKeyError(f"there is no master key {number}")
        return hmac.digest(master, use.encode(), hashlib.sha256)


def _about(name: str, body: int) -> str:
    """What a wrapped key is bound to: it opens nothing in another body's row."""
    return f"key of body {body:016x} under {name}"


def new_customer_key(customer: bytes, body: int) -> tuple[bytes, str]:
    """A key for a body, and the text that keeps it under a customer's key."""
    key = secrets.token_bytes(KEY)
    return key, f"{CUSTOMER}:{_seal(customer, key, _about(CUSTOMER, body))}"


def customer_key_of(customer: bytes, body: int, cipher: str) -> bytes:
    """The key that `new_customer_key` kept. Raises WrongKeyError."""
    return _open(customer, cipher.partition(":")[2], _about(CUSTOMER, body))


def customer_check(customer: bytes, salt: str = "") -> str:
    """A salted text by which a customer's key is known again; `salt`: the text to compare it with."""
    salt = salt.partition("$")[0] or secrets.token_hex(16)
    return f"{salt}${hmac.new(customer, salt.encode(), hashlib.sha256).hexdigest()}"


def is_customer(customer: bytes, check: str) -> bool:
    """Whether this is the key that `customer_check` was made of."""
    return hmac.compare_digest(customer_check(customer, check), check)
