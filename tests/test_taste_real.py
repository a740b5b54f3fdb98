"""What taste, variants, complements and variety do to lists of real products, where these are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import taste  # benchmarks/taste.py
import torch

from datasets.fashion_products import read_fashion_products
from siamese.attributes.held_out import held_out
from siamese.attributes.label_table import read_labels
from siamese.attributes.tagger import TaggerCard, columns_of
from siamese.attributes.tagger_report import tagger_report
from siamese.attributes.tagger_training import train_tagger
from siamese.catalog import Catalog
from siamese.checkpoint_file import load_checkpoint
from siamese.commands import embedded_products
from siamese.default_checkpoint import SHIPPED
from siamese.finder import Finder
from siamese.listing import listed_in_manifest

PHOTOS = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not PHOTOS.is_dir(), reason=f"no real photos at {PHOTOS}; they may not be redistributed"
)
PRODUCTS, QUERIES = 300, 25


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Finder:
    """Real shirts, jeans, shoes and watches in a catalog."""
    kinds = ["Shirts", "Tshirts", "Jeans", "Casual Shoes", "Watches"]
    frame = read_fashion_products(PHOTOS / "fashion_products_224")
    frame = frame[frame["articleType"].isin(kinds)].sample(PRODUCTS, random_state=0)
    checkpoint = load_checkpoint(SHIPPED)
    products = embedded_products(checkpoint, listed_in_manifest(frame))
    place = tmp_path_factory.mktemp("real") / "catalog"
    return Finder(
        checkpoint,
        Catalog.create(place, checkpoint.fingerprint, checkpoint.embedding_size, products),
    )


@pytest.fixture(scope="module")
def queries(finder: Finder) -> pd.DataFrame:
    return taste.drawn_queries(finder.catalog, QUERIES)


def test_a_tagger_tells_the_categories_of_real_products_that_it_never_saw(finder: Finder) -> None:
    table = read_labels(finder.catalog, ["masterCategory"])
    test = held_out(table.product_ids, table.embeddings)
    columns = columns_of(table.columns, table.values, {})
    card = TaggerCard(columns, table.embeddings.shape[1], "embedding", "softmax", "")
    tagger = train_tagger(card, table.embeddings[~test], table.labels[~test])
    shares = tagger.probabilities(torch.from_numpy(table.embeddings[test]))[0].numpy()
    (report,) = tagger_report(table.columns, [shares], table.labels[test]).columns
    assert report.accuracy is not None
    assert report.most_frequent is not None
    assert report.accuracy > max(0.9, report.most_frequent + 0.1)


def test_a_colour_that_is_never_wanted_is_gone(finder: Finder, queries: pd.DataFrame) -> None:
    ((_, before, after),) = taste.disliked_colour(finder, queries)
    assert before > 0.2
    assert after == 0


def test_a_preferred_colour_is_shown_more(finder: Finder, queries: pd.DataFrame) -> None:
    (_, before, after), (_, alike_before, alike_after) = taste.preferred_colour(finder, queries)
    assert after > 1.3 * before > 0
    assert alike_after > 0.9 * alike_before


def test_likes_bring_more_of_their_like_and_dislikes_go(
    finder: Finder, queries: pd.DataFrame
) -> None:
    (_, before, after), (_, hated_before, hated_after) = taste.liked_products(finder, queries)
    assert after > before
    assert (round(hated_before, 6), hated_after) == (0.3, 0)


def test_a_varied_list_is_less_alike_and_still_fits(finder: Finder, queries: pd.DataFrame) -> None:
    among, twins, fit = taste.varied(finder, queries)
    assert among[2] < among[1] - 0.02
    assert twins[2] <= twins[1]
    assert fit[2] > 0.9 * fit[1]


def test_variants_have_another_colour_and_complements_another_category(
    finder: Finder, queries: pd.DataFrame
) -> None:
    colours, _ = taste.other_colours(finder.catalog, queries)
    assert colours[2] == 1
    other, people, usage = taste.going_with(finder.catalog, queries)
    assert (other[2], people[2]) == (1, 1)
    assert people[2] > people[1]
    assert usage[2] > 0.6
