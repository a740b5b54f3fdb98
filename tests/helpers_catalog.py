"""Small products, photos and checkpoints for the tests of catalog, finder and infer.py."""

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from siamese.catalog import Catalog, Product

ROOT = Path(__file__).parent.parent
Call = Callable[..., tuple[int, str, str]]  # a command: exit status, output and errors
SIZE = 8  # D of catalogs without a checkpoint
MADE_BY = "0123456789abcdef"


def unit_vectors(count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Random unit embeddings, float32 (count, size)."""
    vectors = np.random.default_rng(seed).standard_normal((count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def product(product_id: str, photos: int = 1, seed: int = 0, **attributes: Any) -> Product:
    """A product whose embeddings depend on the seed alone."""
    paths = [f"/shop/{product_id}-{number}.jpg" for number in range(photos)]
    return Product(product_id, paths, unit_vectors(photos, seed=seed), attributes)


def new_catalog(folder: Path, *products: Product) -> Catalog:
    """A catalog of D = 8 in that folder."""
    return Catalog.create(folder, MADE_BY, SIZE, products)


def ids(catalog: Catalog, where: str | None = None) -> list[str]:
    """Of its products, in order."""
    return catalog.products(where)["product_id"].tolist()


def rows(catalog: Catalog) -> list[dict[str, Any]]:
    """Every photo's row as it is stored, in order of the keys."""
    snapshot = Catalog.open(catalog.uri).snapshot()
    table = snapshot.table.to_arrow().sort_by("photo_key")
    return list(table.to_pylist())


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Code in a process of its own, with the repository and these helpers importable."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def environment() -> dict[str, str]:
    """For processes of the tests."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


def draw_photo(path: Path, hue: int, stripes: int = 0) -> Path:
    """A garment-like picture; other hues and stripes give other pictures."""
    photo = Image.new("HSV", (60, 80), (0, 0, 250))
    draw = ImageDraw.Draw(photo)
    draw.rectangle((12, 15, 48, 70), fill=(hue % 256, 200, 200))
    for stripe in range(stripes):
        draw.line((12, 20 + 6 * stripe, 48, 20 + 6 * stripe), fill=(hue % 256, 90, 60), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.convert("RGB").save(path)
    return path


def save_checkpoint(path: Path, seed: int = 0, threshold: float = 0.5) -> Path:
    """A tiny untrained encoder; the probability is .881 at a cosine of 1, and .5 at .9."""
    import torch

    from siamese.checkpoint import Checkpoint
    from siamese.encoder import Encoder, EncoderConfig
    from siamese.pair_score import Calibration
    from siamese.preprocessing import Preprocessing

    torch.manual_seed(seed)
    encoder = Encoder(EncoderConfig(embedding_size=16, widths=(8, 16), depth=1), 48, 32)
    calibration = Calibration(scale=20.0, bias=-18.0, catalog_threshold=threshold)
    Checkpoint(encoder, Preprocessing(48, 32), calibration, "untrained").save(path)
    return path


def index_shop(folder: Path, lines: Sequence[str]) -> Path:
    """A catalog of the photos in `folder/photos`, with a tiny encoder and this table."""
    import infer

    (folder / "shop.csv").write_text("\n".join(lines))
    save_checkpoint(folder / "model.safetensors")
    words = ["--photos", f"{folder}/photos", "--attributes", f"{folder}/shop.csv"]
    assert infer.main(["index", *places(folder), *words]) == 0
    return folder


def places(folder: Path) -> list[str]:
    """Where catalog and encoder of such a shop are."""
    return ["--catalog", f"{folder}/catalog", "--checkpoint", f"{folder}/model.safetensors"]


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """infer.py in this process: exit status, output and errors."""
    import infer

    capsys.readouterr()
    try:
        status = infer.main(list(map(str, words)))
    except SystemExit as stop:  # argparse
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def assert_one_line(call: Call, words: Sequence[object], message: str) -> None:
    """The command fails with one line on stderr that says this, and prints nothing."""
    status, out, err = call(*words)
    assert (status, out) == (1, ""), words
    assert message in err, (words, err)
    assert err.count("\n") == 1, (words, err)


def exact_cosine(query: np.ndarray, photo: np.ndarray) -> float:
    """The sum of the products, correctly rounded: they are exact in float64."""
    return math.fsum(float(a) * float(b) for a, b in zip(query, photo, strict=True))


def best_of_each(
    query: np.ndarray, gallery: np.ndarray, product_of: np.ndarray
) -> dict[int, tuple[float, int]]:
    """Of each product the best cosine, and minus the first photo that has it."""
    cosines = [exact_cosine(query, photo) for photo in gallery]
    return {
        number: max((cosines[i], -i) for i in np.flatnonzero(product_of == number).tolist())
        for number in set(product_of.tolist())
    }
