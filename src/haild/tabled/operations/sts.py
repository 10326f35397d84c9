"""POST /: the Security Token Service, as far as tests of applications need it (AWS STS API reference).

AssumeRole, GetSessionToken, GetFederationToken and GetCallerIdentity. There are no roles here: a user who assumes one
stays the same user, for a while, limited by the policy of the request if it has one. Of IAM there is nothing here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from haild.tabled.operations.answer import Answer
from haild.tabled.operations.call import Request
from haild.tabled.s3 import sessions
from haild.tabled.s3.authentication import Authenticator, Identity, RequestFacts
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.policy import ACCOUNT
from haild.tabled.s3.sessions import Session
from haild.tabled.s3.upload import Upload
from haild.wire.s3 import xml as s3xml

LIMIT: Final = 1 << 16
"""Bytes of a request."""
_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/([\w+=,.@/-]{1,512})")
_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}")
_SECONDS: Final = {"AssumeRole": (3600, 43_200), "GetSessionToken": (43_200, sessions.LONGEST)}
"""By action, for how long a session lasts that asks for nothing, and at most."""


async def answer(request: Request, authenticator: Authenticator) -> Answer:
    """Answer a request of the query API: always a document, also of an error."""
    try:
        body = await Upload(
            request.headers, Identity(None), request.source, request.before_reading, request.block, promised=False
        ).read(LIMIT)
        facts = RequestFacts(
            request.method,
            request.target,
            request.headers,
            request.query,
            request.address.bucket_in_host,
            body_hash=hashlib.sha256(body).hexdigest(),
        )
        identity = await authenticator.identify(facts, request.now)
        parameters = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
        action = parameters.get("Action", "")
        if identity.user is None:
            raise S3Error("AccessDenied", "The request is not signed.")
        result = await _result(request, identity, identity.user, action, parameters)
    except S3Error as error:
        return _error(error, request.request_id)
    text = (
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{result}</{action}Result><ResponseMetadata>'
        f"{s3xml.element('RequestId', request.request_id)}</ResponseMetadata></{action}Response>"
    )
    return Answer(200, {"Content-Type": "text/xml"}, text.encode())


async def _result(request: Request, identity: Identity, user: str, action: str, parameters: Mapping[str, str]) -> str:
    if action == "GetCallerIdentity":
        return _caller(identity, user)
    if action not in ("AssumeRole", "GetSessionToken", "GetFederationToken"):
        raise S3Error(
            "InvalidAction",
            f"The action {action or '(none)'} is not valid for this web service: of STS there are AssumeRole, "
            "GetSessionToken, GetFederationToken and GetCallerIdentity here, and of IAM nothing; users and their "
            "policies are made by tdbadm.",
        )
    if identity.session is not None and action != "AssumeRole":
        raise S3Error("AccessDenied", f"Cannot call {action} with session credentials")
    default, longest = _SECONDS.get(action, (43_200, sessions.LONGEST))
    seconds = sessions.duration(parameters.get("DurationSeconds", ""), default, longest)
    policy = parameters.get("Policy", "")
    if len(policy) > sessions.POLICY_LIMIT:
        raise S3Error("PackedPolicyTooLarge", f"A policy has at most {sessions.POLICY_LIMIT} characters.")
    if policy:
        sessions.check_policy(policy)
    elif identity.session is not None:
        policy = identity.session.policy  # no session gets beyond itself by another
    if identity.session is not None and identity.session.policy not in ("", policy):
        raise S3Error("AccessDenied", "A session with a policy cannot take another one.")
    name, extra = _assumed(action, parameters)
    session = sessions.new(user, request.now + seconds, policy, name)
    token = (await request.services.keys.keyring()).token(session.to_bytes())
    return _credentials(session, token) + extra


def _assumed(action: str, parameters: Mapping[str, str]) -> tuple[str, str]:
    """The session's name, and what the answer says of it beside the credentials. Raises ValidationError."""
    if action == "GetSessionToken":
        return "", ""
    name = parameters.get("RoleSessionName" if action == "AssumeRole" else "Name", "")
    if not _NAME.fullmatch(name):
        raise S3Error("ValidationError", "A session's name has 2 to 64 letters, digits and characters of +=,.@_-")
    if action == "GetFederationToken":
        arn = f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"
        ids = s3xml.element("FederatedUserId", f"{ACCOUNT}:{name}") + s3xml.element("Arn", arn)
        return name, f"<FederatedUser>{ids}</FederatedUser>"
    role = _ROLE.fullmatch(parameters.get("RoleArn", ""))
    if role is None:
        raise S3Error("ValidationError", f"{parameters.get('RoleArn', '')} is invalid: RoleArn names a role")
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role[1]}/{name}"
    ids = s3xml.element("AssumedRoleId", f"AROAHAILBOX:{name}") + s3xml.element("Arn", arn)
    return f"{role[1]}/{name}", f"<AssumedRoleUser>{ids}</AssumedRoleUser>"


def _credentials(session: Session, token: str) -> str:
    fields = (
        s3xml.element("AccessKeyId", session.key),
        s3xml.element("SecretAccessKey", session.secret),
        s3xml.element("SessionToken", token),
        s3xml.element("Expiration", s3xml.timestamp(session.expires)),
    )
    return f"<Credentials>{''.join(fields)}</Credentials>"


def _caller(identity: Identity, user: str) -> str:
    name = identity.session.name if identity.session is not None else ""
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}" if "/" in name else f"arn:aws:iam::{ACCOUNT}:user/{user}"
    fields = (s3xml.element("Arn", arn), s3xml.element("UserId", user), s3xml.element("Account", ACCOUNT))
    return "".join(fields)


def _error(error: S3Error, request_id: str) -> Answer:
    fields = (
        s3xml.element("Type", "Sender" if error.status < 500 else "Receiver"),
        s3xml.element("Code", error.code),
        s3xml.element("Message", error.message),
    )
    text = (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{"".join(fields)}</Error>'
        f"{s3xml.element('RequestId', request_id)}</ErrorResponse>"
    )
    return Answer(error.status, {"Content-Type": "text/xml", **error.headers}, text.encode())
