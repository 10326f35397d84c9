"""Registration of images with clouds, `op=register`: through external programs, or another warehouse (iwhd.md 11).

The object's attribute `ami-id` says how it went: `pending SECONDS`, then `OK ID` or `failed REASON`; `none` if a
required parameter is missing.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from haild.client.http import ServiceError
from haild.client.iwhd import IwhdClient
from haild.iwhd.access import Access
from haild.iwhd.metadata import records
from haild.iwhd.metadata.port import Connection, Database
from haild.iwhd.registration.errors import NotRegistrableError, ParameterError, RegistrationFailedError
from haild.iwhd.registration.program import Outcome, run_program
from haild.iwhd.registration.programs import INVOCATIONS
from haild.iwhd.settings import ProviderSettings
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.queue import ReplicationQueue
from haild.wire.iwhd.form import Form
from haild.wire.iwhd.login import authorization

STATE_ATTRIBUTE: Final = "ami-id"
_LONGEST_ID: Final = 60
_LONGEST_REASON: Final = 56

FORWARD_DEADLINE: Final = 3600.0
"""Seconds that another warehouse may take for a registration."""

CONDOR_PROGRAM: Final = "dc-condor-image"

logger = logging.getLogger(__name__)


class Registration:
    """Registers the images of one daemon."""

    def __init__(
        self,
        database: Database,
        directory: ProviderDirectory,
        queue: ReplicationQueue,
        access: Access,
        temporary: Path,
    ) -> None:
        """`temporary`: a directory, among the daemon's own files, for files that programs read."""
        self._temporary = temporary
        self._access = access
        self._database = database
        self._directory = directory
        self._queue = queue

    async def register(self, bucket: str, key: str, form: Form) -> None:
        """Do as the form says. Raises RegistrationError, NotAllowedError, DatabaseError."""
        values = {name: value.decode("utf-8", "replace") for name, value in form.items()}
        name, _, rest = values.get("site", "").partition(":")
        provider = self._directory.get(name) if name else None
        if provider is None:
            raise ParameterError(f"no provider is called {name!r}")
        settings = provider.settings
        if settings.type == "http":
            await self._forward(settings, bucket, key, rest, values)
            return
        if settings.type not in INVOCATIONS:
            raise NotRegistrableError(f"nothing registers images with type {settings.type}")
        if rest and settings.type == "s3":
            raise ParameterError("a provider of type s3 leads to no other site")
        await self._run(settings, bucket, key, values)

    async def _forward(
        self, settings: ProviderSettings, bucket: str, key: str, rest: str, values: dict[str, str]
    ) -> None:
        if not rest:
            raise ParameterError(f"which site of {settings.name} is meant is missing")
        form = {"op": "register", "site": rest}
        form |= {name: values[name] for name in ("kernel", "ramdisk") if name in values}
        login = authorization(settings.key, settings.secret) if settings.secret else None
        async with IwhdClient(
            settings.host, settings.port, authorization=login, idle_deadline=FORWARD_DEADLINE
        ) as client:
            try:
                await client.operate(bucket, key, form)
            except ServiceError as error:
                logger.warning("registration of %s/%s at %s: %s", bucket, key, settings.name, error)

    async def _run(self, settings: ProviderSettings, bucket: str, key: str, values: dict[str, str]) -> None:
        invocation = INVOCATIONS[settings.type]
        for name in invocation.paths:
            if name in values:
                self._access.check_path(values[name], self._temporary.parent)
        with tempfile.TemporaryDirectory(prefix="register-", dir=self._temporary) as directory:
            try:
                arguments = invocation.arguments(settings, bucket, key, values, Path(directory))
            except ParameterError as error:
                logger.warning("registration of %s/%s: %s", bucket, key, error)
                await self._note(bucket, key, "none")
                raise
            await self._note(bucket, key, f"pending {int(time.time())}")
            command = _found(invocation.program)
            if command is None:
                outcome = Outcome(False, f"{invocation.program} is not installed")
                logger.error("registration of %s/%s: %s", bucket, key, outcome.text)
            else:
                outcome = await run_program(
                    [*command, *arguments], Path(settings.path) if settings.path else Path.cwd(), invocation.failure
                )
        if outcome.succeeded is None:
            raise RegistrationFailedError(f"{invocation.program} did not say how it went")
        if outcome.succeeded:
            await self._note(bucket, key, f"OK {outcome.text[:_LONGEST_ID]}")
            return
        await self._note(bucket, key, f"failed {outcome.text[:_LONGEST_REASON]}")
        raise RegistrationFailedError(outcome.text)

    async def _note(self, bucket: str, key: str, state: str) -> None:
        def change(connection: Connection) -> None:
            records.set_attributes(connection, bucket, key, [(STATE_ATTRIBUTE, state.encode())])
            self._queue.object_changed(connection, bucket, key)

        await self._database.write(change)
        self._queue.announce()


def _found(program: str) -> list[str] | None:
    """The command for a program: from PATH, else our own for Condor; None if it is not installed."""
    path = shutil.which(program)
    if path is not None:
        return [path]
    if program == CONDOR_PROGRAM:
        return [sys.executable, "-m", "haild.iwhd.registration.condor_image"]
    return None
