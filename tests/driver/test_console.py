"""The console on the in-memory engine: who may see it, what it shows, and that its forms are verbs."""

from __future__ import annotations

import asyncio
import contextlib
import html
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import aiohttp
import pytest

from hailbox.commands.up import up
from hailbox.console import actions, drawing
from hailbox.console.guard import Guard
from hailbox.console.server import serve
from hailbox.console.state import Health, ReplicaView, View, links
from hailbox.console.watcher import Watcher
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState
from hailbox.model.errors import EngineUnreachableError, UsageError
from support.fakestack import MakeContext, container_of, set_state

DEADLINE = 20.0


class Browser:
    """A client of a console that runs in this event loop."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.base = url.partition("/?")[0]
        self.session = session

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(self.base + path, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def post(self, origin: str | None = None, **form: str) -> int:
        headers = {"Origin": self.base if origin is None else origin} if origin != "" else {}
        async with self.session.post(f"{self.base}/do", data=form, headers=headers, allow_redirects=False) as answer:
            return answer.status

    async def until(self, path: str, holds: Callable[[str], bool]) -> str:
        """The page once it shows what is waited for."""
        async with asyncio.timeout(DEADLINE):
            while True:
                _, text = await self.get(path)
                if holds(text):
                    return text
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def console(make_context: MakeContext, **choices: object) -> AsyncIterator[Browser]:
    """A console, and a browser that has opened its address."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(make_context(**choices), address.set_result))
    try:
        await asyncio.wait({address, serving}, return_when=asyncio.FIRST_COMPLETED)
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            browser = Browser(await address, session)
            async with session.get(browser.url) as answer:
                assert answer.status == 200
                assert "token" not in str(answer.url)
            yield browser
    finally:
        serving.cancel()
        await asyncio.wait({serving})


@pytest.mark.parametrize(
    ("method", "host", "origin", "token", "allowed"),
    [
        ("GET", "127.0.0.1:80", None, "right", True),
        ("GET", "localhost:80", None, "right", True),
        ("POST", "127.0.0.1:80", "http://127.0.0.1:80", "right", True),
        ("GET", "127.0.0.1:80", None, None, False),
        ("GET", "127.0.0.1:80", None, "wrong", False),
        ("GET", "127.0.0.1:80", None, "r\udcffght", False),
        ("GET", "127.0.0.1:81", None, "right", False),
        ("GET", "evil.example", None, "right", False),
        ("GET", "127.0.0.1.evil.example:80", None, "right", False),
        ("GET", None, None, "right", False),
        ("GET", "127.0.0.1:80", "http://evil.example", "right", False),
        ("GET", "127.0.0.1:80", "null", "right", False),
        ("POST", "127.0.0.1:80", "https://127.0.0.1:80", "right", False),
        ("POST", "127.0.0.1:80", None, "right", False),
    ],
)
def test_only_its_own_pages_with_its_token_reach_a_console(
    method: str, host: str | None, origin: str | None, token: str | None, allowed: bool
) -> None:
    assert (Guard(80, "right").refusal(method, host, origin, token) is None) is allowed


async def test_requests_without_the_token_or_from_elsewhere_are_refused(make_context: MakeContext) -> None:
    up(make_context())
    async with console(make_context) as browser, aiohttp.ClientSession() as stranger:
        for path in ("/", "/replica/cld-1", "/live/", "/static/console.js", "/?token=wrong"):
            async with stranger.get(browser.base + path) as answer:
                assert answer.status == 403, path
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        port = urlsplit(browser.base).port
        assert (await browser.get("/", Host=f"evil.example:{port}"))[0] == 403
        assert (await browser.get("/", Origin="http://evil.example"))[0] == 403
        assert await browser.post("http://evil.example", action="up") == 403
        assert await browser.post("", action="up") == 403
        assert (await browser.get("/"))[0] == 200
        cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
        (cookie,) = cookies.values()
        assert cookie["httponly"]
        assert cookie["samesite"] == "Strict"


