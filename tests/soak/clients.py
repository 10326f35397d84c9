"""Clients that do what users do, and record what they asked and what they were answered.

S3: several threads share a few keys, and each request is recorded for `register`. iwhd: each thread has keys of its
own. cld: threads take one lock in turn, and note when they believe to hold it (support.holders).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from haild.client.cld import OpenMode, keep_session
from soak import register
from soak.register import ABSENT, INF, Operation
from support.holders import History, Span

BUCKET: Final = "soak"
KEYS: Final = 6
CALM: Final = 0.03
"""Seconds between two requests of one client: enough work for checks, not a benchmark."""
SIZES: Final = (0, 1, 700, 40_000, 400_000)
"""Bytes: bodies that chunkd keeps beside others, and such that get a file each."""
TIMEOUT: Final = 8
"""Seconds for one answer."""
FINISH: Final = 60.0


class Client(threading.Thread):
    """Works until `finish`. What must not happen is in `wrong`."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.random = random.Random(f"{seed}/{name}")
        self.wrong: list[str] = []
        self.acknowledged = 0
        self.failed = 0
        self.crashed: BaseException | None = None
        self.enough = threading.Event()

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                self.step()
                self.enough.wait(self.random.uniform(0, 2 * CALM))
        except BaseException as error:
            self.crashed = error

    def step(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Let the request under way end, and no more."""
        self.enough.set()
        self.join(FINISH)
        assert not self.is_alive(), f"{self.name} has no answer"
        if self.crashed is not None:
            raise self.crashed


def s3_client(url: str, env: Mapping[str, str]) -> Any:
    """boto3 without retries: each request is one line of the history."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
        config=botocore.config.Config(
            retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=TIMEOUT, max_pool_connections=4
        ),
    )


