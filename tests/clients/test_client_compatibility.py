"""The page of compatibility is what a running stack answers, and nothing answers by accident."""

import boto3
import pytest
from botocore.config import Config
from compatibility import Findings, Reply, features, find, page
from s3endpoint import Endpoint

from support.enginestack import ARTEFACTS, ROOT

PAGE = ROOT / "docs" / "compatibility.md"
BUCKET = "compatibility"


@pytest.fixture(scope="module")
def findings(endpoint: Endpoint) -> Findings:
    # One request per question; an operation of object lambda would put its route into the host name.
    config = Config(retries={"total_max_attempts": 1}, inject_host_prefix=False)
    # botocore takes the bucket out of the paths of operations that were used; a session has its own.
    s3 = boto3.Session().client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.key,
        aws_secret_access_key=endpoint.secret,
        region_name=endpoint.variables["AWS_DEFAULT_REGION"],
        config=config,
    )
    return find(s3, BUCKET)


def test_every_change_that_is_not_made_is_refused(findings: Findings) -> None:
    """What would set something and is not proven answers 501."""
    changes = {
        name: reply for name, reply in findings.answered.items() if name.startswith(("Put", "Create", "Update"))
    }
    assert {name: reply for name, reply in changes.items() if reply != Reply(501, "NotImplemented")} == {}


def test_nothing_fails_inside(findings: Findings) -> None:
    assert {name: reply for name, reply in findings.answered.items() if reply.status in (500, 503)} == {}


def test_the_page_is_current(findings: Findings, endpoint: Endpoint) -> None:
    with endpoint.hstor() as hstor:
        written = page(findings, features(hstor, BUCKET))
    current = PAGE.read_text() if PAGE.exists() else ""
    if written != current:
        ARTEFACTS.mkdir(exist_ok=True)
        (ARTEFACTS / PAGE.name).write_text(written)
    assert written == current, f"read it, then: cp {ARTEFACTS / PAGE.name} {PAGE}"
