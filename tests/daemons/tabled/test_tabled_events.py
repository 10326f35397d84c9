"""Event notifications with real daemons and a webhook that counts."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.tabledstack import Stack, serving, wait_for

ARN = "arn:aws:sqs:us-east-1:000000000000:queue"


class Hook:
    """A webhook: what it was told, and whether it takes more."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.refused = 0
        self.working = True
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.working:
                    hook.told.append((self.headers["x-amz-event-target"], json.loads(body)))
                else:
                    hook.refused += 1
                self.send_response(200 if hook.working else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def records(self, bucket: str) -> list[dict[str, Any]]:
        found = [record for _, body in self.told for record in body.get("Records", [])]
        return [record for record in found if record["s3"]["bucket"]["name"] == bucket]

    def names(self, bucket: str) -> list[str]:
        return sorted(record["eventName"] for record in self.records(bucket))


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Stack]:
    url = f"http://127.0.0.1:{hook.server.server_address[1]}/events"
    settings = f"<Webhook><Arn>{ARN}</Arn><Url>{url}</Url></Webhook>"
    with serving(tmp_path_factory.mktemp("events"), settings=settings) as running:
        yield running


def listen(s3: Any, bucket: str, *events: str, arn: str = ARN, **more: Any) -> None:
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": list(events), **more}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)


def test_what_happens_is_told(s3: Any, bucket: str, hook: Hook) -> None:
    listen(
        s3, bucket, "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:Put", Id="mine"
    )
    (rule,) = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert (rule["Id"], rule["QueueArn"]) == ("mine", ARN)
    s3.put_object(Bucket=bucket, Key="a b", Body=b"abc")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/a b")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    tag = s3.upload_part(**part, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    s3.put_object_tagging(Bucket=bucket, Key="m", Tagging={"TagSet": []})
    s3.put_object_acl(Bucket=bucket, Key="m", ACL="private")
    s3.delete_object(Bucket=bucket, Key="m")
    s3.delete_object(Bucket=bucket, Key="never was")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}]})
    expected = [
        *("ObjectAcl:Put", "ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy", "ObjectCreated:Put"),
        *("ObjectRemoved:Delete", "ObjectRemoved:Delete", "ObjectTagging:Put"),
    ]
    wait_for(lambda: len(hook.records(bucket)) >= len(expected), "all events", 20)
    assert hook.names(bucket) == expected
    (put,) = [record for record in hook.records(bucket) if record["eventName"] == "ObjectCreated:Put"]
    assert put["s3"]["object"]["key"] == "a+b"
    assert put["s3"]["object"]["size"] == 3
    assert put["userIdentity"]["principalId"] == "alice"
    assert "versionId" not in put["s3"]["object"]
    tests = [body for target, body in hook.told if body.get("Bucket") == bucket]
    assert [body["Event"] for body in tests] == ["s3:TestEvent"]


def test_versions_and_filters(s3: Any, bucket: str, hook: Hook) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rules = [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".x"}]
    listen(s3, bucket, "s3:ObjectCreated:Put", "s3:ObjectRemoved:*", Filter={"Key": {"FilterRules": rules}})
    for key in ("in/a.y", "out/a.x"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    version = s3.put_object(Bucket=bucket, Key="in/a.x", Body=b"x")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="in/a.x")
    s3.delete_object(Bucket=bucket, Key="in/a.x", VersionId=version)
    wait_for(lambda: len(hook.records(bucket)) >= 3, "three events", 20)
    assert hook.names(bucket) == ["ObjectCreated:Put", "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"]
    versions = {record["eventName"]: record["s3"]["object"]["versionId"] for record in hook.records(bucket)}
    assert versions["ObjectCreated:Put"] == versions["ObjectRemoved:Delete"] == version


def test_a_destination_without_a_webhook_is_refused(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as caught:
        listen(s3, bucket, "s3:ObjectCreated:*", arn=f"{ARN}-2")
    assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_an_event_outlives_a_webhook_that_fails_and_a_killed_tabled(
    stack: Stack, s3: Any, bucket: str, hook: Hook
) -> None:
    listen(s3, bucket, "s3:ObjectCreated:*")
    hook.working = False
    try:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
        wait_for(lambda: hook.refused >= 2, "a second attempt", 20)
        stack.tabled.kill()
    finally:
        hook.working = True
    stack.revive()
    wait_for(lambda: hook.records(bucket), "the event", 30)
    s3 = stack.client()
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    s3.put_object(Bucket=bucket, Key="silent", Body=b"x")
    assert {record["s3"]["object"]["key"] for record in hook.records(bucket)} == {"k"}
