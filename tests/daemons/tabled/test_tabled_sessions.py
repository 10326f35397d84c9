"""Temporary credentials and policies of users, with real daemons."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from haild.tabled import tdbadm
from support.tabledstack import USERS, Stack, serving, wait_for


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("sessions")) as running:
        yield running


def client(stack: Stack, service: str, credentials: dict[str, str], **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{stack.tabled.port}",
        region_name="us-east-1",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials.get("SessionToken"),
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture
def sts(stack: Stack) -> Any:
    return client(stack, "sts", {"AccessKeyId": "alice", "SecretAccessKey": USERS["alice"]})


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def outcome(call: Any, **arguments: Any) -> str:
    """The code of the error; empty for success."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def allow(action: str | list[str], resource: str | list[str], effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def administer(stack: Stack, *options: str, given: str = "") -> tuple[int, str]:
    sink = io.StringIO()
    status = tdbadm.main(["-C", str(stack.directory / "one.conf"), *options], io.StringIO(given), sink)
    return status, sink.getvalue()


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_a_session_is_its_user(stack: Stack, s3: Any, sts: Any, bucket: str, signature: str) -> None:
    role = {"RoleArn": "arn:aws:iam::000000000000:role/tester", "RoleSessionName": "test"}
    assumed = sts.assume_role(**role)
    assert assumed["AssumedRoleUser"]["Arn"].endswith(":assumed-role/tester/test")
    for credentials in (assumed["Credentials"], sts.get_session_token()["Credentials"]):
        session = client(stack, "s3", credentials, signature_version=signature)
        session.put_object(Bucket=bucket, Key="k", Body=b"x")
        assert s3.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == "alice"
        url = session.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert requests.get(url, timeout=10).content == b"x"
    assert client(stack, "sts", assumed["Credentials"]).get_caller_identity()["Arn"].endswith("tester/test")
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:user/alice"


def test_tokens_that_are_none(stack: Stack, sts: Any) -> None:
    right = sts.get_session_token()["Credentials"]
    other = sts.get_session_token()["Credentials"]
    half = right["SessionToken"][: len(right["SessionToken"]) // 2]
    for change, expected in (
        ({"SessionToken": "nonsense"}, "InvalidToken"),
        ({"SessionToken": half}, "InvalidToken"),
        ({"SessionToken": other["SessionToken"]}, "SignatureDoesNotMatch"),
        ({"SecretAccessKey": "wrong"}, "SignatureDoesNotMatch"),
        ({"SessionToken": None}, "SignatureDoesNotMatch"),
    ):
        assert code(client(stack, "s3", {**right, **change}).list_buckets) == expected
    url = f"http://127.0.0.1:{stack.tabled.port}/"
    unsigned = requests.get(url, headers={"x-amz-security-token": right["SessionToken"]}, timeout=10)
    assert unsigned.status_code == 403


def test_a_session_ends(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began - 895)
    status, text = administer(stack, "--session", "--user", "alice", "--seconds", "900")
    monkeypatch.undo()
    assert status == 0
    values = dict(line.split("=", 1) for line in text.splitlines())
    names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
    session = client(stack, "s3", {**{names.get(n, "SessionToken"): v for n, v in values.items()}})
    session.list_buckets()

    wait_for(lambda: outcome(session.list_buckets) != "", "the session has ended", 30)
    assert outcome(session.list_buckets) == "ExpiredToken"


def test_a_session_is_limited_by_its_policy(stack: Stack, s3: Any, sts: Any, bucket: str) -> None:
    for key in ("mine/a", "other/a"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    limits = policy(allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/mine/*"))
    role = {"RoleArn": "arn:aws:iam::000000000000:role/tester", "RoleSessionName": "test", "Policy": limits}
    credentials = sts.assume_role(**role)["Credentials"]
    session = client(stack, "s3", credentials)
    assert session.get_object(Bucket=bucket, Key="mine/a")["Body"].read() == b"x"
    session.put_object(Bucket=bucket, Key="mine/b", Body=b"x")
    for call, arguments in (
        (session.get_object, {"Bucket": bucket, "Key": "other/a"}),
        (session.delete_object, {"Bucket": bucket, "Key": "mine/a"}),
        (session.list_objects_v2, {"Bucket": bucket}),
        (session.list_buckets, {}),
        (session.create_bucket, {"Bucket": f"{bucket}-2"}),
        (session.put_bucket_policy, {"Bucket": bucket, "Policy": "{}"}),
        (session.copy_object, {"Bucket": bucket, "Key": "mine/c", "CopySource": f"{bucket}/other/a"}),
    ):
        assert code(call, **arguments) == "AccessDenied"
    errors = session.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "mine/a"}]})["Errors"]
    assert errors[0]["Code"] == "AccessDenied"
    wider = client(stack, "sts", credentials)
    again = {**role, "Policy": policy(allow("s3:*", "*"))}
    assert code(wider.assume_role, **again) == "AccessDenied"
    assert code(sts.assume_role, **{**role, "Policy": "{}"}) == "MalformedPolicyDocument"


def test_a_users_policies_hold_within_a_second(stack: Stack, bucket: str, s3: Any) -> None:
    bob = stack.client("bob")
    bob.create_bucket(Bucket=f"{bucket}-bob")
    bob.put_object(Bucket=f"{bucket}-bob", Key="k", Body=b"x")
    options = ("--user", "bob", "--name", "read-only")
    text = policy(allow("s3:*", "*"), allow("s3:Put*", "*", "Deny"))
    assert administer(stack, "--put-policy", *options, given=text)[0] == 0
    assert "read-only" in administer(stack, "--list-policies")[1]

    def put() -> str:
        return outcome(bob.put_object, Bucket=f"{bucket}-bob", Key="k", Body=b"x")

    wait_for(lambda: put() != "", "the policy holds", 10)
    assert put() == "AccessDenied"
    bob.get_object(Bucket=f"{bucket}-bob", Key="k")
    assert administer(stack, "--delete-policy", *options)[0] == 0
    wait_for(lambda: put() == "", "the policy is gone", 10)


def test_what_tdbadm_refuses(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    for options, given, expected in (
        (["--session"], "", "needs --user"),
        (["--session", "--user", "nobody"], "", "there is no user nobody"),
        (["--session", "--user", "bob", "--seconds", "5"], "", "from 900 to"),
        (["--put-policy", "--user", "bob"], "{}", "and --name"),
        (["--put-policy", "--user", "bob", "--name", "n"], "{}", "Statement"),
        (["--delete-policy", "--user", "bob", "--name", "n"], "", "has no policy n"),
    ):
        assert administer(stack, *options, given=given)[0] == 1
        assert expected in capsys.readouterr().err


def test_of_iam_there_is_a_clear_error(stack: Stack) -> None:
    iam = client(stack, "iam", {"AccessKeyId": "alice", "SecretAccessKey": USERS["alice"]})
    with pytest.raises(ClientError) as caught:
        iam.create_user(UserName="carol")
    assert caught.value.response["Error"]["Code"] == "InvalidAction"
    assert "tdbadm" in caught.value.response["Error"]["Message"]
    wrong = client(stack, "sts", {"AccessKeyId": "alice", "SecretAccessKey": "wrong"})
    assert code(wrong.get_caller_identity) == "SignatureDoesNotMatch"
