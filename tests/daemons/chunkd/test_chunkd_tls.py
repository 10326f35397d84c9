"""START_TLS (chunkd.md section 6.2): with today's TLS, and with TLS 1.0 where it has been allowed."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from pathlib import Path

import pytest

from haild.client.chunk import Connection
from haild.wire.chunk import messages as wire
from haild.wire.chunk.messages import Operation
from support.chunkd_daemon import FEW_DESCRIPTORS, Daemon, eventually, receive, running

# Made for this test and used nowhere else.
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWaGLCaZoJ2owDb5J
WdRZYWXZhvSssldMGa9jbWpA8pmhRANCAARJlkjTkIahA7bDO0S3LP17M98M4NkH
C/pECqpABQkHelBX3zNK0m2tV8wqXppj0PWmUakSxHzfWstht3/fRVwe
-----END PRIVATE KEY-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBgzCCASmgAwIBAgIURwbfXMPRjsMWGkMnudEjR6clVEUwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLY2h1bmtkLnRlc3QwIBcNMjYxMTIyMTAxNTMxWhgPMjEyNjEw
MjkxMDE1MzFaMBYxFDASBgNVBAMMC2NodW5rZC50ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAESZZI05CGoQO2wztEtyz9ezPfDODZBwv6RAqqQAUJB3pQV98z
StJtrVfMKl6aY9D1plGpEsR831rLYbd/30VcHqNTMFEwHQYDVR0OBBYEFGbS/6nt
Q4venstNThiamNAqcqYKMB8GA1UdIwQYMBaAFGbS/6ntQ4venstNThiamNAqcqYK
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhANDid2FeOQft/vN7
i670sfjCJjJ42GGEqPHNOXyEX7mrAiBIGN2cDfksTeQuzd34wPV4OIUomJzmcMAj
hs7ACXUW1g==
-----END CERTIFICATE-----
"""

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
TLS_1_0 = "<MinimumVersion>1.0</MinimumVersion>"


def _extra(directory: Path, minimum: str = "") -> str:
    (directory / "key.pem").write_text(KEY)
    (directory / "cert.pem").write_text(CERTIFICATE)
    return (
        f"<SSL><PrivateKey>{directory / 'key.pem'}</PrivateKey><Cert>{directory / 'cert.pem'}</Cert>{minimum}</SSL>"
    )


def _context(*, tls_1_0: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls_1_0:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1
    return context


async def _round_trip(daemon: Daemon, context: ssl.SSLContext) -> None:
    connection = await Connection.open(
        "127.0.0.1", daemon.port, user="u", secret=b"u", table=b"t", create=True, tls=context
    )
    for size in (10, 32_769, 5 << 20):
        content = os.urandom(size)
        key = b"%d" % size
        await connection.put(key, size, content)
        assert await (await connection.get(key)).read_all() == content
        async with await connection.get(key) as reader:  # what is encrypted is not for others to read
            assert b"".join([piece async for piece in reader.pieces(1) if isinstance(piece, bytes)]) == content
        assert (await connection.get_part(key, 3, 5)).data == content[3:8]
        await connection.delete(key)
    assert await connection.listing() == []
    await connection.close()


async def test_everything_works_inside_tls(tmp_path: Path) -> None:
    with running(tmp_path / "chunkd", _extra(tmp_path)) as daemon:
        await _round_trip(daemon, _context())
        with pytest.raises(OSError):
            await _round_trip(daemon, _context(tls_1_0=True))
        _handshake_in_one_piece(daemon)
        _only_the_first_request(daemon)


async def test_tls_1_0_where_it_is_allowed(tmp_path: Path) -> None:
    with running(tmp_path / "chunkd", _extra(tmp_path, TLS_1_0)) as daemon:
        await _round_trip(daemon, _context(tls_1_0=True))
        await _round_trip(daemon, _context())


def _start_tls() -> bytes:
    return wire.encode_request(Operation.START_TLS, nonce=bytes(4), secret=None)


def _handshake_in_one_piece(daemon: Daemon) -> None:
    """libhail sends START_TLS and the first bytes of the handshake without waiting in between."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _context().wrap_bio(incoming, outgoing)
    with daemon.connect() as sock:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        sock.sendall(_start_tls() + outgoing.read())
        finished = False
        while not finished:
            incoming.write(sock.recv(65536))
            try:
                tls.do_handshake()
                finished = True
            except ssl.SSLWantReadError:
                pass
            sock.sendall(outgoing.read())
        tls.write(wire.encode_request(Operation.LOGIN, nonce=bytes(4), secret=b"u", key=b"u\0"))
        sock.sendall(outgoing.read())
        answer = b""
        while len(answer) < wire.RESPONSE_SIZE:
            try:
                answer += tls.read(wire.RESPONSE_SIZE)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        assert answer[8] == 0


def _only_the_first_request(daemon: Daemon) -> None:
    with daemon.connect() as sock:
        sock.sendall(_start_tls() + b"GET / HTTP/1.1\r\n" * 20)
        assert len(receive(sock, 100)) < 48, "a response in clear to something that is no handshake"


def test_without_a_certificate_the_connection_is_closed(tmp_path: Path) -> None:
    with running(tmp_path) as daemon, daemon.connect() as sock:
        sock.sendall(_start_tls())
        assert receive(sock, 1) == b""


def test_handshakes_that_fail_leave_nothing(tmp_path: Path) -> None:
    """Else the connections that this daemon has room for, 32, would soon be used up."""
    daemon = Daemon(tmp_path / "chunkd", _extra(tmp_path), launcher=("-c", FEW_DESCRIPTORS))
    daemon.start()
    try:
        hello = _first_flight()
        for number in range(120):
            with daemon.connect() as sock:
                sock.sendall(_start_tls() + (b"", b"no handshake" * 10, hello)[number % 3])
                if number % 3 == 2:
                    # In the midst of the handshake: closing resets the connection.
                    assert sock.recv(1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: _logs_in(daemon), "there is room again")
        assert daemon.log.read_text() == ""
    finally:
        daemon.kill()


def _first_flight() -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        _context().wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


def _logs_in(daemon: Daemon) -> bool:
    with contextlib.suppress(ConnectionError), daemon.connect() as sock:
        sock.sendall(wire.encode_request(Operation.LOGIN, nonce=bytes(4), secret=b"u", key=b"u"))
        return receive(sock, 48)[8:9] == b"\0"
    return False
