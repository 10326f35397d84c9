"""Names that clients and servers get wrong, and a bucket of thousands of keys."""

import random

DECOMPOSED = "a\u0308"
"""An ä that is an a with dots; to a server it is another name."""

ODD = (
    "a//b",
    "a/b",
    "ä",
    DECOMPOSED,
    "percent%2Fencoded",
    "percent/encoded",
    "100%",
    "one+two",
    "one two",
    "question?mark=1&other#fragment",
    "quotes'\"<&>",
    "trailing/",
    "trailing",
    "..dots/...",
    "日本語/キー",
    "\U0001f600",
    "~tilde!*'()",
    "back\\slash",
    "colon:semi;comma,equal=at@",
)
"""Keys that are distinct only if nothing is decoded, normalised or collapsed on the way."""

FOR_LIBRARIES = ("dots/../up", "./here", "..", "//", " blanks ", "line\nbreak", "tab\t", "\x7f", "&amp;", "%zz")
"""Keys that programs for files cannot have, because a path means something else or a listing has them in lines."""

AS_FILES = tuple(key for key in ODD if "//" not in key and not key.endswith("/"))
"""Those that a file system can hold side by side."""

PRESIGNED = "one+two %2F ä?&=#"
"""A key with all that a URL has to hide."""

LONGEST = "/".join(["k" * 204] * 4 + ["l" * 204])
"""1,024 bytes, in pieces that a file system takes."""

THOUSANDS = tuple(f"many/{number % 10}/object-{number:05d}" for number in range(2_300))
"""More than two pages of a listing; they are empty, the others are not."""


def body_of(key: str) -> bytes:
    """What the object of a key in the bucket of thousands holds: nothing, or something of its own."""
    return b"" if key.startswith("many/") else b"body of " + key.encode()


def noise(length: int, seed: int = 0) -> bytes:
    """Bytes that no compression or deduplication helps with, the same for the same arguments."""
    return random.Random(seed).randbytes(length)
