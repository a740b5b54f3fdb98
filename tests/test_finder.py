"""The finder's rankings are exact, the same every time, and equal to a naive implementation's."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from helpers_catalog import (
    best_of_each,
    draw_photo,
    exact_cosine,
    rows,
    save_checkpoint,
    unit_vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.catalog import Catalog, CatalogError, Product
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.embedding import embed_all
from siamese.exact_search import best_photos
from siamese.finder import Finder, Rerank
from siamese.photos import PhotoError
from siamese.quantisation import codes_of
from siamese.ranking import Ranking
from siamese.reranking import RERANKINGS
from siamese.snapshot import Snapshot

DIMENSIONS = 16  # of the checkpoint in `helpers_catalog`


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "m.safetensors"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve different garments."""
    folder = tmp_path_factory.mktemp("photos")
    return [draw_photo(folder / f"{i:02d}.png", hue=20 * i, stripes=i % 5) for i in range(12)]


def naive(
    query: np.ndarray, gallery: np.ndarray, product_of: np.ndarray, top: int
) -> list[tuple[int, int]]:
    """(product, photo) of the best products, by the definition; for vectors with exact sums."""
    best = best_of_each(query, gallery, product_of)
    order = sorted(best, key=lambda number: (-best[number][0], number))
    return [(number, -best[number][1]) for number in order[:top]]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    products=st.integers(1, 12),
    most_photos=st.integers(1, 4),
    queries=st.integers(1, 6),
    top=st.integers(1, 15),
    chunk=st.integers(1, 60),
    size=st.sampled_from([1, 2, 4, 16]),
)
def test_rankings_equal_the_naive_ones_with_many_ties(
    seed: int, products: int, most_photos: int, queries: int, top: int, chunk: int, size: int
) -> None:
    """Corners of a cube scaled by a power of two have exact sums, so that ties are true ties."""
    random = np.random.default_rng(seed)
    product_of = np.repeat(np.arange(products), random.integers(1, most_photos + 1, products))

    def corners(count: int) -> np.ndarray:
        return (random.choice([-1.0, 1.0], (count, size)) / 4).astype(np.float32)

    asked, gallery = corners(queries), corners(len(product_of))
    found = best_photos(torch.from_numpy(asked), torch.from_numpy(gallery), product_of, top, chunk)
    for query, (places, cosines, others) in zip(asked, found, strict=True):
        assert [(product_of[p], p) for p in places] == naive(query, gallery, product_of, top)
        assert cosines.tolist() == [exact_cosine(query, gallery[p]) for p in places]
        every = [c for c, _ in best_of_each(query, gallery, product_of).values()]
        assert sorted([*cosines.tolist(), *others.tolist()]) == sorted(every)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), chunk=st.integers(1, 5000), top=st.integers(1, 60))
def test_near_ties_of_real_vectors_do_not_depend_on_chunks_or_batches(
    seed: int, chunk: int, top: int
) -> None:
    """Photos that differ from each other by less than float32 can tell in a matrix product."""
    random = np.random.default_rng(seed)
    base = unit_vectors(4, 128, seed)
    gallery = np.repeat(base, 25, axis=0)
    gallery += random.choice([0, 0, 1e-8, 6e-8], gallery.shape).astype(np.float32)
    product_of = np.sort(random.integers(0, 50, len(gallery)))
    asked = torch.from_numpy(np.concatenate([base, unit_vectors(9, 128, seed + 1)]))
    whole = list(best_photos(asked, torch.from_numpy(gallery), product_of, top))
    parts = list(best_photos(asked, torch.from_numpy(gallery), product_of, top, chunk))
    alone = [
        next(best_photos(query[None], torch.from_numpy(gallery), product_of, top))
        for query in asked
    ]
    coded = [
        list(best_photos(asked, torch.from_numpy(gallery), product_of, top, chunk, codes))
        for codes in (codes_of(gallery, "int8"), codes_of(gallery, "binary"))
    ]  # fewer than a hundred products: the second look at what the signs say leaves none out
    for (places, cosines, _), *others in zip(whole, parts, alone, *coded, strict=True):
        for other_places, other_cosines, _ in others:
            assert places.tolist() == other_places.tolist()
            assert cosines.tolist() == other_cosines.tolist()
    for query, (_, cosines, _) in zip(asked.numpy(), whole, strict=True):
        exact = np.array([exact_cosine(query, photo) for photo in gallery])
        best = [exact[product_of == number].max() for number in np.unique(product_of)]
        np.testing.assert_allclose(cosines, np.sort(best)[::-1][:top], rtol=0, atol=1e-15)


