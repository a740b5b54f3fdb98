"""On the real photos that lie beside the repository, where they do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets.fashion_products import read_fashion_products
from datasets.manifest import find_faults
from datasets.pairs_csv import read_pairs_csv
from siamese.checkpoint import Checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.evaluation import evaluate, fit
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing

PHOTOS = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not PHOTOS.is_dir(), reason=f"no real photos at {PHOTOS}; they may not be redistributed"
)


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    """The project's split of the real pairs."""
    return read_pairs_csv(PHOTOS / "pairs")


def test_the_split_of_the_real_pairs_is_fixed_and_keeps_twins_together(pairs: pd.DataFrame) -> None:
    products = pairs.drop_duplicates("product_id")
    assert products["split"].value_counts().to_dict() == {
        "train": 1096,
        "validation": 150,
        "test": 300,
    }
    assert products.groupby("twin_group")["split"].nunique().max() == 1
    groups = products.set_index("product_id")["twin_group"]
    assert groups["008839"] == groups["016031"]  # one photo, of which other noise is trimmed
    # Published figures are of these products: a change of the split must not pass unseen.
    for split, digest in (("validation", "2c6dff77ea766cfa"), ("test", "aadac5790ae10986")):
        ids = " ".join(sorted(products.loc[products["split"] == split, "product_id"]))
        assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest


def test_real_data_sets_have_no_faults(pairs: pd.DataFrame) -> None:
    products = read_fashion_products(PHOTOS / "fashion_products_224")
    assert find_faults(pairs).empty
    assert find_faults(products, compare_contents=False).empty


def test_a_colour_histogram_ranks_the_real_test_products_as_published(pairs: pd.DataFrame) -> None:
    """benchmarks/README.md: .257, .517, .607, .723; nothing in it is trained."""
    preprocessing = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    encoder = Encoder(EncoderConfig("colour_histogram", embedding_size=512), 128, 96)
    checkpoint = Checkpoint(encoder, preprocessing, Calibration(), "nothing")
    parts = {}
    for split in ("validation", "test"):
        frame = pairs[pairs["split"] == split].reset_index(drop=True)
        pixels = np.stack([preprocessing.read(path) for path in frame["path"]])
        parts[split] = checkpoint.embed_pixels(pixels), frame
    report = evaluate(*parts["test"], fit(*parts["validation"]))
    shares = [report.retrieval["all"].top[k] for k in (1, 5, 10, 20)]
    assert shares == pytest.approx([0.257, 0.517, 0.607, 0.723], abs=0.005)
