"""Small data shared by the tests, and one thread per process: two cores serve them all."""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that forgets a fixture must not wait for it

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets.rendered import write_rendered_dataset


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 drawn products with two to three photos of people each."""
    folder = tmp_path_factory.mktemp("drawn") / "rendered"
    return write_rendered_dataset(folder, products=16, person_photos=(2, 3), workers=1)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; not for the whole session, since it occupies the thread's event loop."""
    from helpers_browser import browser

    with browser() as opened:
        yield opened


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Any]:
    """Opens pages of the server at the module's `address`; none may have complained at the end."""
    from helpers_browser import visits

    with visits(chromium, address) as visit:
        yield visit
