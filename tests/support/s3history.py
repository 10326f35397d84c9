"""Clients of S3 that know what each of their keys may hold, whatever was killed or stopped meanwhile.

Each worker writes, overwrites, copies, uploads in parts and deletes keys of its own, one request at a time. What was
answered counts; after a request that was not answered with success its key may hold the old or the new, and is left
alone from then on: then nothing else can explain a third state.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

FAILURES = (BotoCoreError, ClientError)
Content = bytes | None
PART = 5 << 20
FINISH = 180.0
"""Seconds: more than an upload of two parts takes whose four requests all wait until their time-outs."""


class Worker:
    """One client. `clients` are asked in turn after each failure."""

    def __init__(
        self, clients: list[Any], bucket: str, name: str, *, largest: int = 300_000, parts: bool = True
    ) -> None:
        self.name = name
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.clients = clients
        self.bucket = bucket
        self.possible: dict[str, list[Content]] = {}
        self.retired: set[str] = set()
        self.answered: list[float] = []
        """When each success came, in seconds of the monotonic clock."""
        self.failed = 0
        self.largest = largest
        self.parts = parts
        self.wrong: list[str] = []
        self.crashed: BaseException | None = None
        self._random = random.Random(name)
        self._enough = threading.Event()
        self._number = 0

    def start(self) -> None:
        """Work until `finish`."""
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                self._step()
        except BaseException as error:
            self.crashed = error

    def finish(self) -> None:
        """Let the request under way end, and no more."""
        self._enough.set()
        self._thread.join(FINISH)
        assert not self._thread.is_alive(), f"{self.name} has no answer"
        assert self.crashed is None, self.crashed

    def _step(self) -> None:
        usable = [key for key in self.possible if key not in self.retired]
        if len(usable) < 4:
            self._number += 1
            self._put(f"{self.name}/{self._number}")
            return
        key = self._random.choice(usable)
        steps: list[Callable[[str], None]] = [self._put] * 4 + [self._read] * 3 + [self._copy, self._delete]
        self._random.choice(steps + ([self._upload] if self.parts else []))(key)

    def _request(self, key: str, becomes: Content, send: Callable[[Any], Any]) -> bool:
        """Send what shall make the key hold `becomes`."""
        try:
            send(self.clients[0])
        except EndpointConnectionError:  # no server has got the last request, so nothing has been done
            self._failed()
            return False
        except FAILURES:
            self.possible.setdefault(key, [None]).append(becomes)
            self.retired.add(key)
            self._failed()
            return False
        self.possible[key] = [becomes]
        self.answered.append(time.monotonic())
        return True

    def _failed(self) -> None:
        self.failed += 1
        self.clients = [*self.clients[1:], self.clients[0]]
        self._enough.wait(self._random.uniform(0.02, 0.1))

    def _content(self) -> bytes:
        size = self._random.choice([0, 1, 100, 4096, self._random.randrange(self.largest)])
        return self._random.randbytes(size)

    def _put(self, key: str) -> None:
        body = self._content()
        self._request(key, body, lambda s3: s3.put_object(Bucket=self.bucket, Key=key, Body=body))

    def _delete(self, key: str) -> None:
        self._request(key, None, lambda s3: s3.delete_object(Bucket=self.bucket, Key=key))

    def _copy(self, key: str) -> None:
        source = next((k for k, held in self.possible.items() if len(held) == 1 and held[0] is not None), None)
        if source is None or source == key or source in self.retired:
            return
        where = {"Bucket": self.bucket, "Key": source}
        content = self.possible[source][0]
        self._request(key, content, lambda s3: s3.copy_object(Bucket=self.bucket, Key=key, CopySource=where))

    def _upload(self, key: str) -> None:
        bodies = [self._random.randbytes(PART), self._content() + b"."]

        def send(s3: Any) -> None:
            names = {"Bucket": self.bucket, "Key": key}
            upload = s3.create_multipart_upload(**names)["UploadId"]
            parts = []
            for number, body in enumerate(bodies, start=1):
                answer = s3.upload_part(**names, UploadId=upload, PartNumber=number, Body=body)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            s3.complete_multipart_upload(**names, UploadId=upload, MultipartUpload={"Parts": parts})

        self._request(key, b"".join(bodies), send)

    def _read(self, key: str) -> None:
        try:
            held = read(self.clients[0], self.bucket, key)
        except FAILURES:
            self._failed()
            return
        if held not in self.possible[key]:
            self.wrong.append(f"{key} holds {_tell(held)} and not {[_tell(c) for c in self.possible[key]]}")


def _tell(content: Content) -> str:
    return "nothing" if content is None else f"{len(content)} bytes from {content[:8].hex()}"


def read(s3: Any, bucket: str, key: str) -> Content:
    """The content of an object, None if there is none. Raises what boto3 raises."""
    try:
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise


def check(workers: list[Worker], s3: Any, bucket: str) -> None:
    """Assert that every key holds what it may hold, and that the listing agrees."""
    listed = {
        entry["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for entry in page.get("Contents", [])
    }
    wrong: list[str] = []
    for worker in workers:
        wrong += worker.wrong
        for key, possible in worker.possible.items():
            held = read(s3, bucket, key)
            if held not in possible:
                wrong.append(f"{key} holds {_tell(held)} and not {[_tell(content) for content in possible]}")
            if (held is None) == (key in listed):
                wrong.append(f"{key} is listed and not there, or there and not listed")
        listed -= worker.possible.keys()
    assert not wrong, wrong
    assert not listed, f"no client has written {sorted(listed)}"


def longest_pause(workers: list[Worker], since: float) -> float:
    """Seconds: the longest time without any success, from `since` to the last one."""
    times = [since, *sorted(t for worker in workers for t in worker.answered if t > since)]
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
