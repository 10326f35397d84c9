"""`env`: where a stack is reached and with which credentials, as environment variables."""

from __future__ import annotations

from typing import Final

from hailbox.context import Context
from hailbox.observe import present
from hailbox.stack import credentials
from hailbox.stack.ports import LOOPBACK

REGION: Final = "us-east-1"
"""tabled accepts any region; clients need one."""


def env(context: Context) -> dict[str, str]:
    """The variables by name; those of services that the stack does not have are left out.

    Raises UnknownStackError if there is no such stack, or it never was up.
    """
    observed = present(context.engine, context.stack)
    kept = credentials.require_kept(context.engine, observed)
    secrets = kept.credentials
    addresses: dict[str, list[str]] = {}
    for (_, port), number in sorted(observed.ports.items()):
        addresses.setdefault(port, []).append(f"{LOOPBACK}:{number}")
    variables = {"HAILBOX_STACK": context.stack}
    if iwhd := addresses.get("iwhd"):
        variables["IWHD_URL"] = f"http://{iwhd[0]}"
        variables["IWHD_URLS"] = ",".join(f"http://{address}" for address in iwhd)
        token = secrets["IWHD_TOKEN"]
        if any(path.startswith("iwhd") and token.encode() in text for path, text in kept.files.items()):
            variables["IWHD_TOKEN"] = token  # iwhd asks for it
    if s3 := addresses.get("s3"):
        variables |= {
            "AWS_ENDPOINT_URL": f"http://{s3[0]}",
            "TABLED_URLS": ",".join(f"http://{address}" for address in s3),
            "AWS_ACCESS_KEY_ID": secrets["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": secrets["AWS_SECRET_ACCESS_KEY"],
            "AWS_DEFAULT_REGION": REGION,
        }
    if cld := addresses.get("cld"):
        variables |= {"CLD_ADDRESS": cld[0], "CLD_USER": secrets["CLD_USER"], "CLD_SECRET": secrets["CLD_SECRET"]}
    if chunk := addresses.get("chunk"):
        variables |= {
            "CHUNKD_ADDRESSES": ",".join(chunk),
            "CHUNKD_USER": secrets["CHUNK_USER"],
            "CHUNKD_SECRET": secrets["CHUNK_SECRET"],
        }
    return variables
