"""The running chunkd, spoken to in bytes: every operation and every refusal of chunkd.md section 6."""

from __future__ import annotations

import hashlib
import os
import runpy
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.wire.chunk import messages as wire
from haild.wire.chunk.listing import HEAD, TAIL, ListedObject, entry
from haild.wire.chunk.messages import Operation, RequestFlag, Response, ResponseCode, ResponseDecoder, ResponseFlag
from support.chunkd_daemon import Daemon, receive, running

Code = ResponseCode


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("chunkd"), "<Check><User>checker</User></Check>") as started:
        yield started


class Client:
    """A client that counts its nonces and checks that the response carries them."""

    def __init__(self, daemon: Daemon, user: bytes = b"testuser", *, login: bool = True) -> None:
        self.sock = daemon.connect()
        self.secret = user
        self.nonce = 0
        if login:
            assert self.ask(Operation.LOGIN, user + b"\0").code == Code.SUCCESS

    def send(self, operation: int, key: bytes = b"", content: bytes = b"", **fields: int | bytes) -> None:
        self.nonce += 1
        nonce = self.nonce.to_bytes(4, "big")
        request = wire.encode_request(operation, nonce=nonce, secret=self.secret, key=key, **fields)  # type: ignore[arg-type]
        self.sock.sendall(request + content)

    def response(self, operation: int) -> Response:
        decoder = ResponseDecoder()
        decoder.receive(receive(self.sock, wire.RESPONSE_SIZE))
        response = decoder.next_response(operation)
        if response is None:
            decoder.receive(receive(self.sock, 8))
            response = decoder.next_response(operation)
        assert response is not None
        assert response.nonce == self.nonce.to_bytes(4, "big")
        return response

    def ask(self, operation: int, key: bytes = b"", content: bytes = b"", **fields: int | bytes) -> Response:
        self.send(operation, key, content, **fields)
        return self.response(operation)

    def open(self, name: bytes, flags: int = RequestFlag.TABLE_CREATE) -> Response:
        return self.ask(Operation.TABLE_OPEN, name, flags=flags)

    def put(self, key: bytes, content: bytes) -> Response:
        return self.ask(Operation.PUT, key, content, data_length=len(content))

    def get(self, key: bytes) -> bytes:
        response = self.ask(Operation.GET, key)
        assert response.code == Code.SUCCESS
        body = receive(self.sock, response.data_length)
        assert hashlib.sha1(body, usedforsecurity=False).digest() == response.sha1
        return body

    def closed(self) -> bool:
        return self.sock.recv(1) == b""


