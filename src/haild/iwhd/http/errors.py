"""How a request is refused: handlers raise, and each kind of error has its status in one table (iwhd.md section 4).

RequestError                 a refusal that only HTTP knows, with its status
everything else              errors of the rooms below, by kind
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haild.http.request import BadBodyError
from haild.iwhd.access import NotAllowedError
from haild.iwhd.http.body import BodyTooLargeError, SlowClientError
from haild.iwhd.metadata.evaluation import BudgetError
from haild.iwhd.metadata.port import DatabaseError
from haild.iwhd.metadata.records import DamagedAttributeError
from haild.iwhd.provider.base import DamagedError, MissingError, ProviderError, UnavailableError
from haild.iwhd.registration.errors import NotRegistrableError, ParameterError, RegistrationFailedError
from haild.iwhd.settings import ProviderSettingsError
from haild.iwhd.warehouse.bucket import NotEmptyError
from haild.iwhd.warehouse.master import MasterRefusedError
from haild.wire.iwhd.form import FormError, FormTypeError


class RequestError(Exception):
    """The request is refused with `status`; the answer's body is the text. `close` ends the connection."""

    def __init__(
        self, status: int, text: str = "", *, close: bool = False, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.close = close
        self.headers = headers or {}


STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (UnavailableError, 503),
    (DatabaseError, 503),
    (BudgetError, 422),
    (MissingError, 404),
    (DamagedAttributeError, 500),
    (ProviderError, 500),
    (NotAllowedError, 403),
    (ProviderSettingsError, 400),
    (NotEmptyError, 409),
    (ParameterError, 400),
    (NotRegistrableError, 501),
    (RegistrationFailedError, 500),
    (FormTypeError, 415),
    (FormError, 400),
    (BodyTooLargeError, 413),
    (SlowClientError, 408),
    (BadBodyError, 400),
)
"""By kind of error, the first that fits; any other error is a defect of ours."""

WITH_TEXT: Final = (NotEmptyError, NotAllowedError, BudgetError, DamagedError, DamagedAttributeError)
"""Errors whose text is for the client; the contract wants no body with the others."""


def status_of(error: Exception) -> int | None:
    """The status that answers `error`; None for a defect."""
    if isinstance(error, RequestError | MasterRefusedError):
        return error.status
    return next((status for kind, status in STATUSES if isinstance(error, kind)), None)
