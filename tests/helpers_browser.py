"""A real Chromium that drives the pages, and whatever it complains about."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

DESKTOP: dict[str, Any] = {"viewport": {"width": 1366, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
SIZES = {"desktop": DESKTOP, "phone": PHONE}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WITHOUT = "the pages were NOT tested: no Chromium on the path; `apt-get install chromium`"
WORDS = ("--no-sandbox", "--use-fake-device-for-media-stream")  # a camera that sees a green disc


def browser_path() -> str:
    """Where a Chromium is; skips the test where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(WITHOUT)
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A headless one, without a sandbox: tests may run as root, and open their own pages only."""
    path = browser_path()
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=list(WORDS))
        yield opened
        opened.close()


class Watched:
    """A page of that server, and the complaints that it caused.

    Args:
        browser: An open one.
        address: Of the server; requests elsewhere are complaints.
        how: Of the page: `DESKTOP`, `PHONE`, and options of Playwright's.
    """

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        self.complaints: list[str] = []
        self.page = browser.new_context(base_url=address, **how).new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", lambda request: self._request(request.url, address))

    def _console(self, message: Any) -> None:
        refused = "with a status of" in message.text and "of 500" not in message.text
        if message.type in ("error", "warning") and not refused:
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, url: str, address: str) -> None:
        if not url.startswith((address, "blob:", "data:")):
            self.complaints.append(f"asks {url}")

    def accessible(self) -> list[str]:
        """Serious and critical faults that axe-core finds in the page as it is now."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{fault['id']}: {node['html'][:120]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    def close(self) -> None:
        """Closes the page; a complaint fails the test."""
        self.page.context.close()
        assert self.complaints == []


Visit = Callable[..., Watched]


@contextmanager
def visits(browser: Any, address: str) -> Iterator[Visit]:
    """Opens pages of a server; at the end none may have complained or asked another server."""
    opened: list[Watched] = []

    def visit(path: str = "/", size: str = "desktop", **how: Any) -> Watched:
        watched = Watched(browser, address, **SIZES[size], **how)
        opened.append(watched)
        watched.page.goto(path)
        return watched

    yield visit
    for watched in opened:
        watched.close()


def ids(page: Any) -> list[str]:
    """Of the products that are shown, in order."""
    return [card.get_attribute("data-id") for card in page.query_selector_all("#grid .card")]


def idle(page: Any) -> None:
    """Until nothing is loaded any more."""
    page.wait_for_load_state("networkidle")
    page.wait_for_selector("#grid[aria-busy=false]", state="attached")


def upload(page: Any, photo: Any) -> None:
    """Choose a customer's photo and wait for the answer."""
    page.set_input_files("#file", photo)
    page.wait_for_selector("#grid .score")
    idle(page)


def fits(page: Any) -> bool:
    """Whether nothing reaches beyond the screen's width."""
    # innerWidth would not do: a phone's browser zooms out where something does.
    width = page.evaluate("document.documentElement.scrollWidth")
    return bool(width <= page.viewport_size["width"])
