"""Delivers the queued events of buckets to webhooks: each is a POST of its JSON, until it is taken or given up.

At least once, as S3 does: an event is forgotten after the webhook has answered 2xx, so a crash in between sends it
again. What a webhook does not take waits longer each time; other events of its bucket do not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from haild.tabled.metadata.events import Event
from haild.tabled.metadata.port import Metadata

BATCH: Final = 64
"""Events that are under way at a time."""
DEADLINE: Final = 10.0
"""Seconds that a webhook has for its answer."""
LONGEST_PAUSE: Final = 300.0
MOST_ATTEMPTS: Final = 200
"""More than half a day of them; then the event is given up."""

if TYPE_CHECKING:
    from haild.client.webhook import WebhookClient

logger = logging.getLogger(__name__)


class Webhooks:
    """The job. `wake` says that there may be new events."""

    def __init__(self, metadata: Metadata, urls: Mapping[str, str]) -> None:
        """`urls`: by the destination's ARN; the empty one takes those that are not named."""
        self._metadata = metadata
        self._urls = urls
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Deliver for ever. Raises what the metadata raise."""
        if not self._urls:
            await self._run(None)
            return
        # The HTTP library takes a third of the time until tabled serves; only webhooks need it.
        from haild.client.webhook import WebhookClient

        async with WebhookClient(DEADLINE) as client:
            await self._run(client)

    async def _run(self, client: WebhookClient | None) -> None:
        while True:
            self.changed.clear()
            events = await self._metadata.due_events(time.time(), BATCH)
            if events:
                await self._deliver(client, events)
            else:
                await self._rest()

    async def _rest(self) -> None:
        due = await self._metadata.next_event()
        try:
            async with asyncio.timeout(None if due is None else max(due - time.time(), 0.01)):
                await self.changed.wait()
        except TimeoutError:
            pass

    async def _deliver(self, client: WebhookClient | None, events: Sequence[Event]) -> None:
        outcomes = await asyncio.gather(*(self._post(client, event) for event in events))
        done, failed = [], []
        for event, trouble in zip(events, outcomes, strict=True):
            if trouble and event.attempts < MOST_ATTEMPTS:
                if not event.attempts:
                    logger.warning(
                        "an event for %s is not delivered and will be tried again: %s", event.target, trouble
                    )
                pause = min(2.0**event.attempts, LONGEST_PAUSE) if event.attempts < 20 else LONGEST_PAUSE
                failed.append((event.sequence, time.time() + pause * random.uniform(0.7, 1.3)))  # noqa: S311
            else:
                if trouble:
                    logger.error("an event for %s is given up: %s", event.target, trouble)
                done.append(event.sequence)
        await self._metadata.settle_events(done, failed)

    async def _post(self, client: WebhookClient | None, event: Event) -> str:
        """Post an event; returns what went wrong, empty for nothing."""
        url = self._urls.get(event.target) or self._urls.get("")
        if url is None or client is None:
            return "the configuration has no <Webhook> for it"
        headers = {"Content-Type": "application/json", "x-amz-event-target": event.target}
        return await client.post(url, event.text.encode(), headers)
