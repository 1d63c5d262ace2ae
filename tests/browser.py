"""A real browser that looks at pages, and keeps account of what they do."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAM = "chromium"
SERIOUS = ("serious", "critical")


@dataclass
class Watched:
    """An open page; ``said`` is what it wrote to the console and what broke in it, ``asked`` the
    URLs of all that it loaded or tried to."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def scroll_width(self) -> int:
        """How wide the page is, in pixels; wider than its window, it scrolls sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))


def chromium() -> str:
    """Where it is installed. Without it a test that needs it is left out, and named in the summary;
    in CI, where .ci/run installs it, the test fails."""
    path = shutil.which(PROGRAM)
    if path is None and "CI" not in os.environ:
        pytest.skip(f"{PROGRAM} is not installed; .ci/run installs it")
    assert path, f"{PROGRAM} is not installed"
    return path


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium without a window; one a module is enough."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser: Browser, url: str, width: int = 1200, **context: Any) -> Iterator[Watched]:
    """``url`` in a window ``width`` pixels wide. ``context`` are playwright's options of a context,
    such as ``color_scheme``."""
    around = browser.new_context(viewport={"width": width, "height": 900}, **context)
    try:
        watched = Watched(around.new_page())
        watched.page.on("console", lambda message: watched.said.append(message.text))
        watched.page.on("pageerror", lambda error: watched.said.append(str(error)))
        watched.page.on("request", lambda request: watched.asked.append(request.url))
        watched.page.goto(url)
        yield watched
    finally:
        around.close()


def serious(page: Page, *rules: str) -> list[str]:
    """Where the page shuts people out as it is now, by axe: the rules it breaks seriously or worse,
    each with the elements at fault. Only ``rules`` are tried if some are given, which is faster."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    violations = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {_targets(one['nodes'])}"
        for one in violations
        if one["impact"] in SERIOUS
    ]


def _targets(nodes: list[dict[str, Any]]) -> str:
    return ", ".join(" ".join(map(str, node["target"])) for node in nodes)
