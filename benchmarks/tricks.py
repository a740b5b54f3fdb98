"""What query and catalog tricks are worth: one table of one encoder on one split.

    uv run python benchmarks/tricks.py CHECKPOINT MANIFEST [--split validation]
        [--distractors PLACE] [--distractor-limit N]

Every line asks the same person photos of the same products. Where every product is worn in three
photos or more, one of them per product goes to the catalog for the lines with a worn photo, and is
asked in none; a line about several photos is left out where there is one only.

- won, lost: queries whose first match became right or wrong, against the first line.
- error: expected calibration error of the first match's probability with half of the products
  taken out, by the checkpoint's calibration, which was fitted for the first line.
- embed, rank: median milliseconds per query: the encoder without reading the photo, and ranking.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from datasets.manifest import read_manifest
from datasets.places import listed_at
from siamese.boxes import boxes_of
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.cohort import Cohort
from siamese.commands import embed_with_bar
from siamese.encoder import Encoder
from siamese.errors import UserError
from siamese.other_products import distractors_of
from siamese.pair_score import Calibration
from siamese.quantisation import hamming, int8_codes, int8_cosines, sign_bits
from siamese.reranking import expansion_scores, reciprocal_scores
from siamese.retrieval import mean_embedding, product_scores, ranks_of
from siamese.verification import expected_calibration_error

CANDIDATES = 100
HALVES = 10
Score = Callable[[int], Tensor]  # number of the query → score of each product, float (N,)


@dataclass(frozen=True)
class Photos:
    """All photos of a split and the distractors, by where they are used.

    Args:
        query: Unit embeddings of person photos, (Q, D).
        second: Another photo of the same person's product each, (Q, D), or `None`.
        right: int64 (Q,), their products.
        gallery: Unit embeddings of product photos, (M, D), in order of their products.
        product: int64 (M,); the distractors' numbers are the smallest, so that they win ties.
        worn: One person photo of each product, (P, D), and `worn_product` (P,); or `None`.
    """

    query: Tensor
    second: Tensor | None
    right: Tensor
    gallery: Tensor
    product: Tensor
    worn: Tensor | None
    worn_product: Tensor

    @property
    def products(self) -> int:
        """N."""
        return int(self.product[-1]) + 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("manifest")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--distractors", help="folder of photos or a manifest")
    parser.add_argument("--distractor-limit", type=int)
    arguments = parser.parse_args()
    frame = rows_of(arguments)
    checkpoint = load_checkpoint(arguments.checkpoint)
    flipping = with_flip(checkpoint, flip=not checkpoint.encoder.config.flip_average)
    plain, flipped = (arranged(embedded(c, frame), frame) for c in (checkpoint, flipping))
    first, second = "plain", "flip averaging"
    if checkpoint.encoder.config.flip_average:
        first, second = "plain (flip averaging)", "no flip averaging"
    cosines = {first: best_of(plain), second: best_of(flipped)} | cosine_lines(plain)
    one, other = (milliseconds_of_one(c) for c in (checkpoint, flipping))
    embed = {second: other, "two photos, mean": 2 * one, "two photos, mean cosine": 2 * one}
    others = beside(plain, checkpoint.cohort)
    lines, before = [], None
    for name, score in (cosines | order_lines(plain)).items():
        scores, milliseconds = asked(plain, score)
        ranks = ranks_of(scores, plain.right)
        before = ranks if before is None else before
        error = 0.0
        if name in cosines:
            error = first_match_error(scores, plain, checkpoint.calibration, others)
        lines.append(
            {"line": name}
            | row(ranks, before)
            | {
                "error": f"{error:.3f}" if name in cosines else "-",
                "embed": f"{embed.get(name, one):.1f}",
                "rank": f"{milliseconds:.2f}",
            }
        )
    print(pd.DataFrame(lines).to_string(index=False))
    print(
        f"{len(plain.query)} queries, {plain.products} products, "
        f"{frame.loc[frame['distractor'], 'product_id'].nunique()} of them distractors"
    )


def rows_of(arguments: argparse.Namespace) -> pd.DataFrame:
    """Manifest rows of the split, and of distractors with a column that says so."""
    manifest = read_manifest(arguments.manifest)
    frame = manifest[manifest["split"] == arguments.split].assign(distractor=False)
    frame["box"] = boxes_of(frame)
    if arguments.distractors is None:
        return frame.reset_index(drop=True)
    found = listed_at(arguments.distractors)
    others = distractors_of(found, set(frame["path"]), arguments.distractor_limit)
    rows = [(photo.path, photo.product_id, "product", True, photo.box) for photo in others]
    columns = ["path", "product_id", "role", "distractor", "box"]
    return pd.concat([frame, pd.DataFrame(rows, columns=columns)], ignore_index=True)


def with_flip(checkpoint: Checkpoint, flip: bool) -> Checkpoint:
    """The same weights, which look as often as they do, with or without flip averaging."""
    size = checkpoint.preprocessing.height, checkpoint.preprocessing.width
    encoder = Encoder(replace(checkpoint.encoder.config, flip_average=flip), *size)
    encoder.load_state_dict(checkpoint.encoder.state_dict())
    return replace(checkpoint, encoder=encoder)


def embedded(checkpoint: Checkpoint, frame: pd.DataFrame) -> Tensor:
    """Unit embeddings of all rows, (R, D)."""
    boxes = [None if box is None or box is np.nan else box for box in frame["box"]]
    people = (frame["role"] == "person").tolist()
    found = embed_with_bar(checkpoint, frame["path"].tolist(), boxes, people)
    if found.broken:
        raise next(iter(found.broken.values()))
    return found.embeddings


def arranged(embedding: Tensor, frame: pd.DataFrame) -> Photos:
    """The embeddings by what they are used for; the same rows for every encoder."""
    key = np.where(frame["distractor"], "0", "1") + frame["product_id"].to_numpy(str)
    number = np.unique(key, return_inverse=True)[1]
    is_person = (frame["role"] == "person").to_numpy()
    shown = np.flatnonzero(~is_person)
    shown = shown[number[shown].argsort(kind="stable")]
    persons = np.flatnonzero(is_person & np.isin(number, number[shown]))
    persons = persons[number[persons].argsort(kind="stable")]
    # Products without a product photo are in no gallery, so the others are numbered again.
    products = np.unique(number[shown])
    number = np.searchsorted(products, number)
    of_person = number[persons]
    start = np.flatnonzero(np.diff(of_person, prepend=-1))
    count = np.diff(start, append=len(persons))
    worn = persons[start][:0]
    if len(count) and count.min() >= 3:
        worn, persons = persons[start], np.delete(persons, start)
        of_person, count = number[persons], count - 1
        start = np.cumsum(count) - count
    second = None
    if len(count) and count.min() >= 2:
        place = np.arange(len(persons)) - np.repeat(start, count)
        after = np.repeat(start, count) + (place + 1) % np.repeat(count, count)
        second = embedding[persons[after]]
    return Photos(
        embedding[persons],
        second,
        torch.from_numpy(of_person),
        embedding[shown],
        torch.from_numpy(number[shown]),
        embedding[worn] if len(worn) else None,
        torch.from_numpy(number[worn]),
    )


def best_of(photos: Photos) -> Score:
    """Cosine of each product's best photo."""
    return lambda q: best(photos, photos.query[q])


