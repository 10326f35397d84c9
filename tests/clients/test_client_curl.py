"""What browsers do, done by curl: the question before a request from another site's page, and uploads by a form."""

import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from hstor import Hstor
from program import Client, program
from s3endpoint import Endpoint

BUCKET = "of-curl"
PAGE = "http://page.example"
RULES = {
    "CORSRules": [
        {
            "AllowedOrigins": [PAGE],
            "AllowedMethods": ["GET", "PUT", "POST"],
            "AllowedHeaders": ["content-type", "x-amz-*"],
            "ExposeHeaders": ["ETag", "x-amz-meta-colour"],
            "MaxAgeSeconds": 600,
        }
    ]
}


@pytest.fixture(scope="module")
def s3(endpoint: Endpoint) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.variables["AWS_DEFAULT_REGION"],
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration=RULES)
    return client


@pytest.fixture
def curl(tmp_path: Path) -> Client:
    return Client([program("curl"), "-sS"], tmp_path)


def answer(curl: Client, *words: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    done = curl.read("-o", "body", "-w", '{"status": %{http_code}, "headers": %{header_json}}', *words)
    found = json.loads(done)
    body = curl.home / "body"
    content = body.read_bytes() if body.exists() else b""
    body.unlink(missing_ok=True)
    return found["status"], {name: ", ".join(values) for name, values in found["headers"].items()}, content


def preflight(curl: Client, url: str, origin: str, method: str, headers: str = "") -> tuple[int, dict[str, str]]:
    words = ["-X", "OPTIONS", "-H", f"Origin: {origin}", "-H", f"Access-Control-Request-Method: {method}"]
    words += ["-H", f"Access-Control-Request-Headers: {headers}"] if headers else []
    return answer(curl, *words, url)[:2]


def test_a_page_of_another_site_puts_and_gets(s3: Any, curl: Client, endpoint: Endpoint) -> None:
    """As a browser does it: ask first, then send with the origin, and look at what may be read."""
    put = s3.generate_presigned_url(
        "put_object",
        Params={"Bucket": BUCKET, "Key": "k", "ContentType": "text/plain", "Metadata": {"colour": "blue"}},
    )
    status, headers = preflight(curl, put, PAGE, "PUT", "content-type, x-amz-meta-colour")
    assert status == 200
    assert headers["access-control-allow-origin"] == PAGE
    assert "PUT" in headers["access-control-allow-methods"]
    assert "x-amz-meta-colour" in headers["access-control-allow-headers"].lower()
    assert headers["access-control-max-age"] == "600"
    sent = ["-H", f"Origin: {PAGE}", "-H", "Content-Type: text/plain", "-H", "x-amz-meta-colour: blue"]
    status, headers, _ = answer(curl, "-X", "PUT", *sent, "--data-binary", "content", put)
    assert status == 200
    assert headers["access-control-allow-origin"] == PAGE
    get = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "k"})
    status, headers, body = answer(curl, "-H", f"Origin: {PAGE}", get)
    assert (status, body, headers["x-amz-meta-colour"]) == (200, b"content", "blue")
    assert "etag" in headers["access-control-expose-headers"].lower()
    assert "Origin" in headers["vary"]


def test_pages_that_no_rule_names_get_nothing(s3: Any, curl: Client, endpoint: Endpoint) -> None:
    url = f"{endpoint.url}/{BUCKET}/k"
    assert preflight(curl, url, "http://other.example", "GET")[0] == 403
    assert preflight(curl, url, PAGE, "DELETE")[0] == 403
    assert preflight(curl, url, PAGE, "PUT", "x-forbidden")[0] == 403
    assert preflight(curl, f"{endpoint.url}/none/k", PAGE, "GET")[0] == 403
    get = s3.generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET})
    status, headers, _ = answer(curl, "-H", "Origin: http://other.example", get)
    assert status == 200  # the program behind the page is refused by its browser, which misses this header
    assert "access-control-allow-origin" not in headers


def test_a_form_uploads_a_file(s3: Any, curl: Client, other: Hstor) -> None:
    body = os.urandom(300_000)
    (curl.home / "file name.bin").write_bytes(body)
    conditions: list[Any] = [["starts-with", "$key", "up/"], ["content-length-range", 1, 400_000]]
    conditions += [{"success_action_status": "201"}, {"Content-Type": "image/png"}]
    fields = {"success_action_status": "201", "Content-Type": "image/png"}
    form = s3.generate_presigned_post(BUCKET, "up/${filename}", Fields=fields, Conditions=conditions)
    words = [word for name, value in form["fields"].items() for word in ("-F", f"{name}={value}")]
    status, headers, document = answer(
        curl, "-H", f"Origin: {PAGE}", *words, "-F", "file=@file name.bin", form["url"]
    )
    assert status == 201, document
    assert headers["access-control-allow-origin"] == PAGE
    assert b"<Key>up/file name.bin</Key>" in document
    stored = other.request("GET", BUCKET, "up/file name.bin")
    assert (stored.body, stored.headers["content-type"]) == (body, "image/png")

    (curl.home / "file name.bin").write_bytes(os.urandom(400_001))
    status, _, document = answer(curl, *words, "-F", "file=@file name.bin", form["url"])
    assert (status, b"EntityTooLarge" in document) == (400, True)
    changed = [word.replace("up/${filename}", "elsewhere") for word in words]
    (curl.home / "file name.bin").write_bytes(b"x")
    assert answer(curl, *changed, "-F", "file=@file name.bin", form["url"])[0] == 403
    assert other.request("GET", BUCKET, "elsewhere").status == 404
