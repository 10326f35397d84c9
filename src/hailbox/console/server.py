"""The HTTP server of the console: pages, their live parts, and what their forms ask for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from hailbox.console import actions, scrape
from hailbox.console import objects as stored
from hailbox.console.changes import in_thread
from hailbox.console.console import Console
from hailbox.console.guard import HEADERS
from hailbox.console.pages import bench, cld, faults, objects, trace
from hailbox.console.pages import map as map_page
from hailbox.console.pages import replica as replica_page
from hailbox.console.pages.page import Page
from hailbox.console.state import Health, Problem, View, defect
from hailbox.console.templating import Templates
from hailbox.context import Context
from hailbox.engine.port import ContainerState
from hailbox.model.errors import HailboxError
from hailbox.observe import observe
from haild.client.http import RefusedError, ServiceError

PAGES: Final = (
    map_page.PAGE,
    replica_page.PAGE,
    objects.PAGE,
    objects.OBJECT,
    cld.PAGE,
    trace.PAGE,
    faults.PAGE,
    faults.CONFIRM,
    bench.PAGE,
)
COMMON: Final = ("banner", "activity")
"""Parts that every page has."""

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {"console.svg": "image/svg+xml", "console.js": "text/javascript", "console.css": "text/css"}
_ALIVE: Final = 15.0
"""Seconds after which a page is sent a sign of life."""

_SHARED: Final = 100
"""Pages whose parts are kept for all that look at them."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class _Shared:
    """The parts of a page: by which count of changes and when they were begun to be gathered."""

    count: int
    began: float
    parts: asyncio.Future[Mapping[str, str]]


