"""A proxy in front of the endpoint, with TLS if wanted, that keeps what clients say of their bodies.

Where an https address leads to tabled through a program that ends the TLS, clients choose other forms of upload than
they do on plain HTTP: those that cannot be read on the way need no signature of the content.
"""

import re
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

BLOCK = 1 << 16
_FORM = re.compile(rb"\r\nx-amz-content-sha256: *([A-Z0-9-]+)\r\n", re.IGNORECASE)
_LONGEST = 100


class Recorder:
    """Passes connections on to host and port; `forms` collects the x-amz-content-sha256 values that are words."""

    def __init__(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = address.partition(":")
        self._to = (host, int(port))
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.forms: set[str] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(self._to)
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            self._copy(client, server, record=True)

    def _copy(self, source: socket.socket, sink: socket.socket, *, record: bool = False) -> None:
        seen = b""
        with suppress(OSError):
            while block := source.recv(BLOCK):
                if record:
                    seen = seen[-_LONGEST:] + block
                    self.forms.update(form.decode() for form in _FORM.findall(seen))
                sink.sendall(block)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file; skips the test where openssl is not installed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: it makes the certificate for an https address")
    path = directory / "tls.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(directory / "certificate")]
    subprocess.run(["openssl", "req", *made], check=True, capture_output=True)
    with path.open("ab") as file:
        file.write((directory / "certificate").read_bytes())
    return path


def tls(path: Path) -> ssl.SSLContext:
    """What a server needs to present that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
