"""Cross-origin requests: rules of a bucket, preflight, headers on answers (S3 user guide, "Using CORS")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from haild.tabled.operations.call import Answer, Call, xml
from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.wildcard import like
from haild.wire.s3 import xml as s3xml

SETTING = "cors"
MOST_RULES = 100
DOCUMENT_LIMIT = 64 << 10
_METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")


@dataclass(frozen=True)
class Rule:
    """One rule; origins and headers may hold one `*`."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    maximum_age: str = ""
    name: str = ""

    def allows(self, origin: str, method: str, headers: list[str]) -> bool:
        """Whether a request from `origin` with these headers may use `method`."""
        return (
            method in self.methods
            and any(like(pattern, origin) for pattern in self.origins)
            and all(any(like(p.lower(), h.lower()) for p in self.headers) for h in headers)
        )

    def answer(self, origin: str) -> dict[str, str]:
        """The headers that tell the browser."""
        everybody = "*" in self.origins
        found = {
            "Access-Control-Allow-Origin": "*" if everybody else origin,
            "Access-Control-Allow-Methods": ", ".join(self.methods),
            "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        }
        if not everybody:
            found["Access-Control-Allow-Credentials"] = "true"
        if self.exposed:
            found["Access-Control-Expose-Headers"] = ", ".join(self.exposed)
        if self.maximum_age:
            found["Access-Control-Max-Age"] = self.maximum_age
        return found


def read(root: s3xml.Element) -> list[Rule]:
    """The rules of a CORSConfiguration. Raises S3Error."""
    rules = []
    for element in root.all("CORSRule"):

        def values(name: str, element: s3xml.Element = element) -> tuple[str, ...]:
            return tuple(child.text.strip() for child in element.all(name))

        rule = Rule(
            values("AllowedOrigin"),
            values("AllowedMethod"),
            values("AllowedHeader"),
            values("ExposeHeader"),
            element.value("MaxAgeSeconds").strip(),
            element.value("ID").strip(),
        )
        if not rule.origins or not rule.methods or (rule.maximum_age and not rule.maximum_age.isdecimal()):
            raise S3Error("MalformedXML", "A CORSRule needs AllowedOrigin and AllowedMethod.")
        if any(method not in _METHODS for method in rule.methods):
            raise S3Error("InvalidRequest", "Found unsupported HTTP method in CORS config.")
        if any(text.count("*") > 1 for text in (*rule.origins, *rule.headers)):
            raise S3Error("InvalidRequest", "AllowedOrigin and AllowedHeader can not have more than one wildcard.")
        rules.append(rule)
    if not 0 < len(rules) <= MOST_RULES:
        raise S3Error("MalformedXML", f"A CORSConfiguration has 1 to {MOST_RULES} rules.")
    return rules


def _load(text: str) -> list[Rule]:
    return [
        Rule(
            tuple(rule["origins"]),
            tuple(rule["methods"]),
            tuple(rule["headers"]),
            tuple(rule["exposed"]),
            rule["maximum_age"],
            rule["name"],
        )
        for rule in json.loads(text)
    ]


async def get_cors(call: Call) -> Answer:
    """GET ?cors."""
    text = await call.metadata.setting(call.bucket.name, SETTING)
    if text is None:
        raise S3Error(
            "NoSuchCORSConfiguration",
            "The CORS configuration does not exist",
            fields={"BucketName": call.bucket.name},
        )
    parts = []
    for rule in _load(text):
        fields = [s3xml.element("ID", rule.name)] if rule.name else []
        fields += [s3xml.element("AllowedOrigin", value) for value in rule.origins]
        fields += [s3xml.element("AllowedMethod", value) for value in rule.methods]
        fields += [s3xml.element("AllowedHeader", value) for value in rule.headers]
        fields += [s3xml.element("ExposeHeader", value) for value in rule.exposed]
        if rule.maximum_age:
            fields.append(s3xml.element("MaxAgeSeconds", rule.maximum_age))
        parts.append(f"<CORSRule>{''.join(fields)}</CORSRule>")
    return xml(s3xml.document("CORSConfiguration", *parts))


async def put_cors(call: Call) -> Answer:
    """PUT ?cors."""
    rules = read(await call.document("CORSConfiguration", DOCUMENT_LIMIT))
    await call.metadata.set_setting(call.bucket.name, SETTING, json.dumps([asdict(rule) for rule in rules]))
    return Answer()


async def delete_cors(call: Call) -> Answer:
    """DELETE ?cors."""
    await call.metadata.set_setting(call.bucket.name, SETTING, None)
    return Answer(204)


async def _find(call: Call, origin: str, method: str, headers: list[str]) -> Rule | None:
    if call.found_bucket is None or SETTING not in call.found_bucket.settings:
        return None
    text = await call.metadata.setting(call.found_bucket.name, SETTING)
    rules = [] if text is None else _load(text)
    return next((rule for rule in rules if rule.allows(origin, method, headers)), None)


async def preflight(call: Call) -> Answer:
    """OPTIONS: may a script from Origin send such a request? Needs no signature."""
    origin, method = call.headers.get("Origin"), call.headers.get("Access-Control-Request-Method")
    if origin is None or method is None:
        raise S3Error("InvalidRequest", "Insufficient information. Origin request header needed.")
    listed = call.headers.get("Access-Control-Request-Headers", "")
    headers = [name.strip() for name in listed.split(",") if name.strip()]
    call.found_bucket = await call.metadata.bucket(call.address.bucket) if call.address.bucket else None
    rule = await _find(call, origin, method, headers)
    if rule is None:
        raise S3Error("AccessForbidden", "CORSResponse: This CORS request is not allowed.")
    found = rule.answer(origin)
    if headers:
        found["Access-Control-Allow-Headers"] = ", ".join(headers)
    return Answer(headers=found)


async def headers_for(call: Call) -> Mapping[str, str]:
    """The headers that an answer needs for a script from elsewhere to see it."""
    origin = call.headers.get("Origin")
    if origin is None or call.method == "OPTIONS" or not call.address.bucket:
        return {}
    if call.found_bucket is None:
        call.found_bucket = await call.metadata.bucket(call.address.bucket)
    rule = await _find(call, origin, call.method, [])
    return {} if rule is None else rule.answer(origin)