async def test_the_map_shows_a_replica_that_ends_and_one_that_is_restarted_by_a_form(
    fake: FakeEngine, make_context: MakeContext
) -> None:
    up(make_context(scale={"chunkd": 2}))
    async with console(make_context) as browser:
        await browser.until("/", lambda text: text.count("state works") == 5)
        set_state(fake, "chunkd-2", ContainerState.EXITED)
        text = await browser.until("/", lambda text: "its container is exited" in text)
        assert "state faulty" in text
        assert await browser.post(action="restart", replica="chunkd-2", back="/replica/chunkd-2") == 303
        text = await browser.until("/", lambda text: "restarted: chunkd-2" in text)
        assert "hailbox --stack test restart chunkd-2" in text
        await browser.until("/", lambda text: text.count("state works") >= 5)
        assert container_of(fake, "chunkd-2").state is ContainerState.RUNNING


async def test_a_stack_that_is_not_there_yet_is_told_and_then_shown(make_context: MakeContext) -> None:
    async with console(make_context) as browser:
        text = await browser.until("/", lambda text: "there is no stack" in text)
        assert "hailbox --stack test up" in text
        up(make_context())
        await browser.until("/", lambda text: text.count("state works") == 4)


async def test_an_engine_that_goes_and_comes_back_is_told(
    fake: FakeEngine, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())

    def gone(moment: str) -> None:
        raise EngineUnreachableError("the engine does not answer", "start it")

    async with console(make_context) as browser:
        await browser.until("/", lambda text: text.count("state works") == 4)
        monkeypatch.setattr(fake, "interrupt", gone)
        await browser.until("/", lambda text: "the engine does not answer" in text)
        monkeypatch.setattr(fake, "interrupt", lambda moment: None)
        await browser.until("/", lambda text: text.count("state works") == 4)


async def test_what_is_not_understood_is_shown_and_never_run(make_context: MakeContext) -> None:
    up(make_context())
    nasty = "<script>alert(1)</script>\"'\n\u202e"
    async with console(make_context) as browser:
        await browser.until("/", lambda text: "state works" in text)
        status, text = await browser.get(f"/replica/{nasty.encode().hex()}%3Cscript%3E")
        assert status == 404
        assert "<script>" not in text.replace('<script src="/static/console.js" defer></script>', "")
        assert await browser.post(action="fault", kind=nasty, replica="cld-1") == 303
        text = await browser.until("/", lambda text: "there is no fault" in text)
        assert "alert(1)" in html.unescape(text)
        assert "<script>alert" not in text
        assert await browser.post(action=nasty, back="https://evil.example/") == 303
        assert (await browser.get("/nothing"))[0] == 404


async def test_a_replica_s_page_masks_the_secrets_of_its_configuration(
    fake: FakeEngine, make_context: MakeContext
) -> None:
    up(make_context())
    async with console(make_context) as browser:
        await browser.until("/", lambda text: "state works" in text)
        _, text = await browser.get("/replica/tabled-1")
    assert "tabled.conf" in text
    assert "[CHUNK_SECRET]" in text
    (secrets,) = [c.credentials for c in fake.contents.values() if c.credentials]
    assert all(value not in text for value in secrets.split('"') if len(value) == 40)


