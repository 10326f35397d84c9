"""Uploads in aws-chunked frames by clients that choose them: boto3 and the aws-cli over https, restic over http.

Frames with signatures and a trailer at once are sent by programs that are built on MinIO's client for Go and ask for
it; none is a package that can be installed here. tests/wire/test_awschunked.py has what that client sent to tabled.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from hstor import Hstor
from program import Client, program
from recorder import Recorder, certificate, tls
from s3endpoint import Endpoint

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
WITH_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
LARGE = 20_000_003
"""Bytes: more than boto3 and the aws-cli upload in one piece."""


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def https(endpoint: Endpoint, pem: Path) -> Iterator[Recorder]:
    recorder = Recorder(endpoint.address, tls(pem))
    yield recorder
    recorder.close()


@pytest.fixture
def http(endpoint: Endpoint) -> Iterator[Recorder]:
    recorder = Recorder(endpoint.address)
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def bucket(endpoint: Endpoint) -> str:
    with endpoint.hstor() as hstor:
        assert hstor.request("PUT", "chunked").status == 200
    return "chunked"


def test_boto3_over_https(endpoint: Endpoint, https: Recorder, pem: Path, bucket: str, other: Hstor) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=f"https://127.0.0.1:{https.port}",
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.variables["AWS_DEFAULT_REGION"],
        verify=str(pem),
    )
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        for size in (0, 1, 70_000):
            body = os.urandom(size)
            answer = s3.put_object(Bucket=bucket, Key="boto3", Body=body, ChecksumAlgorithm=algorithm)
            assert answer[f"Checksum{algorithm}"]
            assert other.request("GET", bucket, "boto3").body == body
            head = s3.head_object(Bucket=bucket, Key="boto3", ChecksumMode="ENABLED")
            assert head[f"Checksum{algorithm}"] == answer[f"Checksum{algorithm}"]
            assert "aws-chunked" not in head.get("ContentEncoding", "")
    body = os.urandom(LARGE)
    (path := pem.parent / "large").write_bytes(body)
    s3.upload_file(str(path), bucket, "large", Config=TransferConfig(multipart_chunksize=6 << 20))
    assert other.request("GET", bucket, "large").body == body
    assert WITH_TRAILER in https.forms


def test_aws_cli_over_https(
    endpoint: Endpoint, https: Recorder, pem: Path, bucket: str, other: Hstor, tmp_path: Path
) -> None:
    settings = {
        **endpoint.variables,
        "AWS_ENDPOINT_URL": f"https://127.0.0.1:{https.port}",
        "AWS_CA_BUNDLE": str(pem),
    }
    aws = Client([program("aws")], tmp_path, settings)
    for key, size in (("small", 1000), ("large", LARGE)):
        body = os.urandom(size)
        (tmp_path / "file").write_bytes(body)
        aws.run("s3", "cp", "--no-progress", "file", f"s3://{bucket}/aws-{key}")
        assert other.request("GET", bucket, f"aws-{key}").body == body
    assert WITH_TRAILER in https.forms


def test_restic_keeps_a_repository(endpoint: Endpoint, http: Recorder, other: Hstor, tmp_path: Path) -> None:
    """The backup program signs every frame, as all that are built on MinIO's client for Go do without TLS."""
    home = tmp_path / "home"
    settings = {
        "AWS_ACCESS_KEY_ID": endpoint.key,
        "AWS_SECRET_ACCESS_KEY": endpoint.secret,
        "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{http.port}/restic/repository",
        "RESTIC_PASSWORD": "of the repository",
    }
    home.mkdir()
    restic = Client([program("restic")], home, settings)
    restic.run("init")
    tree = {"a/small": b"content", "a/large": os.urandom(LARGE), "empty": b"", "a/ä b": os.urandom(70_000)}
    for name, body in tree.items():
        (path := tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    restic.run("backup", str(tmp_path / "tree"))
    (tmp_path / "tree" / "a" / "small").write_bytes(b"changed")
    restic.run("backup", str(tmp_path / "tree"))
    assert "\n2 snapshots\n" in restic.run("snapshots", "--compact")
    restic.run("check", "--read-data")
    restic.run("restore", "latest", "--target", str(tmp_path / "back"))
    back = tmp_path / "back" / (tmp_path / "tree").relative_to("/")
    for name, body in {**tree, "a/small": b"changed"}.items():
        assert (back / name).read_bytes() == body
    restic.run("forget", "--keep-last", "1", "--prune")
    restic.run("check")
    assert SIGNED in http.forms
    assert other.request("HEAD", "restic", "repository/config").status == 200