class Server:
    """Answers requests to one console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._templates = Templates()
        self._shared: OrderedDict[str, _Shared] = OrderedDict()
        self.app = web.Application(middlewares=[self._guarded], client_max_size=64 << 10)
        for page in PAGES:
            self.app.router.add_get(page.path, self._page(page))
            if page.every:
                self.app.router.add_get(f"/live{page.path}", self._live(page))
        self.app.router.add_post("/do", self._do)
        self.app.router.add_get("/metrics", self._metrics)
        self.app.router.add_get("/download", self._download)
        self.app.router.add_get("/static/{name}", self._static)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        guard = self._console.guard
        given = request.query.get("token") if request.path == "/" else None
        headers = request.headers
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")  # Prometheus keeps no cookies
        token = given or (bearer if scheme == "Bearer" else request.cookies.get(guard.cookie))
        if why := guard.refusal(request.method, headers.get("Host"), headers.get("Origin"), token):
            return web.Response(status=403, text=f"403: {why}\n", headers=HEADERS)
        if given is not None:
            answer = web.Response(status=303, headers={**HEADERS, "Location": "/"})
            answer.set_cookie(guard.cookie, guard.token, httponly=True, samesite="Strict", path="/")
            return answer
        self._console.watcher.want()
        try:
            answered = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.status}: {error.reason}\n", headers=HEADERS)
        if not answered.prepared:
            for name, value in HEADERS.items():
                answered.headers.setdefault(name, value)
        return answered

    async def _static(self, request: web.Request) -> web.StreamResponse:
        kind = _TYPES.get(request.match_info["name"])
        if kind is None:
            raise web.HTTPNotFound
        text = (_STATIC / request.match_info["name"]).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=kind, charset="utf-8")

    # Pages and their parts.

    def _page(self, page: Page) -> _Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            values, status = await self._gathered(page, request)
            if page.name == "replica" and status == 200:
                values |= await self._whole(request)
            query = f"?{urlencode(list(request.query.items()))}" if request.query else ""
            values["live"] = f"/live{request.path_qs.partition('?')[0]}{query}" if page.every else ""
            values["parts"] = self._parts(page, values)
            template = f"{page.name}.html" if status == 200 else "failed.html"
            text = self._templates.render(template, values)
            return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")

        return answer

    async def _whole(self, request: web.Request) -> dict[str, Any]:
        try:
            return await replica_page.gather_whole(self._console, self._query(request))
        except HailboxError:
            return {"configuration": []}  # the banner says what is wrong

    def _query(self, request: web.Request) -> Mapping[str, str]:
        return {**request.query, **request.match_info}

    async def _gathered(self, page: Page, request: web.Request) -> tuple[dict[str, Any], int]:
        """What the templates of a page show, and the status of the answer."""
        console, status, problem = self._console, 200, None
        gathered: dict[str, Any] = {}
        if console.view == View(console.stack):  # the first page that is opened
            await console.changes.wait(console.changes.count, 3.0)
        try:
            gathered = await page.gather(console, self._query(request))
        except HailboxError as error:
            status, problem = (503 if console.view.error else 404), Problem.of(error)
        except Exception as error:
            status, problem = 500, Problem.of(defect(error))
        values = {
            "page": page,
            "menu": [each for each in PAGES if each.in_menu],
            "stack": console.stack,
            "view": console.view,
            "jobs": console.jobs.all,
            "problem": problem,
            "back": request.path_qs.removeprefix("/live"),
            **gathered,
        }
        return values, status

    def _parts(self, page: Page, values: dict[str, Any]) -> dict[str, str]:
        wanted = COMMON if values["problem"] else (*COMMON, *page.parts)
        return {part: self._templates.render(f"parts/{part}.html", values) for part in wanted}

    async def _shared_parts(self, page: Page, request: web.Request) -> Mapping[str, str]:
        """The live parts of a page, gathered once for all that look at the same."""
        console, now = self._console, asyncio.get_running_loop().time()
        known = self._shared.get(request.path_qs)
        if known is None or known.count != console.changes.count or now - known.began >= 0.9 * page.every:

            async def render() -> Mapping[str, str]:
                values, _ = await self._gathered(page, request)
                return self._parts(page, values)

            known = _Shared(console.changes.count, now, asyncio.ensure_future(render()))
            self._shared[request.path_qs] = known
            while len(self._shared) > _SHARED:
                self._shared.popitem(last=False)
            self._shared.move_to_end(request.path_qs)
        # Shielded: the page that has asked first may be closed.
        return await asyncio.shield(known.parts)

    def _live(self, page: Page) -> _Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            stream = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
            await stream.prepare(request)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):  # the page was closed, or we end
                await self._follow(page, request, stream)
            return stream

        return answer

    async def _follow(self, page: Page, request: web.Request, stream: web.StreamResponse) -> None:
        """Send the parts of a page whenever they change, until it is closed."""
        console, loop = self._console, asyncio.get_running_loop()
        sent: dict[str, str] = {}
        spoke = loop.time()
        tail = replica_page.LogTail(request.match_info["name"]) if page.name == "replica" else None
        rows = trace.Rows(request.query) if page.name == "trace" else None
        while request.transport is not None and not request.transport.is_closing():
            seen = console.changes.count
            console.watcher.want()
            parts = await self._shared_parts(page, request)
            if fresh := {name: text for name, text in parts.items() if sent.get(name) != text}:
                await _send(stream, "parts", fresh)
                sent |= fresh
                spoke = loop.time()
            if tail is not None and (lines := await _lines(tail, console.context())):
                await _send(stream, "lines", lines)
                spoke = loop.time()
            if rows is not None and (new := rows.new(console)):
                await _send(stream, "rows", self._templates.render("rows.html", {"rows": new}))
                spoke = loop.time()
            if loop.time() - spoke > _ALIVE:
                await stream.write(b": alive\n\n")
                spoke = loop.time()
            await console.changes.wait(seen, 1.0 if tail else page.every)

    async def _metrics(self, _request: web.Request) -> web.StreamResponse:
        """What the daemons count, for Prometheus."""
        console = self._console
        context, view = console.context(), console.view

        def gather() -> str:
            observed = observe(context.engine, context.stack)
            running = [
                (name, container)
                for name, container in scrape.containers(observed.containers)
                if container.state is ContainerState.RUNNING and view.replica(name) is not None
            ]
            with ThreadPoolExecutor(max_workers=8) as pool:
                texts = list(pool.map(lambda each: scrape.read(context, each[1]), running))
            latest = {replica.name: console.resources.latest(replica.name) for replica in view.replicas}
            return scrape.page(
                {name: text for (name, _), text in zip(running, texts, strict=True)},
                {replica.name: replica.service for replica in view.replicas},
                {replica.name: replica.health is Health.WORKS for replica in view.replicas},
                {name: sample.memory for name, sample in latest.items() if sample is not None},
            )

        try:
            text = await in_thread(gather)
        except HailboxError as error:
            return web.Response(status=503, text=f"{error.problem}\n")
        return web.Response(body=text.encode(), headers={"Content-Type": scrape.CONTENT_TYPE})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """An object of tabled or iwhd, which no browser takes for a page of ours."""
        query = request.query
        key = query.get("key", "")
        found = stored.blocks(self._console.context(), query.get("service", "tabled"), query.get("bucket", ""), key)
        headers = {
            **HEADERS,
            "Content-Type": "application/octet-stream",
            "Content-Disposition": "".join(stored.file_name(key)),
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
        stream = web.StreamResponse(headers=headers)
        async with contextlib.aclosing(found):
            try:
                async for block in found:
                    if isinstance(block, bytes):
                        await stream.write(block)
                        continue
                    stream.content_length = block.size
                    await stream.prepare(request)
            except (ServiceError, HailboxError) as error:
                if stream.prepared:  # the length that was promised is missing: the browser says that it broke off
                    raise ConnectionResetError(str(error)) from error
                status = error.status if isinstance(error, RefusedError) else 502
                return web.Response(status=status, text=f"{error}\n")
        return stream

    # Forms.

    async def _do(self, request: web.Request) -> web.StreamResponse:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        back = form.get("back", "/")
        if not back.startswith("/") or back.startswith("//") or "\\" in back:
            back = "/"
        try:
            asked = actions.bench(form, self._console.keep) if form.get("action") == "bench" else actions.task(form)
            self._console.jobs.start(asked)
        except HailboxError as error:
            self._console.jobs.refuse(form.get("action", ""), error)
        return web.Response(status=303, headers={"Location": back})


async def _send(stream: web.StreamResponse, event: str, data: Any) -> None:
    await stream.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())


async def _lines(tail: replica_page.LogTail, context: Context) -> list[str]:
    try:
        return await in_thread(lambda: tail.lines(context))
    except HailboxError:
        return []  # the banner says what is wrong


async def serve(context: Context, ready: Callable[[str], None], port: int = 0) -> None:
    """Serve the console of that context's stack on loopback until cancelled. `ready` is given its address.

    `port`: 0 for any that is free. Raises OSError if it is not.
    """
    listener = socket.create_server(("127.0.0.1", port))
    console = Console.of(context, listener.getsockname()[1])
    runner = web.AppRunner(Server(console).app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        console.start()
        ready(console.guard.url)
        await asyncio.Event().wait()
    finally:
        console.stop()
        await runner.cleanup()