@pytest.fixture
def client(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client with a table of its own."""
    made = Client(daemon)
    assert made.open(request.node.name.encode()[:1000]).code == Code.SUCCESS
    yield made
    made.sock.close()


def test_the_worked_examples_are_accepted_verbatim(daemon: Daemon) -> None:
    examples = runpy.run_path(str(Path(__file__).parents[2] / "wire" / "chunk_examples.py"))
    login, table_open, put, get, get_part, cp, delete, listing, sha1 = (
        examples[name] for name in ("LOGIN", "TABLE_OPEN", "PUT", "GET", "GET_PART", "CP", "DEL", "LIST", "SHA1")
    )
    sock = daemon.connect()
    before = int(time.time())
    answers = []
    for request, length in (
        (login, 48),
        (table_open, 48),
        (put + b"my first value", 48),
        (get, 70),
        (get_part, 60),
    ):
        sock.sendall(request)
        answers.append(receive(sock, length))
    assert answers[0] == login[:8] + bytes(4) + login[12:16] + bytes(32)
    assert answers[1] == table_open[:8] + bytes(4) + table_open[12:16] + bytes(32)
    assert answers[2] == put[:8] + bytes(4) + put[12:24] + sha1 + bytes(4)
    mtime = answers[3][48:56]
    assert before <= int.from_bytes(mtime, "little") <= time.time()
    assert answers[3] == get[:8] + bytes(4) + get[12:16] + answers[2][16:48] + mtime + b"my first value"
    assert answers[4] == get_part[:8] + bytes(4) + get_part[12:24] + sha1 + bytes(4) + mtime + b"firs"
    sock.sendall(put + b"my first value" + cp + delete + listing)
    assert receive(sock, 48)[8] == Code.KEY_EXISTS
    assert receive(sock, 48)[8:12] == bytes(4)
    assert receive(sock, 48)[8:12] == bytes(4)
    header = receive(sock, 48)
    now = int(time.time())
    expected = [HEAD + entry(ListedObject(b"copy", each, sha1, 14, b"testuser")) + TAIL for each in (now - 1, now)]
    assert receive(sock, int.from_bytes(header[16:24], "little")) in expected
    sock.close()


SIZES = [0, 1, 4096, 32768, 32769, 65536, 65537, 262144, 300_001, 1 << 20, (5 << 20) + 3]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_got(client: Client, size: int) -> None:
    content = os.urandom(size)
    stored = client.put(b"key", content)
    assert (stored.code, stored.data_length) == (Code.SUCCESS, size)
    assert stored.sha1 == hashlib.sha1(content, usedforsecurity=False).digest()
    assert client.get(b"key") == content
    meta = client.ask(Operation.GET_META, b"key")
    assert (meta.data_length, meta.sha1) == (size, stored.sha1)
    assert abs((meta.mtime or 0) - time.time()) < 60
    assert client.ask(Operation.CP, b"copy", source_key=b"key").code == Code.SUCCESS
    assert client.ask(Operation.DEL, b"key").code == Code.SUCCESS
    assert client.ask(Operation.GET, b"key").code == Code.NO_SUCH_KEY
    assert client.get(b"copy") == content


@pytest.mark.parametrize("size", [14, 32768, 65536, 131_073, 700_000])
def test_parts(client: Client, size: int) -> None:
    content = os.urandom(size)
    client.put(b"key", content)
    for offset in {0, 1, size // 2, max(0, size - 65536), size - 1, size}:
        for wanted in (0, 1, 65536, 1 << 40):
            response = client.ask(Operation.GET_PART, b"key", data_length=wanted, offset=offset)
            length = min(wanted or size, size - offset, 262_144)
            assert (response.code, response.data_length) == (Code.SUCCESS, length)
            assert receive(client.sock, length) == content[offset : offset + length]
            assert bool(response.flags & ResponseFlag.GET_PART_LAST) == (offset + length == size)
            first = offset - offset % 65536
            end = -(-(offset + length) // 65536) * 65536
            covered = content[first:end] if length else b""
            assert response.sha1 == hashlib.sha1(covered, usedforsecurity=False).digest()
    assert client.ask(Operation.GET_PART, b"key", offset=size + 1).code == Code.INVALID_SEEK


@pytest.mark.parametrize("key", [b"\0", b"a/../b", b"\xff" * 1024, b"key\0", b"key", "Schlüssel".encode(), b"%s%n"])
def test_any_bytes_are_a_key(client: Client, key: bytes) -> None:
    assert client.put(key, key).code == Code.SUCCESS
    assert client.put(key, b"again").code == Code.KEY_EXISTS
    assert client.get(key) == key


def test_an_empty_key_is_refused_and_the_connection_stays(client: Client) -> None:
    for operation in (Operation.GET, Operation.GET_META, Operation.DEL, Operation.GET_PART, Operation.CP):
        assert client.ask(operation).code == Code.INVALID_KEY
    assert client.put(b"", b"x" * 100_000).code == Code.INVALID_KEY
    assert client.ask(Operation.NOP).code == Code.SUCCESS


def test_missing_objects(client: Client) -> None:
    for operation in (Operation.GET, Operation.GET_META, Operation.DEL, Operation.GET_PART):
        assert client.ask(operation, b"missing").code == Code.NO_SUCH_KEY
    assert client.ask(Operation.CP, b"new", source_key=b"missing").code == Code.NO_SUCH_KEY


def test_objects_of_another_user(daemon: Daemon, client: Client) -> None:
    client.open(b"shared")
    assert client.put(b"key", b"mine").code == Code.SUCCESS
    other = Client(daemon, b"other")
    other.open(b"shared")
    for operation in (Operation.GET, Operation.GET_META, Operation.DEL, Operation.GET_PART):
        assert other.ask(operation, b"key").code == Code.ACCESS_DENIED
    assert other.ask(Operation.CP, b"new", source_key=b"key").code == Code.ACCESS_DENIED
    assert other.put(b"key", b"theirs").code == Code.KEY_EXISTS
    listing = other.ask(Operation.LIST)
    assert receive(other.sock, listing.data_length) == HEAD + TAIL
    assert client.get(b"key") == b"mine"


@pytest.mark.parametrize("size", [10, 40_000, 3_000_000])
def test_the_content_of_a_refused_put_is_received_to_its_end(client: Client, size: int) -> None:
    assert client.put(b"key", b"first").code == Code.SUCCESS
    assert client.put(b"key", os.urandom(size)).code == Code.KEY_EXISTS
    assert client.get(b"key") == b"first"


def test_without_a_table_nothing_is_stored_and_the_connection_stays(daemon: Daemon) -> None:
    client = Client(daemon)
    for operation in (Operation.GET, Operation.GET_META, Operation.DEL, Operation.LIST, Operation.GET_PART):
        assert client.ask(operation, b"key").code == Code.INVALID_TABLE
    assert client.ask(Operation.CP, b"key", source_key=b"other").code == Code.INVALID_TABLE
    assert client.put(b"key", b"x" * 100_000).code == Code.INVALID_TABLE
    assert client.ask(Operation.NOP).code == Code.SUCCESS


def test_tables(daemon: Daemon) -> None:
    client = Client(daemon)
    create, exclusive = RequestFlag.TABLE_CREATE, RequestFlag.TABLE_EXCLUSIVE
    assert client.open(b"tables-1", 0).code == Code.INVALID_ARGUMENT
    assert client.open(b"tables-1", exclusive).code == Code.INVALID_ARGUMENT
    assert client.open(b"", create).code == Code.INVALID_ARGUMENT
    assert client.open(b"__chunkd_table_id", create).code == Code.INVALID_ARGUMENT
    assert client.open(b"tables-1", create | exclusive).code == Code.SUCCESS
    assert client.put(b"key", b"in the first").code == Code.SUCCESS
    assert client.open(b"tables-1", create | exclusive).code == Code.INVALID_ARGUMENT
    assert client.get(b"key") == b"in the first"
    assert client.open(b"tables-1\0", create).code == Code.SUCCESS
    assert client.ask(Operation.GET, b"key").code == Code.NO_SUCH_KEY
    assert client.open(b"tables-1", 0).code == Code.SUCCESS
    assert client.get(b"key") == b"in the first"


def test_a_copy_onto_an_existing_key_or_itself(client: Client) -> None:
    client.put(b"a", b"a" * 100_000)
    client.put(b"b", b"b")
    assert client.ask(Operation.CP, b"b", source_key=b"a").code == Code.KEY_EXISTS
    assert client.ask(Operation.CP, b"a", source_key=b"a").code == Code.KEY_EXISTS
    assert client.get(b"b") == b"b"


def test_listing_holds_every_object_of_the_user(client: Client) -> None:
    keys = [b"plain", b"with\0nul", b"<&>'\"", b"\x01\x7f", b"x" * 1024]
    for number, key in enumerate(keys):
        client.put(key, b"x" * number)
    response = client.ask(Operation.LIST)
    text = receive(client.sock, response.data_length)
    assert text.startswith(HEAD)
    assert text.endswith(TAIL)
    for name in (b"plain", b"with", b"&lt;&amp;&gt;&apos;&quot;", b"&#x1;&#x7f;", b"x" * 1024):
        assert b"    <Name>" + name + b"</Name>\r\n" in text
    assert text.count(b"<Contents>") == len(keys)
    assert client.ask(Operation.NOP).code == Code.SUCCESS


def test_unknown_operations(client: Client) -> None:
    for operation in (13, 99, 255):
        assert client.ask(operation, b"key", data_length=12).code == Code.INVALID_URI
    assert client.ask(Operation.NOP).code == Code.SUCCESS


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    for number in range(50):
        content = b"%d" % number * 3000
        client.send(Operation.PUT, b"key%d" % number, content, data_length=len(content))
        client.send(Operation.GET, b"key%d" % number)
    for number in range(50):
        content = b"%d" % number * 3000
        assert receive(client.sock, 48)[8] == Code.SUCCESS
        assert receive(client.sock, 56 + len(content))[56:] == content


# What closes the connection


def test_a_wrong_signature_is_answered_and_the_connection_closed(client: Client) -> None:
    client.secret = b"wrong"
    assert client.put(b"key", b"x" * 200_000).code == Code.SIGNATURE_DOES_NOT_MATCH
    assert client.closed()


def test_a_wrong_signature_is_answered_when_all_content_has_come(client: Client) -> None:
    """libhail sends everything before it reads, for as long as that takes, and would die in a write (6.5)."""
    client.secret = b"wrong"
    client.send(Operation.PUT, b"key", b"x" * 100_000, data_length=200_000)
    assert select.select([client.sock], [], [], 0.3)[0] == []
    client.sock.sendall(b"x" * 100_000)
    assert client.response(Operation.PUT).code == Code.SIGNATURE_DOES_NOT_MATCH
    assert client.closed()


@pytest.mark.parametrize("header", [b"CHUNKDv2" + bytes(16) + b"x" * 10 + bytes(54), b"CHUNKDv1" + bytes(80)])
def test_a_malformed_header_is_answered_and_the_connection_closed(daemon: Daemon, header: bytes) -> None:
    client = Client(daemon, login=False)
    client.sock.sendall(header)
    answer = receive(client.sock, 100)
    assert len(answer) == 48
    assert answer[:9] == header[:8] + bytes([Code.INVALID_ARGUMENT])


def test_requests_before_login_are_dropped(daemon: Daemon) -> None:
    for operation in (Operation.NOP, Operation.GET, Operation.START_TLS, 99):
        client = Client(daemon, login=False)
        client.send(operation, b"key")
        assert client.closed()


def test_a_key_over_the_limit_is_dropped(client: Client) -> None:
    client.sock.sendall(b"CHUNKDv1\x01\x00\x01\x04" + bytes(76))
    assert client.closed()


def test_a_source_key_over_the_limit_is_refused_and_the_connection_closed(client: Client) -> None:
    nonce = b"\0\0\0\x02"
    header = b"CHUNKDv1\x0b\x00\x01\x00" + nonce + (5000).to_bytes(8, "little")
    signature = wire.sign(b"testuser", header + bytes(64) + b"k")
    client.sock.sendall(header + signature.ljust(64, b"\0") + b"k" + b"s" * 5000)
    client.nonce = 2
    assert client.response(Operation.CP).code == Code.INVALID_KEY
    assert client.closed()


def test_no_source_key_follows_a_copy_without_a_key(client: Client) -> None:
    header = b"CHUNKDv1\x0b\x00\x00\x00" + b"\0\0\0\x02" + (5000).to_bytes(8, "little")
    signature = wire.sign(b"testuser", header + bytes(64))
    client.sock.sendall(header + signature.ljust(64, b"\0"))
    client.nonce = 2
    assert client.response(Operation.CP).code == Code.INVALID_KEY
    assert client.ask(Operation.NOP).code == Code.SUCCESS


@pytest.mark.parametrize("key", [b"", b"x" * 65])
def test_login_with_a_bad_name(daemon: Daemon, key: bytes) -> None:
    client = Client(daemon, login=False)
    client.secret = key
    assert client.ask(Operation.LOGIN, key).code == Code.INVALID_ARGUMENT
    assert client.closed()


def test_login_with_a_wrong_secret_and_login_twice(daemon: Daemon) -> None:
    client = Client(daemon, login=False)
    client.secret = b"wrong"
    assert client.ask(Operation.LOGIN, b"testuser\0").code == Code.SIGNATURE_DOES_NOT_MATCH
    assert client.closed()
    client = Client(daemon)
    assert client.ask(Operation.LOGIN, b"testuser\0").code == Code.INVALID_ARGUMENT
    assert client.closed()


def test_a_put_that_is_cut_off_stores_nothing(daemon: Daemon, client: Client) -> None:
    for size in (1000, 1_000_000):
        writer = Client(daemon)
        writer.open(b"cut-off")
        writer.send(Operation.PUT, b"key", os.urandom(size // 2), data_length=size)
        reader = Client(daemon)
        reader.open(b"cut-off")
        # The key is taken while the PUT runs, and free again afterwards; no client sees half an object.
        assert reader.ask(Operation.GET, b"key").code == Code.NO_SUCH_KEY
        writer.sock.shutdown(socket.SHUT_WR)
        assert writer.closed()
        assert reader.put(b"key", b"whole").code == Code.SUCCESS
        assert reader.get(b"key") == b"whole"
        assert reader.ask(Operation.DEL, b"key").code == Code.SUCCESS
    assert os.listdir(daemon.data / "incoming") == []


def test_a_key_is_taken_while_its_put_runs(daemon: Daemon, client: Client) -> None:
    writer = Client(daemon)
    writer.open(b"reserved")
    reader = Client(daemon)
    reader.open(b"reserved")
    # In one piece with the NOP: where that has been answered, the PUT has begun.
    put = wire.encode_request(Operation.PUT, nonce=bytes(4), secret=writer.secret, key=b"key", data_length=100_000)
    nop = wire.encode_request(Operation.NOP, nonce=bytes(4), secret=writer.secret)
    writer.nonce = 0
    writer.sock.sendall(nop + put + b"x" * 99_999)
    assert writer.response(Operation.NOP).code == Code.SUCCESS
    assert reader.put(b"key", b"y").code == Code.KEY_EXISTS
    assert reader.ask(Operation.GET, b"key").code == Code.NO_SUCH_KEY
    writer.sock.sendall(b"x")
    assert writer.response(Operation.PUT).code == Code.SUCCESS
    assert reader.get(b"key") == b"x" * 100_000


def test_half_closing_after_a_request_still_gets_the_response(client: Client) -> None:
    client.send(Operation.PUT, b"key", b"x" * 50_000, data_length=50_000)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.response(Operation.PUT).code == Code.SUCCESS
    assert client.closed()


def test_half_closing_in_the_midst_of_the_next_request_closes_after_the_response(client: Client) -> None:
    client.send(Operation.PUT, b"key", b"x" * 50_000 + b"CHUNKDv1", data_length=50_000)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.response(Operation.PUT).code == Code.SUCCESS
    assert client.closed()


# The self-check


def test_only_listed_users_start_a_check(daemon: Daemon, client: Client) -> None:
    assert client.ask(Operation.CHECK_START).code == Code.ACCESS_DENIED


def test_a_check_sets_damaged_objects_aside(daemon: Daemon) -> None:
    client = Client(daemon, b"checker")
    client.open(b"checked")
    for size in (100, 100_000):
        client.put(b"good%d" % size, os.urandom(size))
    client.put(b"bad", os.urandom(100_000))
    _damage_newest_body(daemon.data)
    status = client.ask(Operation.CHECK_STATUS)
    assert wire.decode_check_status(receive(client.sock, status.data_length)) == (
        wire.CheckState.NEVER_STARTED,
        0,
    )
    assert client.ask(Operation.CHECK_START).code == Code.SUCCESS
    deadline = time.monotonic() + 15
    state = wire.CheckState.RUNNING
    finished = 0
    while state == wire.CheckState.RUNNING and time.monotonic() < deadline:
        client.ask(Operation.CHECK_STATUS)
        state, finished = wire.decode_check_status(receive(client.sock, 16))
    assert state == wire.CheckState.IDLE
    assert abs(finished - time.time()) < 60
    assert client.ask(Operation.GET, b"bad").code == Code.NO_SUCH_KEY
    assert len(client.get(b"good100")) == 100
    assert len(client.get(b"good100000")) == 100_000
    assert len(os.listdir(daemon.data / "quarantine")) == 1


def _damage_newest_body(data: Path) -> Path:
    newest = max((path for path in (data / "bodies").glob("*/*")), key=lambda path: path.name)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    return newest


@pytest.mark.parametrize("operation", [Operation.GET, Operation.GET_PART])
def test_a_damaged_body_is_never_returned(daemon: Daemon, client: Client, operation: Operation) -> None:
    client.put(b"bad", os.urandom(200_000))
    _damage_newest_body(daemon.data)
    assert (
        client.ask(operation, b"bad", offset=0 if operation is Operation.GET else 66_000).code == Code.INTERNAL_ERROR
    )
    assert client.ask(operation, b"bad").code == Code.NO_SUCH_KEY
    content = os.urandom(200_000)
    assert client.put(b"bad", content).code == Code.SUCCESS
    assert client.get(b"bad") == content


def test_a_missing_body_is_an_error_and_can_be_stored_again(daemon: Daemon, client: Client) -> None:
    client.put(b"lost", os.urandom(200_000))
    _damage_newest_body(daemon.data).unlink()
    assert client.ask(Operation.GET, b"lost").code == Code.INTERNAL_ERROR
    assert client.put(b"lost", b"again").code == Code.SUCCESS


def test_damage_far_into_a_body_ends_the_connection(daemon: Daemon, client: Client) -> None:
    content = os.urandom(9 << 20)
    client.put(b"long", content)
    damaged = _damage_newest_body(daemon.data)
    position = (9 << 20) - 5
    with damaged.open("r+b") as file:
        file.seek((9 << 20) // 2)
        file.write(content[(9 << 20) // 2 :][:1])
        file.seek(position)
        file.write(bytes([content[position] ^ 1]))
    response = client.ask(Operation.GET, b"long")
    got = receive(client.sock, response.data_length)
    assert len(got) < response.data_length
    assert content.startswith(got)
