"""A real Chromium that drives the pages, and whatever it complains about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

DESKTOP: dict[str, Any] = {"viewport": {"width": 1366, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str:
    """Where a Chromium is; skips the test where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs Chromium, such as from `apt-get install chromium`")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A headless one, without a sandbox: tests may run as root, and open their own pages only."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = browser_path()
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
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
        from axe_playwright_python.sync_playwright import Axe

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
