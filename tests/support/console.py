"""A console of a real stack, and a real browser that looks at it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from support.enginestack import ARTEFACTS, Stack

CHROMIUM = shutil.which("chromium")
DEADLINE = 30_000
"""Milliseconds that a page has to show something."""


@contextmanager
def serving(stack: Stack) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that `hailbox ui` prints, and its process, which is ended."""
    process = subprocess.Popen(
        stack.command("ui", "--no-browser", "--json"),
        cwd=stack.home,
        env=stack.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@contextmanager
def browsing() -> Iterator[Browser]:
    """The distribution's chromium."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; run make clients as root, or install it")
    with sync_playwright() as playwright:
        # Root needs --no-sandbox, and a container may have a small /dev/shm.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Visitor:
    """A browser that has opened the console; notes every error of its pages."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.base = url.partition("/?")[0]
        self.context: BrowserContext = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        self.context.set_default_timeout(DEADLINE)
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.goto(url)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def health(self, replica: str, wanted: str) -> None:
        """Wait until the map shows the replica so."""
        self.page.wait_for_selector(f"#box-{replica}.{wanted}")

    def sees(self, selector: str, text: str = "") -> None:
        self.page.locator(selector, has_text=text).first.wait_for()

    def keep(self, name: str) -> None:
        """Keep a picture of the page among the artefacts."""
        folder = ARTEFACTS / "console"
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def close(self) -> None:
        self.context.close()
