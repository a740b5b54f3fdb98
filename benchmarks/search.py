"""What a search costs, cold and in a running process, and what adding a product costs.

    uv run python benchmarks/search.py [--products 10000] [--checkpoint FILE]

Medians with the slowest in brackets. The catalog holds random unit vectors beside the products
that are added: speed does not depend on what they show. The photos are drawn by the demo.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as infer.py does

import numpy as np
from PIL import Image

from datasets.rendered import draw_person_photo, draw_product_photo
from siamese.argument_types import positive
from siamese.catalog import Catalog
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.finder import Finder
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing
from siamese.products import Product
from siamese.quantisation import Codes

CODES: tuple[Codes, ...] = ("int8", "binary")
INFER = Path(__file__).parent.parent / "infer.py"


def main() -> None:
    """Print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=positive, default=10_000)
    parser.add_argument("--checkpoint", type=Path, help="by default the demo's network, untrained")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = arguments.checkpoint or folder / "model.safetensors"
        if arguments.checkpoint is None:
            untrained().save(path)
        checkpoint = load_checkpoint(path)
        catalog = random_catalog(folder / "catalog", checkpoint, arguments.products)
        photos = drawn_photos(folder, count=24)
        print(f"{arguments.products} products, {checkpoint.embedding_size} dimensions")
        report("search, cold start", [cold_search(path, folder, photo) for photo in photos[:5]])
        report("search in a running process", searches(Finder(checkpoint, catalog), photos))
        for codes in CODES:
            coded = Finder(checkpoint, catalog, codes=codes)
            report(f"the same by {codes} codes", searches(coded, photos))
        before = catalog.products()
        report("add one product", timed(lambda photo: add(catalog, checkpoint, photo), photos))
        after = catalog.products().iloc[: len(before)]
        changed = (before != after[before.columns]).any(axis=1).sum()
        print(f"other rows changed by adding: {changed}")


def untrained() -> Checkpoint:
    """The default network with random weights."""
    encoder = Encoder(EncoderConfig(depth=1), 128, 96)
    return Checkpoint(encoder, Preprocessing(), Calibration(), "nothing")


def random_catalog(folder: Path, checkpoint: Checkpoint, count: int) -> Catalog:
    """Products with one random unit embedding each."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(count, 1, checkpoint.embedding_size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    products = [
        Product(f"{number:06}", [f"{number:06}.jpg"], vector, {"price": float(number % 100)})
        for number, vector in enumerate(vectors)
    ]
    return Catalog.create(str(folder), checkpoint.fingerprint, checkpoint.embedding_size, products)


def drawn_photos(folder: Path, count: int) -> list[str]:
    """Photos of people, and of the products that they wear under the same number."""
    for number in range(count):
        Image.fromarray(draw_person_photo(number, 1)).save(folder / f"person{number}.jpg")
        Image.fromarray(draw_product_photo(number)).save(folder / f"product{number}.jpg")
    return [str(folder / f"person{number}.jpg") for number in range(count)]


def cold_search(checkpoint: Path, folder: Path, photo: str) -> float:
    """Seconds of a whole `infer.py search`."""
    options = ["--checkpoint", str(checkpoint), "--catalog", str(folder / "catalog")]
    start = time.perf_counter()
    command = [sys.executable, str(INFER), "search", photo, *options]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def add(catalog: Catalog, checkpoint: Checkpoint, person: str) -> None:
    """Embed and add the product that the person wears."""
    path = person.replace("person", "product")
    embedding = checkpoint.embed([path]).numpy()
    catalog.add([Product(f"added {Path(path).stem}", [path], embedding, {})])


def searches(finder: Finder, photos: list[str]) -> list[float]:
    """Seconds of the search for each photo but the first, which reads the catalog."""
    return timed(lambda photo: finder.rank([photo]), photos)


def timed(action: Callable[[str], object], photos: list[str]) -> list[float]:
    """Seconds of the action for each photo but the first, which warms up."""
    seconds = []
    for photo in photos:
        start = time.perf_counter()
        action(photo)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def report(name: str, seconds: list[float]) -> None:
    """One line."""
    print(
        f"{name}: {np.median(seconds) * 1e3:.1f} ms (slowest of {len(seconds)}: "
        f"{max(seconds) * 1e3:.1f} ms)"
    )


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"search.py: {error}")
