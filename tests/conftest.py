"""Small data shared by the tests, and one thread per process: two cores serve them all."""

from __future__ import annotations

import os
import shutil

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that forgets a fixture must not wait for it

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_catalog import draw_photo, save_checkpoint
from helpers_infer import STEMS, Outcome, Run, common

import infer
from datasets.rendered import write_rendered_dataset


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 16 drawn products with two to three photos of people each."""
    folder = tmp_path_factory.mktemp("drawn") / "rendered"
    return write_rendered_dataset(folder, products=16, person_photos=(2, 3), workers=1)


@pytest.fixture
def settings(rendered: Path, tmp_path: Path) -> dict[str, object]:
    """A network and data set so small that an epoch takes a fraction of a second."""
    return {
        "seed_everything": 3,
        "wandb": False,
        "trainer": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "default_root_dir": str(tmp_path / "run"),
            "enable_progress_bar": True,
        },
        "model": {
            "encoder": {"widths": [8, 16], "depth": 1, "embedding_size": 16},
            "preprocessing": {"height": 48, "width": 32},
        },
        "data": {
            "reader": "lookbook",
            "path": str(rendered),
            "options": {"minimum_person_photos": 2, "validation": 4, "test": 4},
            "cache": str(tmp_path / "cache"),
            "products_per_batch": 4,
            "workers": 0,
        },
    }


@pytest.fixture
def folder(shop: Path, tmp_path: Path) -> Path:
    """A copy of the served shop that a module defines, for a test that changes it."""
    from helpers_serving import copy_of

    return copy_of(shop, tmp_path)


@pytest.fixture
def client(folder: Path) -> Iterator[Any]:
    """Of a server of that copy."""
    from helpers_serving import client_of

    with client_of(folder) as client:
        yield client


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    """Of a product that the shop does not have yet."""
    return draw_photo(tmp_path / "new.png", hue=250, stripes=5).read_bytes()


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    """Stands for a published model: random weights, with a classifier as the files have."""
    import timm

    torch.manual_seed(1)
    return timm.create_model("resnet18", pretrained=False, num_classes=10)


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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight product photos, their attributes, a checkpoint, and a catalog of all of it.

    For the tests of infer.py; files that need another shop define their own.
    """
    folder = tmp_path_factory.mktemp("shop")
    for number, stem in enumerate(STEMS):
        draw_photo(folder / "photos" / f"{stem}.png", hue=30 * number, stripes=number % 4)
    kinds = ("It's", "Tshirts")
    lines = [f"{stem},{kinds[int(stem) % 2]},{int(stem)}.5,0{stem}" for stem in STEMS]
    (folder / "shop.csv").write_text("\n".join(["id,articleType,price,sku", *lines]))
    save_checkpoint(folder / "model.safetensors")
    save_checkpoint(folder / "other.safetensors", seed=1)
    save_checkpoint(folder / "strict.safetensors", threshold=0.9)
    words = ["--photos", folder / "photos", "--attributes", folder / "shop.csv"]
    assert infer.main(["index", *common(folder), *map(str, words)]) == 0
    return folder


@pytest.fixture
def run(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls infer.py on a copy of the shop's catalog, in this process."""
    shutil.copytree(shop / "catalog", tmp_path / "catalog")
    defaults = ["--catalog", str(tmp_path / "catalog"), *common(shop)[2:]]

    def call(command: str, *words: object) -> Outcome:
        capsys.readouterr()
        try:
            code = infer.main([command, *defaults, *map(str, words)])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def bad_photo(tmp_path: Path) -> Path:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    return tmp_path / "bad.jpg"
