"""Object lock without a server: documents, headers, what is forbidden."""

import pytest

from haild.tabled.s3 import objectlock
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

NOW = 1_600_000_000.0
PAST, SOON, LATER = "2019-01-01T00:00:00Z", "2021-01-01T00:00:00.000Z", "2031-01-01T00:00:00.000Z"


def configuration(inner: str, enabled: str = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>") -> s3xml.Element:
    text = f"<ObjectLockConfiguration>{enabled}{inner}</ObjectLockConfiguration>"
    return s3xml.parse(text.encode(), "ObjectLockConfiguration")


def rule(inner: str) -> str:
    return f"<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"


@pytest.mark.parametrize(
    ("root", "code"),
    [
        (configuration("", ""), "MalformedXML"),
        (configuration("", "<ObjectLockEnabled>Disabled</ObjectLockEnabled>"), "MalformedXML"),
        (configuration("<Rule/>"), "MalformedXML"),
        (configuration(rule("<Mode>GOVERNANCE</Mode>")), "MalformedXML"),
        (configuration(rule("<Mode>governance</Mode><Days>1</Days>")), "MalformedXML"),
        (configuration(rule("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>")), "MalformedXML"),
        (configuration(rule("<Mode>GOVERNANCE</Mode><Days>one</Days>")), "MalformedXML"),
        (configuration(rule("<Mode>GOVERNANCE</Mode><Days>0</Days>")), "InvalidRetentionPeriod"),
        (configuration(rule("<Mode>GOVERNANCE</Mode><Years>-1</Years>")), "InvalidRetentionPeriod"),
        (configuration(rule("<Mode>GOVERNANCE</Mode><Days>36501</Days>")), "InvalidRetentionPeriod"),
    ],
)
def test_configurations_that_are_none(root: s3xml.Element, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        objectlock.read_configuration(root)
    assert caught.value.code == code


@pytest.mark.parametrize("inner", ["", rule("<Mode>COMPLIANCE</Mode><Years>2</Years>")])
def test_a_configuration_comes_back_as_it_was(inner: str) -> None:
    default = objectlock.read_configuration(configuration(inner))
    document = objectlock.configuration_document(default)
    assert objectlock.read_configuration(s3xml.parse(document, "ObjectLockConfiguration")) == default


def test_the_default_counts_from_the_moment_of_storing() -> None:
    leap_day = 1_582_934_400.0  # 2020-02-29
    one_year = objectlock.with_default({}, {"mode": "GOVERNANCE", "years": "1"}, leap_day)
    assert one_year == {"mode": "GOVERNANCE", "until": "2021-02-28T00:00:00.000Z"}
    two_days = objectlock.with_default({"hold": "ON"}, {"mode": "COMPLIANCE", "days": "2"}, leap_day)
    assert two_days == {"hold": "ON", "mode": "COMPLIANCE", "until": "2020-03-02T00:00:00.000Z"}
    own = {"mode": "GOVERNANCE", "until": LATER}
    assert objectlock.with_default(own, {"mode": "COMPLIANCE", "days": "2"}, leap_day) == own


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"mode": "GOVERNANCE"}, "InvalidArgument"),
        ({"retain-until-date": LATER}, "InvalidArgument"),
        ({"mode": "ETERNAL", "retain-until-date": LATER}, "InvalidArgument"),
        ({"mode": "GOVERNANCE", "retain-until-date": PAST}, "InvalidArgument"),
        ({"mode": "GOVERNANCE", "retain-until-date": "tomorrow"}, "InvalidArgument"),
        ({"legal-hold": "MAYBE"}, "InvalidArgument"),
    ],
)
def test_headers_that_make_no_sense(headers: dict[str, str], code: str) -> None:
    named = {objectlock.PREFIX + name: value for name, value in headers.items()}
    with pytest.raises(S3Error) as caught:
        objectlock.from_headers(named, enabled=True, now=NOW)
    assert caught.value.code == code
    with pytest.raises(S3Error) as caught:
        objectlock.from_headers(named, enabled=False, now=NOW)
    assert caught.value.code == "InvalidRequest"


def test_headers_are_kept_and_told() -> None:
    headers = {"mode": "COMPLIANCE", "retain-until-date": "2031-01-01T00:00:00+00:00", "legal-hold": "ON"}
    lock = objectlock.from_headers({objectlock.PREFIX + n: v for n, v in headers.items()}, enabled=True, now=NOW)
    assert lock == {"mode": "COMPLIANCE", "until": LATER, "hold": "ON"}
    assert objectlock.answer_headers(lock)["x-amz-object-lock-retain-until-date"] == LATER


def lock(mode: str, until: str) -> dict[str, str]:
    return {"mode": mode, "until": until}


@pytest.mark.parametrize(
    ("present", "wanted", "without", "with_bypass"),
    [
        ({}, lock("COMPLIANCE", SOON), True, True),
        (lock("GOVERNANCE", PAST), {}, True, True),
        (lock("GOVERNANCE", SOON), lock("GOVERNANCE", LATER), True, True),
        (lock("GOVERNANCE", LATER), lock("GOVERNANCE", SOON), False, True),
        (lock("GOVERNANCE", SOON), lock("COMPLIANCE", LATER), False, True),
        (lock("GOVERNANCE", SOON), {}, False, True),
        (lock("COMPLIANCE", SOON), lock("COMPLIANCE", LATER), True, True),
        (lock("COMPLIANCE", LATER), lock("COMPLIANCE", SOON), False, False),
        (lock("COMPLIANCE", SOON), lock("GOVERNANCE", LATER), False, False),
        (lock("COMPLIANCE", SOON), {}, False, False),
    ],
)
def test_which_retention_may_follow_which(
    present: dict[str, str], wanted: dict[str, str], without: bool, with_bypass: bool
) -> None:
    for bypass, allowed in ((False, without), (True, with_bypass)):
        if allowed:
            objectlock.check_change(present, wanted, NOW, bypass=bypass)
        else:
            with pytest.raises(S3Error, match="AccessDenied"):
                objectlock.check_change(present, wanted, NOW, bypass=bypass)


@pytest.mark.parametrize(
    ("present", "without", "with_bypass"),
    [
        ({}, True, True),
        ({"hold": "OFF"}, True, True),
        ({"hold": "ON"}, False, False),
        ({"hold": "ON", **lock("GOVERNANCE", PAST)}, False, False),
        (lock("GOVERNANCE", PAST), True, True),
        (lock("GOVERNANCE", SOON), False, True),
        (lock("COMPLIANCE", SOON), False, False),
    ],
)
def test_what_may_be_deleted(present: dict[str, str], without: bool, with_bypass: bool) -> None:
    for bypass, allowed in ((False, without), (True, with_bypass)):
        if allowed:
            objectlock.check_delete(present, NOW, bypass=bypass)
        else:
            with pytest.raises(S3Error, match="AccessDenied"):
                objectlock.check_delete(present, NOW, bypass=bypass)