class Record:
    """What S3 clients asked and were answered, by key; and the keys that are left alone now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generations = itertools.count(KEYS)
        self.operations: dict[str, list[Operation]] = {f"k{number}": [] for number in range(KEYS)}
        self.current = list(self.operations)

    def add(self, key: str, operation: Operation) -> None:
        with self._lock:
            self.operations[key].append(operation)

    def retire(self, key: str) -> None:
        """Another key takes its place: unanswered writes would make long histories hard to judge."""
        with self._lock:
            if key in self.current:
                fresh = f"k{next(self._generations)}"
                self.operations[fresh] = []
                self.current[self.current.index(key)] = fresh

    def choose(self, rng: random.Random) -> str:
        with self._lock:
            key = rng.choice(self.current)
            long = len(self.operations[key]) > 400
        if long:
            self.retire(key)
        return key

    def check(self) -> int:
        """The number of operations judged. Raises NotLinearizableError, naming the key."""
        total = 0
        for key, operations in self.operations.items():
            try:
                total += register.check(operations)
            except register.NotLinearizableError as error:
                raise register.NotLinearizableError(f"{key}: {error}") from None
        return total


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


class S3Worker(Client):
    """One S3 client on keys that it shares with others."""

    def __init__(self, name: str, seed: int, record: Record, clients: list[Any]) -> None:
        super().__init__(name, seed)
        self.record = record
        self.clients = clients
        self._number = 0

    def step(self) -> None:
        key = self.record.choose(self.random)
        self.random.choices((self._put, self._create, self._discard, self._get, self._parts), (5, 1, 1, 6, 0.3))[0](
            key
        )

    def _body(self) -> bytes:
        self._number += 1
        head = f"{self.name}/{self._number}/".encode()
        return head + self.random.randbytes(self.random.choice(SIZES))

    def _send(self, key: str, kind: str, value: str | None, send: Callable[[Any], Any]) -> None:
        begin = time.monotonic()
        try:
            send(self.clients[0])
        except EndpointConnectionError:  # the request never left, so nothing was done
            self._failure()
            return
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if kind == "create" and code == "PreconditionFailed":
                self.record.add(key, Operation(begin, time.monotonic(), "refused"))
                return
            self.record.add(key, Operation(begin, INF, kind, value, required=False))
            self.record.retire(key)
            self._failure()
            return
        self.record.add(key, Operation(begin, time.monotonic(), kind, value))
        self.acknowledged += 1

    def _failure(self) -> None:
        self.failed += 1
        self.clients = [*self.clients[1:], self.clients[0]]
        self.enough.wait(self.random.uniform(0.05, 0.3))

    def _put(self, key: str) -> None:
        body = self._body()
        self._send(key, "write", digest(body), lambda s3: s3.put_object(Bucket=BUCKET, Key=key, Body=body))

    def _create(self, key: str) -> None:
        body = self._body()
        self._send(
            key,
            "create",
            digest(body),
            lambda s3: s3.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*"),
        )

    def _discard(self, key: str) -> None:
        self._send(key, "write", ABSENT, lambda s3: s3.delete_object(Bucket=BUCKET, Key=key))

    def _parts(self, key: str) -> None:
        bodies = [self.random.randbytes(5 << 20), self._body()]

        def send(s3: Any) -> None:
            where = {"Bucket": BUCKET, "Key": key}
            upload = s3.create_multipart_upload(**where)["UploadId"]
            parts = [
                {"PartNumber": n, "ETag": s3.upload_part(**where, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
                for n, body in enumerate(bodies, start=1)
            ]
            s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})

        self._send(key, "write", digest(b"".join(bodies)), send)

    def _get(self, key: str) -> None:
        begin = time.monotonic()
        try:
            value = held(self.clients[0], key)
        except (BotoCoreError, ClientError):
            self._failure()
            return
        self.record.add(key, Operation(begin, time.monotonic(), "read", value))


def held(s3: Any, key: str) -> str | None:
    """The digest of what a key holds, ABSENT if there is none. Raises what boto3 raises."""
    try:
        return digest(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return ABSENT
        raise


class IwhdWorker(Client):
    """One client of the image warehouse, on keys of its own: bodies and attributes."""

    def __init__(self, name: str, seed: int, url: str) -> None:
        super().__init__(name, seed)
        self.url = url
        self.bodies: dict[str, list[str | None]] = {}
        """By key, what it may hold: more than one thing after a request without an answer."""
        self.attributes: dict[str, str] = {}
        self._number = 0

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body. Raises OSError where there is no answer."""
        request = urllib.request.Request(f"{self.url}/{path}", data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def step(self) -> None:
        settled = [key for key, possible in self.bodies.items() if len(possible) == 1]
        if len(settled) < 5:
            self._number += 1
            self._put(f"{self.name}-{self._number}")
        else:
            key = self.random.choice(settled)
            self.random.choices((self._put, self._get, self._mark), (2, 4, 1))[0](key)

    def _put(self, key: str) -> None:
        body = f"{key}/{time.monotonic_ns()}/".encode() + self.random.randbytes(self.random.choice(SIZES))
        try:
            status, _ = self.request("PUT", f"{BUCKET}w/{key}", body)
        except OSError:
            status = 0
        if 200 <= status < 300:
            self.bodies[key] = [digest(body)]
            self.acknowledged += 1
        else:
            self.bodies.setdefault(key, [ABSENT]).append(digest(body))
            self._failure()

    def _failure(self) -> None:
        self.failed += 1
        self.enough.wait(self.random.uniform(0.05, 0.3))

    def _mark(self, key: str) -> None:
        value = str(self.random.randrange(10**6))
        try:
            status, _ = self.request("PUT", f"{BUCKET}w/{key}/colour", value.encode())
        except OSError:
            status = 0
        if 200 <= status < 300:
            self.attributes[key] = value
            self.acknowledged += 1
        else:
            self.attributes.pop(key, None)
            self._failure()

    def read(self, key: str) -> str | None:
        """The digest of what a key holds; ABSENT after 404. Raises OSError for anything else."""
        status, body = self.request("GET", f"{BUCKET}w/{key}")
        if status == 404:
            return ABSENT
        if status != 200:
            raise OSError(f"status {status}")
        return digest(body)

    def _get(self, key: str) -> None:
        try:
            found = self.read(key)
        except (OSError, ValueError):
            self._failure()
            return
        if found not in self.bodies[key]:
            self.wrong.append(f"iwhd: {key} holds {found}, not one of {self.bodies[key]}")

    def check(self) -> None:
        """Every key holds what it may hold, with its attribute; adds to `wrong`."""
        for key, possible in self.bodies.items():
            found = self.read(key)
            if found not in possible:
                self.wrong.append(f"iwhd: {key} holds {found}, not one of {possible}")
        for key, value in self.attributes.items():
            status, text = self.request("GET", f"{BUCKET}w/{key}/colour")
            if status != 200 or text.decode().strip() != value:
                self.wrong.append(f"iwhd: {key} has colour {text[:40]!r} ({status}), not {value}")


class LockHolder(Client):
    """Takes one lock of cld again and again, and notes from when until when it believed in it."""

    LEASE: Final = 4

    def __init__(self, name: str, seed: int, env: Mapping[str, str], history: History, guard: threading.Lock) -> None:
        super().__init__(name, seed)
        host, _, port = env["CLD_ADDRESS"].rpartition(":")
        self._address = (host, int(port))
        self._user, self._secret = env["CLD_USER"], env["CLD_SECRET"].encode()
        self._history, self._guard = history, guard

    def run(self) -> None:
        async def whole() -> None:
            keeping = asyncio.create_task(
                keep_session([self._address], self._user, self._secret, self._use, name=self.name, lease=self.LEASE)
            )
            await asyncio.to_thread(self.enough.wait)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

        try:
            asyncio.run(whole())
        except BaseException as error:
            self.crashed = error

    async def _use(self, session: Any) -> None:
        handle = await session.open("/soak-lock", OpenMode.LOCK | OpenMode.CREATE)
        while True:
            await session.lock(handle)
            begin = until = time.monotonic()
            if not session.valid:
                continue
            end = begin + self.random.uniform(0, 0.4)
            while time.monotonic() < end:
                now = time.monotonic()
                if not session.valid:
                    break
                until = now
                await asyncio.sleep(0.01)
            with self._guard:
                self._history.add(Span(begin, until, self.name))
            self.acknowledged += 1
            await session.unlock(handle)
            await asyncio.sleep(self.random.uniform(0, 0.1))
