"""What tabled answers to every operation of S3 that boto3 knows, and the page that says so."""

import contextlib
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import roundtrips
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import ListShape, OperationModel, Shape, StringShape, StructureShape
from hstor import Hstor

SCALARS: dict[str, Any] = {
    "integer": 1,
    "long": 1,
    "boolean": True,
    "blob": b"x",
    "map": {},
    "timestamp": datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
}
KEY = "object"


@dataclass(frozen=True)
class Reply:
    """A status, and the error's code where there is one."""

    status: int
    code: str = ""

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


@dataclass
class Findings:
    """What every operation answered."""

    proven: dict[str, str] = field(default_factory=dict)
    """By operation the round trip that used it with success."""
    answered: dict[str, Reply] = field(default_factory=dict)
    """What each of the others answered to its smallest request."""
    requests: dict[str, str] = field(default_factory=dict)
    """By operation its method and path."""


def smallest(shape: Shape, names: Mapping[str, str]) -> Any:
    """The smallest value that a shape allows. `names` are values for members of these names."""
    if isinstance(shape, StructureShape):
        members = list(shape.required_members) or list(shape.members)[:1] * bool(shape.is_tagged_union)
        return {name: names.get(name) or smallest(shape.members[name], names) for name in members}
    if isinstance(shape, ListShape):
        return [smallest(shape.member, names)]
    if isinstance(shape, StringShape):
        return shape.enum[0] if shape.enum else "x" * max(1, shape.metadata.get("min", 1))
    return SCALARS[shape.type_name]


def request_line(operation: OperationModel) -> str:
    """Method and path of an operation, with the parameters that it cannot do without."""
    path = operation.http["requestUri"].replace("{Key+}", "{Key}")
    shape = operation.input_shape
    members = [shape.members[name].serialization for name in shape.required_members] if shape else []
    query = "&".join(f"{place['name']}=" for place in members if place.get("location") == "querystring")
    joint = "&" if "?" in path else "?"
    return f"{operation.http['method']} {path}" + (f"{joint}{query}" if query else "")


def find(s3: Any, bucket: str) -> Findings:
    """Do all round trips, each in a bucket named after `bucket`; then ask for every operation that none used."""
    findings = Findings()
    model = s3.meta.service_model
    for name in model.operation_names:
        findings.requests[name] = request_line(model.operation_model(name))
    seen: dict[str, Reply] = {}

    def note(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
        seen[model.name] = Reply(http_response.status_code, parsed.get("Error", {}).get("Code", ""))
        if http_response.status_code < 300:
            succeeded.add(model.name)

    s3.meta.events.register("after-call.s3", note)
    for roundtrip in roundtrips.ALL:
        succeeded: set[str] = set()
        own = f"{bucket}-{roundtrip.__name__}"
        s3.create_bucket(Bucket=own)
        succeeded.clear()
        roundtrip(s3, own)
        for name in succeeded:
            findings.proven.setdefault(name, roundtrip.__name__)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"body")
    for name in sorted(set(model.operation_names) - set(findings.proven)):
        arguments = smallest(model.operation_model(name).input_shape, {"Bucket": bucket, "Key": KEY})
        with contextlib.suppress(ClientError):
            getattr(s3, xform_name(name))(**arguments)
        findings.answered[name] = seen[name]
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"body", "an operation fell through to another"
    return findings