def best(photos: Photos, query: Tensor) -> Tensor:
    """Cosine of each product's best photo with a query (D,)."""
    return of_products(photos, photos.gallery @ query)


def cosine_lines(photos: Photos) -> dict[str, Score]:
    """Lines whose scores are cosines, so that the calibration says something about them."""
    lines: dict[str, Score] = {}
    query, second = photos.query, photos.second
    if second is not None:
        lines["two photos, mean"] = lambda q: best(
            photos, mean_embedding(torch.stack([query[q], second[q]]))[0]
        )
        lines["two photos, mean cosine"] = lambda q: best(photos, (query[q] + second[q]) / 2)
    if photos.products < len(photos.gallery):
        lines["mean of a product's photos"] = best_of(with_means(photos))
    if photos.worn is not None:
        product = torch.cat([photos.product, photos.worn_product])
        order = product.argsort(stable=True)
        gallery = torch.cat([photos.gallery, photos.worn])[order]
        richer = replace(photos, gallery=gallery, product=product[order])
        lines["with a worn photo, max"] = best_of(richer)
        lines["with a worn photo, mean"] = best_of(with_means(richer))
    codes = int8_codes(photos.gallery)
    lines["int8"] = lambda q: of_products(
        photos, int8_cosines(int8_codes(query[q : q + 1]), codes)[0]
    )
    axes = torch.linalg.svd(photos.gallery, full_matrices=False).Vh
    for size in (size for size in (64, 32) if size < query.shape[1]):
        lines[f"first {size} numbers"] = best_of(projected(photos, torch.eye(len(axes))[:size]))
        lines[f"{size} main axes of the gallery"] = best_of(projected(photos, axes[:size]))
    return lines


def order_lines(photos: Photos) -> dict[str, Score]:
    """Lines whose scores are an order only."""
    bits = sign_bits(photos.gallery.numpy())
    asked = sign_bits(photos.query.numpy())
    size = photos.query.shape[1]

    def binary(q: int) -> Tensor:
        distance = torch.from_numpy(hamming(asked[q], bits).astype(np.float32))
        return of_products(photos, 1 - 2 * distance / size)

    return {
        "average expansion": reranked(photos, lambda q, c: expansion_scores(q, c, alpha=0.0)),
        "alpha expansion": reranked(photos, expansion_scores),
        "reciprocal": reranked(photos, reciprocal_scores),
        "binary": binary,
        f"binary, exact among {CANDIDATES}": then_exact(photos, binary),
    }


