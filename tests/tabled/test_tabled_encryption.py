"""Encryption without a server: frames, keys, headers."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.tabled.encryption import frames, keyring, keys, spec, streams
from haild.tabled.encryption.frames import FRAME, TAG
from haild.tabled.encryption.keyring import Keyring, WrongKeyError
from haild.tabled.metadata.records import StoredBody
from haild.tabled.s3.errors import S3Error

KEY = bytes(range(32))
CUSTOMER = base64.b64encode(KEY).decode()
DIGEST = base64.b64encode(hashlib.md5(KEY).digest()).decode()
CONTENT = bytes(i * 7 % 251 for i in range(1000)) * 200
LENGTHS = st.sampled_from([0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 2 * FRAME + 5, 3 * FRAME])


def seal(key: bytes, content: bytes) -> bytes:
    sealer = frames.Sealer(key, len(content))
    return sealer.feed(content) + sealer.finish()


def cut(content: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(content[at : at + size])
        at += size
    return [*pieces, content[at:]]


@given(LENGTHS, st.lists(st.integers(0, 2 * FRAME), max_size=5), st.lists(st.integers(0, 2 * FRAME), max_size=5))
def test_what_is_sealed_in_any_pieces_opens_in_any_pieces(length: int, first: list[int], second: list[int]) -> None:
    content = CONTENT[:length]
    sealer = frames.Sealer(KEY, length)
    sealed = b"".join([*map(sealer.feed, cut(content, first)), sealer.finish()])
    assert len(sealed) == frames.sealed_length(length)
    assert frames.plain_length(len(sealed)) == length
    assert sealed == seal(KEY, content)
    opener = frames.Opener(KEY, length)
    assert b"".join([*map(opener.feed, cut(sealed, second)), opener.finish()]) == content


@given(LENGTHS.filter(bool), st.data())
async def test_a_range_needs_only_its_frames(length: int, data: Any) -> None:
    content = CONTENT[:length]
    sealed = seal(KEY, content)
    first = data.draw(st.integers(0, length - 1))
    size = data.draw(st.integers(1, length - first))
    step = data.draw(st.integers(max(1, size // 1000), 3 * FRAME))  # a body byte by byte takes long
    asked = []

    async def read(stored: StoredBody, offset: int, wanted: int) -> Any:
        asked.append((offset, wanted))
        for at in range(offset, offset + wanted, step):
            yield sealed[at : min(at + step, offset + wanted)]

    stored = StoredBody(1, len(sealed), (1,), "x")
    got = [piece async for piece in streams.opened(read, stored, KEY, first, size)]
    assert b"".join(got) == content[first : first + size]
    ((offset, wanted),) = asked
    assert offset % (FRAME + TAG) == 0
    assert wanted <= frames.sealed_length(min(size + 2 * FRAME, length))


@pytest.mark.parametrize("length", [5, FRAME, FRAME + 5, 3 * FRAME])
def test_every_change_is_noticed(length: int) -> None:
    sealed = seal(KEY, CONTENT[:length])
    changed = [bytes([sealed[0] ^ 1]) + sealed[1:], sealed[:-1] + bytes([sealed[-1] ^ 1])]
    if length > FRAME:
        one, rest = sealed[: FRAME + TAG], sealed[FRAME + TAG :]
        changed += [rest + one, one, rest, one + one + rest[FRAME + TAG :]]
    for wrong in changed:
        with pytest.raises(frames.DamagedFrameError):
            frames.unseal(KEY, wrong)
    with pytest.raises(frames.DamagedFrameError):
        frames.unseal(bytes(32), sealed)


async def test_nothing_is_complete_before_the_body_kept_its_promises() -> None:
    async def pieces() -> Any:
        yield CONTENT[: 2 * FRAME]
        raise S3Error("BadDigest")

    given_out: list[bytes] = []

    async def take() -> None:
        async for piece in streams.sealed(KEY, 2 * FRAME, pieces()):
            given_out.append(piece)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(S3Error):
        await take()
    assert sum(map(len, given_out)) < frames.sealed_length(2 * FRAME)


def ring(*numbers: int) -> Keyring:
    return Keyring.unwrap(KEY, {number: keyring.new_master(KEY, number) for number in numbers})


def test_a_key_opens_only_its_own_body() -> None:
    masters = ring(1)
    for kms in ("", "a/key:1", "ключ"):
        key, cipher = masters.new_key(7, kms)
        assert masters.key_of(7, cipher) == key
        assert base64.b64encode(key).decode() not in cipher
        for body, ring_ in ((8, masters), (7, ring(1)), (7, ring(2))):
            with pytest.raises(WrongKeyError):
                ring_.key_of(body, cipher)
        if kms:
            renamed = cipher.replace(cipher.partition(":")[0], "1/other", 1)
            with pytest.raises(WrongKeyError):
                masters.key_of(7, renamed)


def test_rotation_keeps_the_keys_and_changes_their_wrapping() -> None:
    old = ring(1)
    new = Keyring({**old.masters, 2: bytes(32)})
    key, cipher = old.new_key(7, "mine")
    again = new.rewrap(7, cipher)
    assert again.startswith("2/mine:")
    assert Keyring({2: bytes(32)}).key_of(7, again) == key
    assert new.rewrap(7, again) == again
    _, customers = keyring.new_customer_key(KEY, 7)
    assert new.rewrap(7, customers) == customers


def test_a_customers_key_is_known_again_and_never_kept() -> None:
    check = keyring.customer_check(KEY)
    assert keyring.is_customer(KEY, check)
    assert not keyring.is_customer(bytes(32), check)
    assert keyring.customer_check(KEY) != check
    key, cipher = keyring.new_customer_key(KEY, 3)
    assert keyring.customer_key_of(KEY, 3, cipher) == key
    with pytest.raises(WrongKeyError):
        keyring.customer_key_of(bytes(32), 3, cipher)


def test_a_token_is_read_only_by_its_maker() -> None:
    masters = ring(1, 2)
    token = masters.token(b"alice")
    assert masters.of_token(token) == b"alice"
    for wrong in (token[:-5] + "AAAA" + token[-1], "", "9.abc", token.replace("2.", "1.", 1), "x"):
        with pytest.raises(WrongKeyError):
            masters.of_token(wrong)


class Kept:
    """Master keys in memory."""

    def __init__(self) -> None:
        self.wrapped: dict[int, str] = {}

    async def master_keys(self) -> dict[int, str]:
        return dict(self.wrapped)

    async def add_master_key(self, number: int, wrapped: str) -> None:
        self.wrapped.setdefault(number, wrapped)


async def test_the_root_key_is_made_once_and_needed_for_ever(tmp_path: Path) -> None:
    kept = Kept()
    wanted = spec.Wanted({"algorithm": "AES256"})
    key, cipher = await keys.Keys("", tmp_path, kept).new_key(5, wanted)
    stored = StoredBody(5, 10, (), cipher)
    assert (tmp_path / keys.ROOT_FILE).stat().st_mode & 0o777 == 0o600
    assert await keys.Keys("", tmp_path, kept).key_of(stored, None) == key
    with pytest.raises(S3Error, match="root key"):
        await keys.Keys("another", tmp_path, kept).key_of(stored, None)


def headers(**more: str) -> dict[str, str]:
    return {
        f"x-amz-server-side-encryption-{name.replace('_', '-')}".rstrip("-"): value for name, value in more.items()
    }


CUSTOMERS = headers(customer_algorithm="AES256", customer_key=CUSTOMER, customer_key_md5=DIGEST)
HEADER = {"x-amz-server-side-encryption": "AES256"}


@pytest.mark.parametrize(
    ("given_headers", "code"),
    [
        ({"x-amz-server-side-encryption": "rot13"}, "InvalidArgument"),
        (headers(aws_kms_key_id="k"), "InvalidArgument"),
        ({**HEADER, **headers(aws_kms_key_id="k")}, "InvalidArgument"),
        ({**CUSTOMERS, **HEADER}, "InvalidArgument"),
        ({**CUSTOMERS, **headers(customer_algorithm="AES128")}, "InvalidEncryptionAlgorithmError"),
        ({**CUSTOMERS, **headers(customer_key="c2hvcnQ=")}, "InvalidArgument"),
        ({**CUSTOMERS, **headers(customer_key_md5="AAAA")}, "InvalidArgument"),
        *(({k: v for k, v in CUSTOMERS.items() if k != left_out}, "InvalidArgument") for left_out in CUSTOMERS),
        ({"x-amz-server-side-encryption": "aws:kms", **headers(context="e30")}, "InvalidArgument"),
        (
            {"x-amz-server-side-encryption": "aws:kms", **headers(aws_kms_key_id="no such key")},
            "KMS.NotFoundException",
        ),
    ],
)
def test_headers_that_make_no_sense_are_refused(given_headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        spec.wanted(given_headers, {}, "us-east-1")
    assert caught.value.code == code


def test_what_a_request_says_goes_before_the_buckets_default() -> None:
    default = {"algorithm": "aws:kms", "key": "mine", "bucket-key": "true"}
    region = "us-east-1"
    assert spec.wanted({}, {}, region) == spec.NONE
    assert spec.wanted({}, default, region).encryption == default
    assert spec.wanted({}, {"algorithm": "aws:kms"}, region).encryption["key"].endswith("alias/aws/s3")
    assert spec.wanted(HEADER, default, region).encryption == {"algorithm": "AES256"}
    named = {"x-amz-server-side-encryption": "aws:kms", **headers(aws_kms_key_id="theirs")}
    assert spec.wanted(named, default, region).encryption["key"] == "theirs"
    assert spec.wanted(CUSTOMERS, default, region).customer == KEY


def test_only_bodies_under_one_key_are_shared() -> None:
    plain, own, kms, customer = (
        {},
        {"algorithm": "AES256"},
        {"algorithm": "aws:kms", "key": "k"},
        {"algorithm": "CUSTOMER"},
    )
    kinds: list[dict[str, str]] = [plain, own, kms, customer]
    shared = [(a, b) for a in range(4) for b in range(4) if spec.shares(kinds[a], kinds[b])]
    assert shared == [(0, 0), (1, 1), (2, 2)]
    assert not spec.shares(kms, {"algorithm": "aws:kms", "key": "other"})