def catalog_of_vectors(folder: Path, checkpoint: Checkpoint) -> Catalog:
    """Products at known cosines to the first axis: c and a tie at 1, d is at .6, b at 0."""
    axes = np.eye(DIMENSIONS, dtype=np.float32)
    oblique = (0.6 * axes[0] + 0.8 * axes[1]).astype(np.float32)
    return Catalog.create(
        folder,
        checkpoint.fingerprint,
        DIMENSIONS,
        [
            Product("c", ["c0", "c1"], np.stack([axes[2], axes[0]]), {"kind": "shirt", "price": 3}),
            Product("d", ["d0"], oblique[None], {"kind": "it's"}),
            Product("b", ["b0"], axes[3:4], {"kind": "shirt"}),
            Product("a", ["a0"], axes[:1], {"kind": "dress", "new": True}),
        ],
    )


def test_matches_carry_photo_scores_and_attributes_and_ties_go_by_id(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """A pair's odds are exp(20 cosine − 18); those of four products and of none share the one."""
    finder = Finder(checkpoint, catalog_of_vectors(tmp_path / "c", checkpoint))
    (ranking,) = finder.rank_embeddings(torch.eye(DIMENSIONS)[:1], names=["me"])
    assert ranking.query == "me"
    assert ranking.in_catalog
    assert [(m.product_id, m.path) for m in ranking.matches] == [
        *(("a", "a0"), ("c", "c1"), ("d", "d0"), ("b", "b0"))
    ]
    assert [m.cosine for m in ranking.matches] == pytest.approx([1, 1, 0.6, 0], abs=1e-7)
    odds = [math.exp(20 * cosine - 18) / 4 for cosine in (1, 1, 0.6, 0)]
    expected = [odd / (1 + sum(odds)) for odd in odds]
    assert [m.probability for m in ranking.matches] == pytest.approx(expected, abs=1e-5)
    assert ranking.probability == pytest.approx(sum(expected), abs=1e-5)
    (first, *_) = finder.rank_embeddings(torch.eye(DIMENSIONS)[:1], top=1)
    assert first.probability == ranking.probability  # of all products, shown or not
    assert ranking.matches[0].attributes == {"kind": "dress", "new": True}
    assert ranking.matches[1].attributes == {"kind": "shirt", "price": 3}
    assert isinstance(ranking.matches[1].attributes["price"], int)


def test_a_photo_of_no_product_is_not_in_the_catalog(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    finder = Finder(checkpoint, catalog_of_vectors(tmp_path / "c", checkpoint))
    (ranking,) = finder.rank_embeddings(torch.eye(DIMENSIONS)[5:6], top=1)
    assert not ranking.in_catalog
    assert ranking.matches[0].product_id == "a"


def test_a_filter_leaves_the_order_of_the_others(tmp_path: Path, checkpoint: Checkpoint) -> None:
    finder = Finder(checkpoint, catalog_of_vectors(tmp_path / "c", checkpoint))

    def found(where: str, top: int = 20) -> list[str]:
        (ranking,) = finder.rank_embeddings(torch.eye(DIMENSIONS)[:1], top, where)
        return [match.product_id for match in ranking.matches]

    assert found("kind = 'shirt'") == ["c", "b"]
    assert found("kind = 'it''s' OR new") == ["a", "d"]
    assert found("product_id != 'a'", top=1) == ["c"]
    assert found("path = 'c0'") == ["c"]
    with pytest.raises(CatalogError, match="no product has kind 'hat'; there are shirt"):
        found("kind = 'hat'")
    with pytest.raises(CatalogError, match="no column knd"):
        found("knd = 'hat'")


def test_the_mean_of_a_products_photos_may_count_in_place_of_the_best(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    """Product c has a photo at cosine 1 and one at 0, so that its mean is at 1 / sqrt 2."""
    finder = Finder(checkpoint, catalog_of_vectors(tmp_path / "c", checkpoint), "mean")
    (ranking,) = finder.rank_embeddings(torch.eye(DIMENSIONS)[:1])
    assert [(m.product_id, m.path) for m in ranking.matches] == [
        *(("a", "a0"), ("c", "c0"), ("d", "d0"), ("b", "b0"))
    ]
    cosines = [1, 0.5**0.5, 0.6, 0]
    assert [m.cosine for m in ranking.matches] == pytest.approx(cosines, abs=1e-7)
    odds = [math.exp(20 * cosine - 18) / 4 for cosine in cosines]
    expected = [odd / (1 + sum(odds)) for odd in odds]
    assert [m.probability for m in ranking.matches] == pytest.approx(expected, abs=1e-5)
    assert ranking.matches[1].attributes == {"kind": "shirt", "price": 3}
    (filtered,) = finder.rank_embeddings(torch.eye(DIMENSIONS)[:1], where="path = 'c1' OR new")
    assert [(m.product_id, m.path) for m in filtered.matches] == [("a", "a0"), ("c", "c0")]
    assert filtered.matches[1].cosine == pytest.approx(0.5**0.5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), products=st.integers(1, 9), most_photos=st.integers(1, 4))
def test_means_equal_a_naive_loop(seed: int, products: int, most_photos: int) -> None:
    random = np.random.default_rng(seed)
    product_of = np.repeat(np.arange(products), random.integers(1, most_photos + 1, products))
    vectors = unit_vectors(len(product_of), 5, seed)
    ids = [str(number) for number in range(products)]
    snapshot = Snapshot(1, ids, product_of, vectors, pa.table({}), product_of, None)
    for number, mean in enumerate(snapshot.means):
        own = [v for v, p in zip(vectors, product_of, strict=True) if p == number]
        total = np.sum(own, axis=0)
        np.testing.assert_allclose(mean, total / np.linalg.norm(total), atol=1e-5)


@pytest.mark.parametrize("rerank", list(RERANKINGS))
def test_a_reranking_changes_the_order_of_the_best_hundred_and_no_probability(
    tmp_path: Path, checkpoint: Checkpoint, rerank: Rerank
) -> None:
    """131 products of 1 or 2 photos. Seeds 3 and 4."""
    vectors = unit_vectors(195, DIMENSIONS, seed=3)
    parts = np.split(vectors, np.arange(195)[1:][np.arange(1, 195) % 3 != 0])
    catalog = Catalog.create(
        tmp_path / "c",
        checkpoint.fingerprint,
        DIMENSIONS,
        [
            Product(f"{i:03d}", [f"{i}-{j}" for j in range(len(part))], part)
            for i, part in enumerate(parts)
        ],
    )
    vector_at = {f"{i}-{j}": v for i, part in enumerate(parts) for j, v in enumerate(part)}
    queries = torch.from_numpy(unit_vectors(3, DIMENSIONS, seed=4))
    plain = Finder(checkpoint, catalog).rank_embeddings(queries, top=130)
    reranked = Finder(checkpoint, catalog, rerank=rerank).rank_embeddings(queries, top=7)
    for query, before, after in zip(queries, plain, reranked, strict=True):
        first = before.matches[:100]
        candidates = torch.from_numpy(np.stack([vector_at[match.path] for match in first]))
        scores = RERANKINGS[rerank](query, candidates).tolist()
        expected = sorted(range(100), key=lambda i: (-scores[i], i))[:7]
        assert list(after.matches) == [first[i] for i in expected]
        assert list(after.matches) != list(first[:7])
        assert (after.probability, after.in_catalog) == (before.probability, before.in_catalog)


def test_an_empty_catalog_is_said_to_be_empty(tmp_path: Path, checkpoint: Checkpoint) -> None:
    Catalog.create(tmp_path / "c", checkpoint.fingerprint, DIMENSIONS)
    with pytest.raises(CatalogError, match="the catalog is empty"):
        Finder(checkpoint, tmp_path / "c").rank_embeddings(torch.eye(DIMENSIONS)[:1])


def test_another_encoders_catalog_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    Catalog.create(tmp_path / "c", "another", DIMENSIONS)
    with pytest.raises(CatalogError, match="made by another encoder"):
        Finder(checkpoint, tmp_path / "c")


def test_a_running_finder_sees_what_others_write(tmp_path: Path, checkpoint: Checkpoint) -> None:
    finder = Finder(checkpoint, catalog_of_vectors(tmp_path / "c", checkpoint))
    query = torch.eye(DIMENSIONS)[7:8]

    def best() -> str:
        return finder.rank_embeddings(query, top=1)[0].matches[0].product_id

    other = Catalog.open(tmp_path / "c")
    assert best() == "a"
    other.add([Product("z", ["z0"], query.numpy())])
    assert best() == "z"
    other.update([Product("z", ["z0"], -query.numpy())])
    assert best() == "a"
    other.remove(["a"])
    assert best() == "b"


def products_of(checkpoint: Checkpoint, photos: list[Path]) -> list[Product]:
    vectors = checkpoint.embed(photos).numpy()
    return [
        Product(p.stem, [str(p)], v[None], {"n": i})
        for i, (p, v) in enumerate(zip(photos, vectors, strict=True))
    ]


def test_products_added_one_by_one_rank_as_if_indexed_at_once_and_touch_no_row(
    tmp_path: Path, checkpoint: Checkpoint, photos: list[Path]
) -> None:
    """A batch of another size may change an embedding in its last bits, hence the tolerance."""
    at_once = Finder(
        checkpoint,
        Catalog.create(
            tmp_path / "once", checkpoint.fingerprint, DIMENSIONS, products_of(checkpoint, photos)
        ),
    )
    later = Catalog.create(
        tmp_path / "later", checkpoint.fingerprint, DIMENSIONS, products_of(checkpoint, photos[:4])
    )
    for photo in photos[4:]:
        before = rows(later)
        (added,) = products_of(checkpoint, [photo])
        later.add([added])
        assert [row for row in rows(later) if row["product_id"] != photo.stem] == before

    def answers(finder: Finder) -> list[Ranking]:
        return finder.rank(photos, top=5)

    for one, other in zip(answers(at_once), answers(Finder(checkpoint, later)), strict=True):
        assert [m.product_id for m in one.matches] == [m.product_id for m in other.matches]
        np.testing.assert_allclose(
            [m.cosine for m in one.matches], [m.cosine for m in other.matches], atol=2e-6
        )
        assert one.matches[0].product_id == Path(one.query).stem


def test_a_box_and_a_broken_photo_reach_the_encoder_and_the_caller(
    tmp_path: Path, checkpoint: Checkpoint, photos: list[Path]
) -> None:
    finder = Finder(checkpoint, catalog_of_vectors(tmp_path / "c", checkpoint))
    whole, part = finder.rank([photos[0], photos[0].read_bytes()], boxes=[None, (0, 0, 20, 20)])
    assert (whole.query, part.query) == (str(photos[0]), "photo 2")
    assert whole.matches[0].cosine != part.matches[0].cosine
    with pytest.raises(PhotoError, match="no such file"):
        finder.rank([tmp_path / "missing.jpg"])
    with pytest.raises(ValueError, match="top must be at least 1"):
        finder.rank(photos[:1], top=0)


def test_embedding_goes_on_past_broken_photos_in_every_batch(
    tmp_path: Path, checkpoint: Checkpoint, photos: list[Path]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    mixed = [broken, *photos[:3], tmp_path / "missing.jpg", *photos[3:], broken]
    seen: list[int] = []
    found = embed_all(checkpoint, mixed, batch=2, progress=seen.append)
    assert sorted(found.broken) == [0, 4, 14]
    assert found.usable == [i for i in range(15) if i not in found.broken]
    assert sum(seen) == len(mixed)
    torch.testing.assert_close(found.embeddings, checkpoint.embed(photos), atol=2e-6, rtol=0)
    nothing = embed_all(checkpoint, [broken] * 3)
    assert nothing.embeddings.shape == (0, DIMENSIONS)
