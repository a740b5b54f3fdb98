"""How soon the page shows the first product after a photo is chosen, in real Chromium.

    uv run python benchmarks/page.py --catalog FOLDER --photos FOLDER [--isolation FILE]

Server and browser run on the same machine, as one process each and more. A time begins when the
photo is chosen, with a page that has been loaded, and ends when the first product's score is
written and its picture is painted. The pictures are new to the browser: nothing is cached.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright
from serving import running

from siamese.errors import UserError

SIZES: dict[str, dict[str, Any]] = {
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
    "desktop": {"viewport": {"width": 1366, "height": 900}},
}
SHOWN = """() => {
    const picture = document.querySelector('.card:has(.score) img');
    return picture && picture.complete && picture.naturalWidth;
}"""


def main() -> None:
    """One line per size of screen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--checkpoint", help="by default as `serve` chooses")
    parser.add_argument("--isolation", help="of `serve`")
    parser.add_argument("--photos", type=Path, required=True, help="folder of customers' photos")
    parser.add_argument("--count", type=int, default=20, help="of photos")
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.iterdir())[: arguments.count]
    words = [
        f"--{name}={value}"
        for name in ("checkpoint", "isolation")
        if (value := getattr(arguments, name))
    ]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not photos or not chromium:
        sys.exit(f"needs photos in {arguments.photos} and Chromium on the path")
    with running(arguments.catalog, *words) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, how in SIZES.items():
            taken = np.array([seconds(browser, server.port, photo, how) for photo in photos])[1:]
            print(
                f"{name:>7}: first product after {np.median(taken):.2f} s (median of "
                f"{len(taken)}), 95th percentile {np.percentile(taken, 95):.2f} s, "
                f"slowest {taken.max():.2f} s"
            )
        browser.close()


def seconds(browser: Browser, port: int, photo: Path, how: dict[str, Any]) -> float:
    """From the choice of a photo to the first product on the screen, in a new browser profile."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{port}", **how)
    page = context.new_page()
    page.goto("/")
    page.wait_for_load_state("networkidle")
    began = time.perf_counter()
    page.set_input_files("#file", photo)
    page.wait_for_function(SHOWN, polling="raf")
    taken = time.perf_counter() - began
    context.close()
    return taken


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"page.py: {error}")