def with_means(photos: Photos) -> Photos:
    """The normalised mean of each product's photos as its only one."""
    total = torch.zeros(photos.products, photos.gallery.shape[1])
    total.index_add_(0, photos.product, photos.gallery)
    mean = functional.normalize(total, dim=1)
    return replace(photos, gallery=mean, product=torch.arange(photos.products))


def projected(photos: Photos, axes: Tensor) -> Photos:
    """Shorter embeddings by these axes, (k, D)."""
    query, gallery = (functional.normalize(x @ axes.T) for x in (photos.query, photos.gallery))
    return replace(photos, query=query, gallery=gallery)


def of_products(photos: Photos, scores: Tensor) -> Tensor:
    """The best score over each product's photos, (M,) → (N,)."""
    if photos.products == len(scores):
        return scores
    return product_scores(scores[None], photos.product, photos.products)[0]


def then_exact(photos: Photos, score: Score) -> Score:
    """Exact cosines for the best candidates, which come before all others."""

    def scores(q: int) -> Tensor:
        found = score(q)
        candidates = found.topk(min(CANDIDATES, len(found))).indices
        own = torch.isin(photos.product, candidates).nonzero()[:, 0]
        exact = torch.full_like(found, -torch.inf)
        cosine = photos.gallery[own] @ photos.query[q]
        exact.scatter_reduce_(0, photos.product[own], cosine, "amax")
        return torch.where(exact.isfinite(), exact, found - 4)

    return scores


def reranked(photos: Photos, rerank: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """The best candidates, each by its best photo, in the order of the re-ranking."""

    def scores(q: int) -> Tensor:
        cosine = photos.gallery @ photos.query[q]
        found = of_products(photos, cosine)
        cosines, candidates = found.topk(min(CANDIDATES, len(found)))
        best_photo = [int((cosine == c).nonzero()[0, 0]) for c in cosines]
        if photos.products == len(cosine):
            best_photo = candidates.tolist()
        order = rerank(photos.query[q], photos.gallery[best_photo]).argsort(
            descending=True, stable=True
        )
        found[candidates[order]] = torch.arange(len(order), 0, -1).float() + 1
        return found

    return scores


def milliseconds_of_one(checkpoint: Checkpoint) -> float:
    """Median of embedding one photo that is read already."""
    preprocessing = checkpoint.preprocessing
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (1, preprocessing.height, preprocessing.width, 3), np.uint8)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        checkpoint.embed_pixels(pixels)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e3


def asked(photos: Photos, score: Score) -> tuple[Tensor, float]:
    """Scores of all queries, (Q, N), and the median milliseconds of one."""
    rows, seconds = [], []
    for q in range(len(photos.query)):
        start = time.perf_counter()
        rows.append(score(q))
        seconds.append(time.perf_counter() - start)
    return torch.stack(rows), float(np.median(seconds)) * 1e3


def beside(photos: Photos, cohort: Cohort | None) -> Tensor | None:
    """Cosines of the queries with the checkpoint's cohort, (Q, any)."""
    if cohort is None:
        return None
    first = (photos.query @ photos.gallery.T).argmax(dim=1)
    return cohort.cosines(photos.query, cohort.same(photos.gallery[first]))


def first_match_error(
    scores: Tensor, photos: Photos, calibration: Calibration, others: Tensor | None = None
) -> float:
    """Calibration error of the first match, where half of the products asked for are missing.

    others: Cosines with the cohort, if the calibration was fitted with one.
    """
    random = np.random.default_rng(0)
    sought = photos.right.unique().numpy()
    stated, true = [], []
    for _ in range(HALVES):
        missing = random.permutation(sought)[: len(sought) // 2]
        kept = torch.from_numpy(np.setdiff1d(np.arange(photos.products), missing))
        probability, place = calibration.among(scores[:, kept], others)[:, :-1].max(dim=1)
        stated.append(probability.numpy())
        true.append((kept[place] == photos.right).numpy())
    return expected_calibration_error(np.concatenate(stated), np.concatenate(true))


def row(ranks: Tensor, before: Tensor) -> dict[str, object]:
    """The figures of a line from its ranks and those of the first line, float64 (Q,) each."""
    return {
        **{f"top-{k}": f"{float((ranks <= k).double().mean()):.3f}" for k in (1, 5, 20)},
        "MRR": f"{float((1 / ranks).mean()):.3f}",
        "won": int(((ranks == 1) & (before > 1)).sum()),
        "lost": int(((ranks > 1) & (before == 1)).sum()),
    }


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"tricks.py: {error}")