async def test_live_parts_are_sent_again_when_they_change(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    async with console(make_context) as browser, asyncio.timeout(DEADLINE):
        await browser.until("/", lambda text: text.count("state works") == 4)
        async with browser.session.get(f"{browser.base}/live/") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            seen = 0
            async for line in stream.content:
                if line.startswith(b"data:"):
                    seen += 1
                    if seen == 1:
                        set_state(fake, "iwhd-1", ContainerState.PAUSED)
                    if b"its container is paused" in line:
                        break


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"action": "restart", "replica": "cld-1"}, ("restart", "cld-1")),
        ({"action": "up"}, ("up",)),
        ({"action": "clear"}, ("fault", "clear")),
        ({"action": "clear", "fault": "kill-cld-1"}, ("fault", "clear", "kill-cld-1")),
        (
            {"action": "fault", "kind": "kill", "replica": "cld-1", "for": "30s", "delay": "1s"},
            ("fault", "kill", "cld-1", "--for", "30s"),
        ),
        (
            {"action": "fault", "kind": "partition", "replica": "cld-1", "peer": "tabled-1"},
            ("fault", "partition", "cld-1", "tabled-1"),
        ),
        (
            {"action": "fault", "kind": "slow", "replica": "cld-1", "delay": "1s", "loss": "5%"},
            ("fault", "slow", "cld-1", "--delay", "1s", "--loss", "5%"),
        ),
    ],
)
def test_a_form_is_a_command_line(form: dict[str, str], words: tuple[str, ...]) -> None:
    assert actions.task(form).words == words


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"action": "destroy"},
        {"action": "restart"},
        {"action": "fault", "kind": "kill"},
        {"action": "fault", "kind": "kill", "replica": "cld-1", "for": "soon"},
        {"action": "fault", "kind": "partition", "replica": "cld-1"},
    ],
)
def test_a_form_that_makes_no_command_is_refused(form: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        actions.task(form)


def test_users_are_drawn_above_what_they_use() -> None:
    services = {"cld-1": "cld", "chunkd-1": "chunkd", "chunkd-2": "chunkd", "tabled-1": "tabled", "iwhd-1": "iwhd"}
    needs = {"chunkd": ("cld",), "tabled": ("cld", "chunkd"), "iwhd": ("tabled",), "cld": ()}
    replicas = [ReplicaView(name, service, Health.WORKS, "", "", "") for name, service in services.items()]
    rows = drawing.layers(replicas, links(services, needs))
    assert [[each.name for each in row] for row in rows] == [
        ["iwhd-1"],
        ["tabled-1"],
        ["chunkd-1", "chunkd-2"],
        ["cld-1"],
    ]
    assert drawing.layers(replicas, [("cld-1", "tabled-1"), ("tabled-1", "cld-1")])  # a circle ends
    drawn = drawing.draw(View("<b>", replicas=tuple(replicas), links=links(services, needs)), {"cld-1": "<i>"})
    assert "<b>" not in drawn
    assert "<i>" not in drawn


def test_a_watcher_tells_of_a_change_once(fake: FakeEngine, make_context: MakeContext) -> None:
    up(make_context())
    told: list[Health] = []
    watcher = Watcher(make_context, lambda: told.append(watcher.view.health), "test")
    watcher.look(0.0)
    watcher.look(1e9)
    assert told[-1] is Health.WORKS
    before = len(told)
    watcher.look(0.0)
    assert len(told) == before
    set_state(fake, "cld-1", ContainerState.EXITED)
    watcher.look(0.0)
    replica = watcher.view.replica("cld-1")
    assert replica is not None
    assert replica.health is Health.FAULTY
    assert watcher.view.findings


async def test_fifty_pages_that_show_the_same_are_gathered_for_once(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(make_context())
    asked = 0

    def count(_context: object) -> list[object]:
        nonlocal asked
        asked += 1
        return []

    async with console(make_context) as browser, contextlib.AsyncExitStack() as stack:
        await browser.until("/faults", lambda text: "In effect" in text and "iwhd-1" in text)
        monkeypatch.setattr("hailbox.console.pages.faults.manage.ls", count)
        connector = aiohttp.TCPConnector(limit=0)
        jar = browser.session.cookie_jar
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, cookie_jar=jar))
        streams = [await stack.enter_async_context(session.get(f"{browser.base}/live/faults")) for _ in range(50)]
        async with asyncio.timeout(DEADLINE):
            for stream in streams:
                assert (await stream.content.readline()).startswith(b"event: parts")
    assert 0 < asked < 25


async def test_a_page_that_cannot_be_shown_tells_its_parts_as_soon_as_it_can(make_context: MakeContext) -> None:
    async with console(make_context) as browser, asyncio.timeout(DEADLINE):
        status, text = await browser.get("/faults")
        assert status == 503
        assert "there is no stack" in text
        assert 'id="snapshots"' not in text
        async with browser.session.get(f"{browser.base}/live/faults") as stream:
            up(make_context())
            async for line in stream.content:
                if b"snapshots" in line:
                    return
    raise AssertionError("the page did not come back")
