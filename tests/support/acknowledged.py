"""Objects whose storing the stack has acknowledged, and whether it still has them."""

import os

import botocore.client
import botocore.exceptions

from support.enginestack import Stack

BUCKET = "kept"
SIZES = (100, 300_000)
"""Bytes: one that a storage node keeps beside others, and one that is a file of its own."""


class Acknowledged:
    """What was acknowledged so far, by key."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}

    def put(self, client: botocore.client.BaseClient, *sizes: int) -> None:
        """Store an object of each size, in bytes. Raises what boto3 raises; only what did not raise counts."""
        if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=BUCKET)
        for size in sizes or SIZES:
            key, body = f"object-{len(self.bodies)}", os.urandom(size)
            client.put_object(Bucket=BUCKET, Key=key, Body=body)
            self.bodies[key] = body

    def missing(self, stack: Stack) -> list[str]:
        """The keys of those that the stack says it has no more. Fails if it serves wrong bytes."""
        client, gone = stack.s3(), []
        for key, body in self.bodies.items():
            try:
                found = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            except (botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError):
                gone.append(key)
            else:
                assert found == body, f"{key}: wrong bytes were served"
        return gone

    def expect_all(self, stack: Stack) -> str:
        """Fails unless every one is there, byte for byte; for the table, how many that were."""
        gone = self.missing(stack)
        assert gone == [], f"acknowledged objects are gone: {gone}"
        return "all there"
