"""Is an explanation faithful? What a photo loses with its most contributing parts hidden.

    uv run python benchmarks/explanation.py checkpoints/default [--pairs 50] [--split test]

Deletion test (Samek et al. 2017, Evaluating the Visualization of What a Deep Neural Network Has
Learned): of the photo of a person a fifth is hidden under the photo's mean colour, once where the
explanation says that most was contributed, once at random, once where least was; a faithful
explanation names what the cosine falls most without. On the demo, whose garments can be drawn
again in other colours and so be found exactly, also how much of the heat lies on the garment.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
from PIL import Image

from datasets.manifest import read_manifest
from datasets.rendered import PHOTOS_PER_PRODUCT
from datasets.rendered_garments import design_garment
from datasets.rendered_photos import draw_person_photo, draw_product_photo
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.errors import UserError
from siamese.explanation import explain
from siamese.explanation_sheet import ExplainedRow, explanation_sheet, in_words
from siamese.local_embedding import occluded_parts

HIDDEN = 0.2  # share of the positions
DRAWS = 20  # of random positions


def main() -> None:
    """Print one line per figure, means over the pairs with their standard errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.run / "model.safetensors")
    manifest = read_manifest(arguments.run / "manifest.csv")
    pairs = drawn_pairs(manifest[manifest["split"] == arguments.split], arguments.pairs)
    rows = []
    for number, (person, product) in enumerate(pairs):
        row = deletion(checkpoint, person, product, np.random.default_rng(number))
        rows.append(row | on_garment(checkpoint, person, product))
        rows[-1] |= cost(checkpoint, person, [pairs[number - n][1] for n in range(3)])
    table = pd.DataFrame(rows)
    print(f"{len(table)} pairs of {arguments.split} products, each of one product")
    for name in table:
        error = table[name].std() / len(table) ** 0.5
        print(f"{name:<55} {table[name].mean():7.3f} ± {error:.3f}")
    beats = (table["cosine without most contributing"] < table["cosine without random"]).mean()
    print(f"{'pairs that lose more than at random':<55} {beats:7.3f}")


def drawn_pairs(frame: pd.DataFrame, count: int) -> list[tuple[str, str]]:
    """A photo of a person and one of the product that they wear, for products drawn at random."""
    random = np.random.default_rng(0)
    roles = frame.groupby("product_id")["role"].agg(set)
    products = random.permutation(sorted(roles.index[roles == {"person", "product"}]))[:count]
    pairs = []
    for product in products:
        own = frame[frame["product_id"] == product]
        photos = [own[own["role"] == role]["path"].tolist() for role in ("person", "product")]
        person, worn = (photo[random.integers(len(photo))] for photo in photos)
        pairs.append((person, worn))
    return pairs


def deletion(
    checkpoint: Checkpoint, person: str, product: str, random: np.random.Generator
) -> dict[str, float]:
    """Cosines of a pair with a fifth of the person's photo hidden in several ways."""
    contributions = explain(checkpoint, person, [product]).query.contributions
    pixels = np.stack([checkpoint.preprocessing.read(photo) for photo in (person, product)])
    whole = checkpoint.embed_pixels(pixels)
    occlusion = (occluded_parts(checkpoint, pixels[:1], whole[:1])[0] @ whole[1]).numpy()
    count = round(HIDDEN * contributions.size)

    def without(values: np.ndarray) -> float:
        """The cosine with the positions of the largest values hidden."""
        hidden = np.zeros(values.size, np.float32)
        hidden[values.ravel().argsort()[::-1][:count]] = 1
        height, width = pixels.shape[1:3]
        mask = Image.fromarray(hidden.reshape(values.shape)).resize((width, height), 0)
        photo = pixels[0].copy()
        photo[np.asarray(mask) > 0] = photo.mean(axis=(0, 1))
        return float(checkpoint.embed_pixels(photo[None])[0] @ whole[1])

    at_random = [without(random.random(contributions.shape)) for _ in range(DRAWS)]
    return {
        "cosine": float(whole[0] @ whole[1]),
        "cosine without most contributing": without(contributions),
        "cosine without most contributing, found by occlusion": without(occlusion),
        "cosine without random": float(np.mean(at_random)),
        "cosine without least contributing": without(-contributions),
        "sum of contributions - cosine": abs(float(contributions.sum() - whole[0] @ whole[1])),
    }


def cost(checkpoint: Checkpoint, person: str, products: list[str]) -> dict[str, float]:
    """Milliseconds of an explanation of several products, and of its picture.

    Of the processor's time: on a shared machine the clock shows how busy the others are.
    """
    start = time.process_time()
    explanation = explain(checkpoint, person, products)
    explained = time.process_time()
    captions = [("1. 4711", in_words(0.5))] * len(products)
    explanation_sheet([ExplainedRow(person, ("photo",), products, captions, explanation)])
    drawn = time.process_time()
    return {
        f"processor milliseconds to explain {len(products)} products": 1e3 * (explained - start),
        "processor milliseconds to draw them": 1e3 * (drawn - explained),
    }


def on_garment(checkpoint: Checkpoint, person: str, product: str) -> dict[str, float]:
    """Of the demo's photos, the share of the heat that lies on the garment, and its area's."""
    if not Path(person).with_name("rendered.json").exists():
        return {}
    explanation = explain(checkpoint, person, [product])
    shares: dict[str, float] = {}
    overlays = {
        "person": (person, explanation.query),
        "product": (product, explanation.products[0]),
    }
    for role, (path, overlay) in overlays.items():
        assert overlay is not None
        mask = garment_mask(path)
        small = Image.fromarray(mask.astype(np.float32)).resize(overlay.heat.shape[::-1])
        inside = np.asarray(small)
        shares |= {
            f"heat on the garment, {role}": float(
                (overlay.heat * inside).sum() / overlay.heat.sum()
            ),
            f"area of the garment, {role}": float(inside.mean()),
        }
        for region in overlay.regions[:1]:
            x, y = int(region.x * mask.shape[1]), int(region.y * mask.shape[0])
            shares[f"strongest region on the garment, {role}"] = float(mask[y, x])
    return shares


def garment_mask(path: str) -> np.ndarray:
    """Where the garment is in one of the demo's photos, bool (256, 192): drawn black and white."""
    number = int(Path(path).stem.rpartition("IID")[2])
    product, photo = divmod(number, PHOTOS_PER_PRODUCT)
    drawn = []
    for shade in (0, 255):
        plain = replace(
            design_garment(product, 0),
            base=(shade,) * 3,
            second=(shade,) * 3,
            third=(shade,) * 3,
            pattern="solid",
            print_kind="none",
        )
        with patch("datasets.rendered_photos.design_garment", lambda *_, plain=plain: plain):
            drawn.append(
                draw_person_photo(product, photo) if photo else draw_product_photo(product)
            )
    black, white = (picture.astype(int).sum(axis=2) for picture in drawn)
    return abs(white - black) > 150


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"explanation.py: {error}")