ENCRYPTION = "x-amz-server-side-encryption"
FEATURES: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("Storage class `STANDARD`", "PUT", "", {"x-amz-storage-class": "STANDARD"}),
    ("Storage class `REDUCED_REDUNDANCY`", "PUT", "", {"x-amz-storage-class": "REDUCED_REDUNDANCY"}),
    ("Storage class `STANDARD_IA`, a name that is kept", "PUT", "", {"x-amz-storage-class": "STANDARD_IA"}),
    ("A class that has to be restored", "PUT", "", {"x-amz-storage-class": "GLACIER"}),
    ("Canned ACL", "PUT", "", {"x-amz-acl": "public-read"}),
    ("Grants in headers", "PUT", "", {"x-amz-grant-read": "uri=http://acs.amazonaws.com/groups/global/AllUsers"}),
    ("A grant to a user who does not exist", "PUT", "", {"x-amz-grant-read": 'id="x"'}),
    ("Tags in a header", "PUT", "", {"x-amz-tagging": "colour=green"}),
    ("Server-side encryption with keys of Amazon's", "PUT", "", {ENCRYPTION: "AES256"}),
    ("Server-side encryption with one's own key", "PUT", "", {f"{ENCRYPTION}-customer-algorithm": "AES256"}),
    ("Object lock", "PUT", "", {"x-amz-object-lock-legal-hold": "ON"}),
    ("Redirection of a web site", "PUT", "", {"x-amz-website-redirect-location": "/elsewhere"}),
    ("Temporary credentials", "GET", "", {"x-amz-security-token": "token"}),
    ("Range", "GET", "", {"Range": "bytes=0-1"}),
    ("More than one range: the whole object", "GET", "", {"Range": "bytes=0-1,3-3"}),
    ("Range after the end", "GET", "", {"Range": "bytes=1000-"}),
    ("Only if there is none yet", "PUT", "", {"If-None-Match": "*"}),
    ("Only if it is still the one", "PUT", "", {"If-Match": '"another"'}),
    ("Only if it has not changed since", "PUT", "", {"If-Unmodified-Since": "Sun, 28 Nov 2010 18:41:22 GMT"}),
    ("Wrong `Content-MD5`", "PUT", "", {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
    ("Wrong checksum", "PUT", "", {"x-amz-checksum-crc32": "AAAAAA=="}),
    ("Header of the answer chosen", "GET", "response-content-type=text/plain", {}),
    ("Unknown parameter of a read", "GET", "no-such-thing", {}),
    ("Unknown sub-resource", "PUT", "no-such-thing", {}),
    ("Unknown sub-resource", "DELETE", "no-such-thing", {}),
)
"""Name, method, query and headers of a request for an object that is there; those with PUT have a body."""


def features(hstor: Hstor, bucket: str) -> list[tuple[str, str, Reply]]:
    """What each of FEATURES answers: its name, the request, the reply."""
    found = []
    for name, method, query, headers in FEATURES:
        assert hstor.request("PUT", bucket, KEY, body=b"body").status == 200
        body = b"body" if method == "PUT" else None
        answer = hstor.request(method, bucket, KEY, query=query, headers=headers, body=body)
        if answer.headers.get("connection") == "close":
            hstor.reconnect()
        sent = [f"?{query}"] if query else [f"{header}: {value}" for header, value in headers.items()]
        found.append((name, f"{method} `{' '.join(sent)}`", Reply(answer.status, "".join(answer.texts("Code")))))
    return found


HEAD = """# Which of S3's operations tabled has

This page is written by `tests/clients/test_client_compatibility.py` from the answers of a running stack: every
operation that boto3 knows is asked for. When an answer changes, the test fails and leaves the new page in
`artefacts/`.

The same folder drives boto3, the aws-cli, s3cmd, rclone, restic, s3fs and a client as they were in 2010 through their
daily work, each with the settings of its manual, and curl as a stand-in for browsers (preflight, forms). Signatures
V2 and V4 are served, in headers and in URLs, path style, and buckets as host names below `localhost` and below what
`HostAlias` names. Uploads in aws-chunked frames: signed ones by restic, with an unsigned trailer by boto3 and the
aws-cli through a program that ends TLS; the signed trailer is sent by no client that could be had, so `tests/wire`
makes it.

## There

Each was used in a round trip, and what it did was seen in another way.

| operation | request | round trip |
|---|---|---|
"""
FIXED = """
## Answered as for a bucket that never had any

Clients ask for these before or besides their work. The answer is always the same; what would change it answers 501.

| operation | request | answer |
|---|---|---|
"""
ABSENT = """
## Not there

Nothing is done, and no operation falls through to another one.

| operation | request | answer |
|---|---|---|
"""
FEATURES_HEAD = """
## Headers and parameters

What a request for an object answers with these. An encryption that is not done is never accepted silently.

| what | request | answer |
|---|---|---|
"""


def page(findings: Findings, asked: list[tuple[str, str, Reply]]) -> str:
    """The page, in Markdown."""

    def rows(answers: Mapping[str, object]) -> str:
        lines = [f"| {name} | `{findings.requests[name]}` | {answers[name]} |\n" for name in sorted(answers)]
        return "".join(lines)

    fixed = {
        name: reply
        for name, reply in findings.answered.items()
        if reply.status in (200, 204) or (reply.status == 404 and name.startswith("Get"))
    }
    absent = {name: reply for name, reply in findings.answered.items() if name not in fixed}
    last = "".join(f"| {name} | {request} | {reply} |\n" for name, request, reply in asked)
    return HEAD + rows(findings.proven) + FIXED + rows(fixed) + ABSENT + rows(absent) + FEATURES_HEAD + last
