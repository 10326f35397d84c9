"""What went wrong between us and the engine, as errors of hailbox. The only place that translates them."""

from __future__ import annotations

from typing import Any, Final

from hailbox.engine.docker.address import Address
from hailbox.engine.docker.sdk import APIError, DockerException, requests, urllib3
from hailbox.model import refusals
from hailbox.model.errors import EngineDeniedError, EngineFailedError, EngineUnreachableError, HailboxError

FAILURES: Final = (
    *(DockerException, requests.RequestException, urllib3.exceptions.HTTPError),
    *(OSError, ValueError, KeyError, TypeError),
)
"""What the package and the libraries below it raise. ValueError: an answer that is no JSON; KeyError and TypeError:
JSON without what the package takes for granted."""

_LATE: Final = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_CUT_SHORT: Final = (
    requests.exceptions.ChunkedEncodingError,
    *(urllib3.exceptions.IncompleteRead, urllib3.exceptions.InvalidChunkLength),
)


def status_of(error: BaseException) -> int | None:
    """The HTTP status with which the engine refused a request; None for any other failure."""
    refusal = _refused(error)
    return None if refusal is None else int(refusal.response.status_code)


def _refused(error: BaseException) -> Any:
    for cause in _causes(error):
        if isinstance(cause, (APIError, requests.HTTPError)) and cause.response is not None:
            return cause
    return None


def translate(error: Exception, address: Address, where: str) -> HailboxError:
    """The error that tells a user of one of FAILURES; `where`: the address, and what it leads to."""
    if refusal := _refused(error):
        return _refusal(int(refusal.response.status_code), _said(refusal.response), where)
    causes = _causes(error)
    # A refused connection is a kind of timeout in the libraries' words, so the system's word goes first.
    said = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if said is None and any(isinstance(cause, _LATE) for cause in causes):
        return EngineUnreachableError(
            f"the engine at {where} did not answer in time", "see whether it hangs: docker info"
        )
    if any(isinstance(cause, _CUT_SHORT) for cause in causes):
        return EngineUnreachableError(
            f"no engine answers at {where}: its answer was cut short", _remedy(error, address)
        )
    reason = said or causes[-1]
    if isinstance(reason, PermissionError):
        return EngineDeniedError(
            f"the engine at {where} refuses this user",
            "join the group docker and log in again, run as root, or set DOCKER_HOST to your own engine",
        )
    return EngineUnreachableError(f"no engine answers at {where}: {_words(reason)}", _remedy(error, address))


def _refusal(status: int, said: str, where: str) -> HailboxError:
    if status in (401, 403):
        return EngineDeniedError(
            f"the engine at {where} refuses this request: {said}", "ask the person who runs it for access"
        )
    return refusals.known(said) or EngineFailedError(
        f"the engine at {where} answered with an error: {said}",
        "run the command again; `docker info` shows whether the engine is well",
    )


def _said(response: Any) -> str:
    """The first line of what the engine says: JSON with a `message`, or plain text from what stands between us."""
    try:
        said = str(response.json()["message"])
    except (ValueError, LookupError, TypeError):
        said = response.text
    lines = said.strip().splitlines()
    return lines[0] if lines else str(response.reason or "nothing more")


def _causes(error: BaseException) -> list[BaseException]:
    """The error and everything that it was made of: the libraries wrap one in another as an argument."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and all(current is not known for known in found):
            found.append(current)
            waiting += [*current.args, getattr(current, "reason", None), current.__cause__, current.__context__]
    return found


def _words(reason: BaseException) -> str:
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return (str(reason).splitlines() or [""])[0] or type(reason).__name__


def _remedy(error: Exception, address: Address) -> str:
    if address.over_ssh:
        return f"see what this says: docker --host {address.text} version"
    if type(error) is DockerException and address.chosen:
        return "mend DOCKER_HOST, or the docker client's context: unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST"
    return (
        "start it (systemctl start docker, or Docker Desktop), or set DOCKER_HOST; `make engine` in a checkout of "
        "hailbox installs and starts one on Debian or Ubuntu"
    )
