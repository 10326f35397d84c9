"""The client port with TLS, with real daemons."""

import datetime
import ipaddress
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.tabledstack import USERS, Stack, serving


def certify(path: Path) -> None:
    """A certificate for loopback that certifies itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tabled")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("tls")
    certify(directory / "tabled.pem")
    with serving(directory, settings=f"<TLSCertificate>{directory / 'tabled.pem'}</TLSCertificate>") as running:
        yield running


@pytest.fixture
def s3(stack: Stack) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"https://127.0.0.1:{stack.tabled.port}",
        verify=str(stack.directory / "tabled.pem"),
        aws_access_key_id="alice",
        aws_secret_access_key=USERS["alice"],
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize("size", [0, 100, 100_000, 5 << 20])
@pytest.mark.parametrize("encryption", [{}, {"ServerSideEncryption": "AES256"}])
def test_bodies_of_every_size(s3: Any, size: int, encryption: dict[str, str]) -> None:
    s3.create_bucket(Bucket="bodies")
    content = os.urandom(size)
    s3.put_object(Bucket="bodies", Key="k", Body=content, **encryption)
    assert s3.get_object(Bucket="bodies", Key="k")["Body"].read() == content


def test_a_policy_can_ask_for_tls(s3: Any) -> None:
    s3.create_bucket(Bucket="secure")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::secure/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="secure", Policy=json.dumps({"Statement": [statement]}))
    s3.put_object(Bucket="secure", Key="k", Body=b"x")
