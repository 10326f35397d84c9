"""Forms that are posted to the image warehouse: `haild.wire.iwhd.form`. The first line is the content type."""

from collections.abc import Iterator
from urllib.parse import urlencode

from haild.wire.iwhd import form as iwhdform
from haild.wire.iwhd.target import is_name

URLENCODED = "application/x-www-form-urlencoded"
TOKENS = (
    URLENCODED.encode() + b"\n",
    b"multipart/form-data; boundary=X\n",
    b'Content-Disposition: form-data; name="a"\r\n\r\n',
    b"\r\n--X\r\n",
    b"\r\n--X--",
    b'filename="f"',
    b"%00",
    b"&",
)


def seeds() -> Iterator[bytes]:
    yield URLENCODED.encode() + b"; charset=utf-8\n_key=k&color=a+b%20c&color=d&=&x"
    part = '--X\r\nContent-Disposition: form-data; name="{}"\r\nContent-Type: text/plain\r\n\r\n{}\r\n'
    body = part.format("_key", "k") + part.format("é", "\0x") + "--X--\r\n"
    yield b'multipart/form-data; boundary="X"\n' + body.encode()


def fuzz(data: bytes) -> None:
    content_type, _, body = data.partition(b"\n")
    try:
        form = iwhdform.parse(content_type.decode("latin-1"), body)
    except (iwhdform.FormTypeError, iwhdform.FormError):
        return
    assert len(form) <= iwhdform.MAXIMUM_FIELDS
    assert all(is_name(name) and b"\0" not in value and len(value) <= len(body) for name, value in form.items())
    assert iwhdform.parse(URLENCODED, urlencode(form).encode()) == form
    boundary = "a-boundary-of-our-own"
    if form and not any(b"boundary" in value for value in form.values()):
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'.encode()
            + value
            + b"\r\n"
            for name, value in form.items()
        ]
        whole = b"".join(parts) + f"--{boundary}--\r\n".encode()
        assert iwhdform.parse(f"multipart/form-data; boundary={boundary}", whole) == form


def _quoted(name: str) -> str:
    """`name` as the content of a quoted string (RFC 9110, 5.6.4)."""
    return name.replace("\\", "\\\\").replace('"', '\\"')
