"""The console in a real browser, on a real stack that the tests of this module share."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from support.console import Visitor, browsing, serving
from support.enginestack import ARTEFACTS, ROOT, Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PAGES = {
    "map": "/",
    "replica": "/replica/tabled-1",
    "objects": "/objects?bucket=images",
    "object": "/object?bucket=images&key=debian12",
    "cld": "/cld",
    "faults": "/faults",
    "bench": "/bench",
    "trace": "/trace",
}
NASTY = ["<script>alert(1)</script>", "quo'te\"s>", "new\nline", "\u05e9\u05dc\u05d5\u05dd\u202eabc", "k" * 1024]


def put(url: str, body: bytes) -> None:
    urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT"), timeout=30).close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A working stack with two nodes and an image in the warehouse."""
    made = Stack(f"test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("console"))
    try:
        made.run("up", "--scale", "chunkd=2")
        iwhd = made.env()["IWHD_URL"]
        put(f"{iwhd}/images", b"")
        put(f"{iwhd}/images/debian12", os.urandom(300_000))
        put(f"{iwhd}/images/debian12/arch", b"x86_64")
        yield made
    finally:
        made.keep_artefacts(ARTEFACTS / "console" / "stack")
        made.run("destroy")
        assert made.labelled() == []
        made.client.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def url(shared: Stack) -> Iterator[str]:
    with serving(shared) as (found, _):
        yield found


@pytest.fixture
def visitor(browser: Browser, url: str) -> Iterator[Visitor]:
    found = Visitor(browser, url)
    yield found
    found.close()
    assert found.errors == []
    assert found.dialogs == []


def test_every_page_loads_without_errors_and_shuts_no_one_out(visitor: Visitor) -> None:
    visitor.health("iwhd-1", "works")
    for name, path in PAGES.items():
        visitor.go(path)
        visitor.sees("h1")
        found = Axe().run(visitor.page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], f"{name}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"
        visitor.keep(name)
    if os.environ.get("HAILBOX_SCREENSHOTS"):
        for name in ("map", "object"):
            shutil.copy(ARTEFACTS / "console" / f"{name}.png", ROOT / "docs" / "images" / f"console-{name}.png")


def test_every_page_fits_a_narrow_dark_screen(browser: Browser, url: str) -> None:
    narrow = Visitor(browser, url, viewport={"width": 360, "height": 740}, color_scheme="dark")
    narrow.health("iwhd-1", "works")
    for name, path in PAGES.items():
        narrow.go(path)
        narrow.sees("h1")
        assert narrow.page.evaluate("document.documentElement.scrollWidth") <= 360, name
        contrast = Axe().run(narrow.page, options={"runOnly": ["color-contrast"]}).response["violations"]
        assert contrast == [], name
        narrow.keep(f"{name}-narrow")
    narrow.close()
    assert narrow.errors == []


def test_a_killed_replica_turns_red_and_is_green_after_it_is_healed(shared: Stack, visitor: Visitor) -> None:
    visitor.health("chunkd-2", "works")
    shared.container("chunkd-2").kill()
    visitor.health("chunkd-2", "faulty")
    visitor.sees("#replicas", "its container is exited")
    visitor.keep("killed")
    shared.run("up")
    visitor.health("chunkd-2", "works")


def test_a_fault_is_inflicted_and_cleared_by_clicks(shared: Stack, visitor: Visitor) -> None:
    visitor.go("/faults")
    visitor.page.select_option("#kind", "pause")
    visitor.page.select_option("#target", "chunkd-2")
    visitor.sees("code", f"hailbox --stack {shared.name} fault pause chunkd-2")
    visitor.page.click("#inflict")
    visitor.page.wait_for_selector("#clear-pause-chunkd-2")
    assert [fault["id"] for fault in shared.run("fault", "ls").data] == ["pause-chunkd-2"]
    visitor.go("/")
    visitor.health("chunkd-2", "faulty")
    visitor.sees("svg .fault", "pause")
    visitor.keep("fault")
    visitor.go("/replica/chunkd-2")
    visitor.page.click("#clear-pause-chunkd-2")
    visitor.sees("#activity", "ended: pause-chunkd-2")
    assert shared.run("fault", "ls").data == []
    visitor.go("/")
    visitor.health("chunkd-2", "works")


def test_an_uploaded_object_appears_and_its_copies_are_judged(shared: Stack, visitor: Visitor) -> None:
    visitor.go("/objects?bucket=images")
    visitor.sees("#iwhd-table", "debian12")
    key = f"fedora-{secrets.token_hex(3)}"
    put(f"{shared.env()['IWHD_URL']}/images/{key}", os.urandom(2_000_000))
    visitor.sees("#iwhd-table", key)
    visitor.sees("#tabled-table", key)
    visitor.page.locator("#tabled-table a", has_text=key).click()
    visitor.page.locator("#copies .verified").nth(1).wait_for()
    shared.run("fault", "corrupt", "chunkd-2")  # the largest body, which is this one
    visitor.sees("#copies tr:has-text('chunkd-2')", "damaged")
    visitor.sees("#copies tr:has-text('chunkd-1')", "verified")
    visitor.keep("damaged")
    shared.run("fault", "clear")
    with visitor.page.expect_download() as download:
        visitor.page.click("#download-iwhd")
    assert download.value.suggested_filename == key
    assert os.path.getsize(download.value.path()) == 2_000_000


def test_a_snapshot_is_saved_and_restored_by_clicks(shared: Stack, visitor: Visitor) -> None:
    visitor.go("/faults")
    visitor.page.fill("#snapshot-name", "seed")
    visitor.page.click("#save")
    visitor.page.wait_for_selector("#restore-seed")
    iwhd = shared.env()["IWHD_URL"]
    urllib.request.urlopen(urllib.request.Request(f"{iwhd}/images/debian12", method="DELETE"), timeout=30).close()
    visitor.page.click("#restore-seed")
    visitor.sees("main", "is lost")
    visitor.sees("li", f"hailbox-{shared.name}-tabled-1")
    visitor.keep("confirm")
    visitor.page.click("#confirm")
    visitor.sees("#activity", "the data is that of")
    urllib.request.urlopen(f"{shared.env()['IWHD_URL']}/images/debian12", timeout=30).close()
    visitor.page.click("#remove-seed")
    visitor.page.click("#confirm")
    visitor.sees("#snapshots", "There is none")


def test_keys_that_look_like_code_are_shown_and_never_run(shared: Stack, visitor: Visitor) -> None:
    s3 = shared.s3()
    s3.create_bucket(Bucket="odd")
    for key in NASTY:
        s3.put_object(Bucket="odd", Key=key, Body=b"x", Metadata={"m": "<img src=x onerror=alert(1)>"})
    visitor.go("/objects?bucket=odd")
    shown = visitor.page.locator("#tabled-table td a bdi").all_text_contents()
    assert sorted(shown) == sorted(NASTY)
    for key in (NASTY[0], NASTY[3]):
        visitor.go(f"/object?bucket=odd&key={quote(key)}")
        assert visitor.page.locator("h1").text_content() == key
        visitor.sees("#copies", "verified")
    assert visitor.page.locator("script").count() == 1


def test_the_keyboard_alone_leads_everywhere(shared: Stack, visitor: Visitor) -> None:
    visitor.health("iwhd-1", "works")
    keyboard = visitor.page.keyboard
    keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.className") == "skip"
    keyboard.press("Enter")
    reached = set()
    for _ in range(30):
        keyboard.press("Tab")
        reached.add(visitor.page.evaluate("document.activeElement.id"))
    assert {"box-iwhd-1", "box-cld-1", "row-chunkd-1"} <= reached
    visitor.page.locator("#box-chunkd-1").focus()
    keyboard.press("Enter")
    visitor.sees("h1", "chunkd-1")
    visitor.page.locator("#restart").focus()
    keyboard.press("Enter")
    visitor.sees("#activity", "restarted: chunkd-1")
    # A part that is replaced while the keyboard is in it gives the keyboard back to the same place.
    visitor.go("/")
    visitor.page.locator("#row-iwhd-1").focus()
    visitor.page.evaluate("document.getElementById('row-iwhd-1').dataset.before = '1'")
    visitor.page.wait_for_selector("#row-iwhd-1[data-before]", state="detached")
    assert visitor.page.evaluate("document.activeElement.id") == "row-iwhd-1"


def test_a_log_grows_and_a_measurement_is_drawn(shared: Stack, visitor: Visitor) -> None:
    visitor.go("/replica/tabled-1")
    visitor.sees("#log", "serving on port")
    before = visitor.page.locator("#log span").count()
    with pytest.raises(Exception, match="NoSuchBucket"):
        shared.s3().list_objects(Bucket="there-is-none")
    visitor.page.locator("#log span").nth(before).wait_for()
    visitor.go("/bench")
    visitor.page.select_option("select[name=services]", "cld")
    visitor.page.fill("input[name=seconds]", "0.2")
    visitor.page.fill("input[name=connections]", "1")
    visitor.page.click("#measure")
    visitor.sees("#bench h2", "cld-1")
    visitor.sees("svg.bars")
    visitor.keep("measured")


def test_requests_from_elsewhere_and_without_a_token_are_refused(
    browser: Browser, url: str, visitor: Visitor
) -> None:
    stranger = browser.new_context()
    page = stranger.new_page()
    answer = page.goto(visitor.base)
    assert answer is not None
    assert answer.status == 403
    # Another page of the same browser that has the cookie cannot use it: another site, with a form and a script.
    foreign = visitor.context.new_page()
    other = visitor.base.replace("127.0.0.1", "localhost")
    foreign.route("http://elsewhere.example/", lambda route: route.fulfill(body="<h1>elsewhere</h1>"))
    foreign.goto("http://elsewhere.example/")
    assert foreign.evaluate(f"fetch('{visitor.base}/', {{credentials: 'include'}}).then(() => 1, () => 0)") == 0
    with foreign.expect_navigation():
        foreign.evaluate(
            f"""() => {{ const form = document.createElement('form'); form.method = 'post';
            form.action = '{visitor.base}/do'; document.body.append(form); form.submit(); }}"""
        )
    assert "403" in foreign.content()
    foreign.goto(other)
    assert "403" in foreign.content()
    stranger.close()


def test_one_put_is_followed_through_all_services(shared: Stack, visitor: Visitor) -> None:
    visitor.go("/trace?bucket=images")
    command = shared.command("trace", "--follow-object", "images/followed", "--json")
    process = subprocess.Popen(
        command, cwd=shared.home, env=shared.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    reading = threading.Thread(target=lambda stream: [lines.put(line) for line in stream], args=(process.stdout,))
    reading.start()
    url = f"{shared.env()['IWHD_URL']}/images/followed"
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 60
    while not any(each["operation"] == "CHO_PUT" for each in found):
        assert time.monotonic() < end, "the trace told nothing"
        put(url, os.urandom(100_000))  # until the daemons tell of their requests
        with contextlib.suppress(queue.Empty):
            found.append(json.loads(lines.get(timeout=1.0)))
            while True:
                found.append(json.loads(lines.get_nowait()))
    visitor.sees("#trace tr", "PUT object")
    visitor.keep("trace-rows")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    reading.join()
    while not lines.empty():
        found.append(json.loads(lines.get()))
    # The last line is the envelope.
    exchanges = [each for each in found if "operation" in each]
    trace = next(each["trace"] for each in exchanges if each["operation"] == "CHO_PUT")
    told = {(e["source"], e["replica"], e["operation"]) for e in exchanges if e["trace"] == trace}
    assert told == {
        ("client", "iwhd-1", "PUT object"),
        ("iwhd-1", "tabled-1", "PutObject"),
        ("tabled-1", "chunkd-1", "CHO_PUT"),
        ("tabled-1", "chunkd-2", "CHO_PUT"),
    }


def test_ctrl_c_ends_the_console_and_the_page_says_so(shared: Stack, browser: Browser) -> None:
    with serving(shared) as (url, process):
        visitor = Visitor(browser, url)
        visitor.health("cld-1", "works")
        process.send_signal(2)
        assert process.wait(timeout=30) == 0
        visitor.page.wait_for_selector("#lost:visible")
        visitor.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
