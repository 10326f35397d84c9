"""Cross-origin requests: the rules of a bucket (S3 user guide, "Using CORS"). Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.wildcard import like
from haild.wire.s3 import xml as s3xml

SETTING: Final = "cors"
MOST_RULES: Final = 100
DOCUMENT_LIMIT: Final = 64 << 10
_METHODS: Final = ("GET", "PUT", "HEAD", "POST", "DELETE")


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


def to_text(rules: list[Rule]) -> str:
    """The rules as they are stored."""
    return json.dumps([asdict(rule) for rule in rules])


def from_text(text: str) -> list[Rule]:
    """The rules that `to_text` wrote."""
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


def document(rules: list[Rule]) -> bytes:
    """The rules as a CORSConfiguration."""
    parts = []
    for rule in rules:
        fields = [s3xml.element("ID", rule.name)] if rule.name else []
        fields += [s3xml.element("AllowedOrigin", value) for value in rule.origins]
        fields += [s3xml.element("AllowedMethod", value) for value in rule.methods]
        fields += [s3xml.element("AllowedHeader", value) for value in rule.headers]
        fields += [s3xml.element("ExposeHeader", value) for value in rule.exposed]
        if rule.maximum_age:
            fields.append(s3xml.element("MaxAgeSeconds", rule.maximum_age))
        parts.append(f"<CORSRule>{''.join(fields)}</CORSRule>")
    return s3xml.document("CORSConfiguration", *parts)
