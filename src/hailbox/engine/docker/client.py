"""One client of the engine, made for many threads at once."""

from __future__ import annotations

from typing import Any, Final, Self

from hailbox.engine.docker import objects, ssh
from hailbox.engine.docker.address import Address
from hailbox.engine.docker.sdk import APIClient, requests, urllib3, without_configuration
from hailbox.engine.port import EngineVersion

TIMEOUT: Final = 60
"""Seconds without a byte; removing a container of a loaded engine may take several."""

_ANY: Final = "1.41"
"""Of the API: named where none is used yet."""

_CONNECTIONS: Final = 64
"""Kept at most; as many threads as want to ask at once, and none waits for another."""


class _OnceMore(urllib3.Retry):
    """Repeat what only looks, once, if the engine closed the connection; never what changes something, as no one
    knows whether the engine has read it; nor what has taken its time in vain."""

    def __init__(self, left: int = 1, **_other: Any) -> None:
        super().__init__(total=left, allowed_methods=("GET", "HEAD"), raise_on_status=False)

    def new(self, **changes: Any) -> Self:
        return type(self)(left=int(changes.get("total", 0)))

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Self:
        if error is not None and not isinstance(error, urllib3.exceptions.ProtocolError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def connect(address: Address) -> tuple[APIClient, EngineVersion]:
    """A client of that engine that speaks the engine's own version of the API, and what the engine is.

    Raises what the package raises, of its own and of requests.
    """
    # Not the package's own detection: that would ask before the session is set up.
    said: dict[str, Any] = _client(address, _ANY).version(api_version=False)
    version = objects.version({"Version": "?", "ApiVersion": _ANY, "Os": "?", "Arch": "?"} | said)
    return _client(address, version.api), version


def _client(address: Address, version: str) -> APIClient:
    with without_configuration():
        client = APIClient(
            base_url=address.url,
            version=version,
            timeout=TIMEOUT,
            tls=address.tls or False,
            user_agent="hailbox",
            use_ssh_client=True,
            max_pool_size=_CONNECTIONS,
        )
    if address.tls is not None and not address.tls.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it is what the user asks for
    # No proxy of the shell's, and no netrc, stands between us and the engine.
    client.trust_env = False
    if address.over_ssh:
        ssh.install()  # each request is a program of its own, which is started once: it may ask for a password
    elif client.base_url.startswith("http+docker://"):
        client.get_adapter(client.base_url).max_retries = _OnceMore()
    else:
        client.mount(
            client.base_url, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=_OnceMore())
        )
    return client
