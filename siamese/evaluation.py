"""The reports on one split: are pairs told apart, is the right product first, or missing?

Shapes: R photos, D embedding size.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from siamese.catalog_fit import fit_among
from siamese.cohort import Cohort
from siamese.errors import UserError
from siamese.evaluation_report import Evaluation
from siamese.open_set import (
    OpenSetReport,
    ask,
    ask_strangers,
    report_open_set,
)
from siamese.pair_score import Calibration, fit_calibration
from siamese.retrieval import (
    COSINES,
    Cosines,
    Distractors,
    RetrievalReport,
    measure,
    measure_drawn,
)
from siamese.verification import Pairs, VerificationReport, draw_pairs, verify
from siamese.worn import worn_products

CATALOG_SIZES = (50, 300)
PAIRS_PER_PRODUCT = 10
CATEGORY = "category"  # column whose equal values make a negative pair hard
TWINS = "twin_group"  # column that marks products nobody could tell apart


def fit(
    embedding: Tensor,
    frame: pd.DataFrame,
    raw: Calibration | None = None,
    seed: int = 0,
    cohort: Cohort | None = None,
    likeness: Cosines = COSINES,
) -> Calibration:
    """Fit the probabilities, and the threshold of pairs, on validation photos.

    The probability and the threshold of pairs by those of experiment 1; what is said of whole
    catalogs by catalogs that half of the products are taken out of.

    Args:
        embedding: Unit embeddings, float32 (R, D).
        frame: Manifest rows of these photos, all of the validation split.
        raw: Keep this score's scale and bias, and fit the threshold alone (the report's recipe).
        seed: Of the drawn pairs.
        cohort: Products that none of these photos shows.
        likeness: Of vectors, which may be more than embeddings.
    """
    product, is_person = codes(frame)
    pairs = draw_pairs(product, is_person, PAIRS_PER_PRODUCT, seed)
    alike = _of_pairs(embedding, pairs, likeness)
    fitted = fit_calibration(alike, torch.from_numpy(pairs.same), raw)
    worn = worn_codes(frame)
    return fit_among(
        embedding, worn, is_person, fitted, seed=seed, cohort=cohort, likeness=likeness
    )


def evaluate(
    embedding: Tensor,
    frame: pd.DataFrame,
    calibration: Calibration,
    draws: int = 20,
    seed: int = 0,
    distractors: Distractors | None = None,
    strangers: Tensor | None = None,
    cohort: Cohort | None = None,
    likeness: Cosines = COSINES,
) -> Evaluation:
    """The reports of one split: experiments 1 and 2 of SYSTEMS 1, and open sets.

    A column `category` adds hard pairs (negatives of the same category); a column `twin_group`
    adds a ranking and an open set with one product per group. Products that nobody wears are in
    no drawn catalog; a line of their own ranks them along with all others. Where a column
    `also_worn` names what else photos without a box show, a line counts any of it as right, and
    so do open sets.

    Args:
        embedding: Unit embeddings, float32 (R, D).
        frame: Manifest rows of these photos: `product_id`, `role`.
        calibration: Cosine → probability, and the threshold.
        draws: Random galleries per catalog size.
        seed: Of pairs and galleries.
        distractors: Products of elsewhere; a line of its own ranks them along with all that
            somebody wears. Of equal cosines theirs come first, so they are never flattering.
        strangers: Unit embeddings, float32 (S, D), of people who wear none of the products; an
            open set of their own.
        cohort: Products that none of the photos shows, which the calibration was fitted with.
        likeness: Of vectors, which may be more than embeddings.

    Raises:
        UserError: Fewer than two products have photos of both kinds, or embeddings are not finite.
    """
    product, is_person = codes(frame)
    pairs = draw_pairs(product, is_person, PAIRS_PER_PRODUCT, seed)
    verification = {
        "at .5": _verify(embedding, pairs, calibration, 0.5, likeness),
        "at fitted threshold": _verify(
            embedding, pairs, calibration, calibration.threshold, likeness
        ),
    }
    hard = _hard_pairs(frame, seed) if CATEGORY in frame else None
    if hard is not None:
        verification["same category, fitted"] = _verify(
            embedding, hard, calibration, calibration.threshold, likeness
        )
    both = np.intersect1d(product[is_person], product[~is_person])
    sizes = [size for size in CATALOG_SIZES if size < len(both)]
    retrieval = {
        f"{size} drawn": _rank(embedding, frame, np.unique(product), size, draws, seed, likeness)
        for size in sizes
    }
    retrieval["all"] = _rank(embedding, frame, np.unique(product), len(both), draws, seed, likeness)
    single = None
    if TWINS in frame and frame[TWINS].notna().any():
        single = kept = _one_of_each_group(frame, both)
        retrieval["all, no twins"] = _rank(embedding, frame, kept, len(kept), draws, seed, likeness)
    if len(np.unique(product[~is_person])) > len(both):
        number = torch.from_numpy(product)
        retrieval["all, and unworn"] = measure(
            embedding[is_person],
            number[is_person],
            embedding[~is_person],
            number[~is_person],
            likeness=likeness,
        )
    worn = torch.from_numpy(worn_codes(frame))
    if worn.shape[1] > 1:
        retrieval["all, anything worn"] = measure(
            embedding[is_person],
            worn[is_person],
            embedding[~is_person],
            worn[~is_person, 0],
            likeness=likeness,
        )
    if distractors is not None:
        retrieval[f"{len(both)} + {len(distractors)} distractors"] = _rank(
            embedding, frame, both, len(both), draws, seed, likeness, distractors
        )
    open_set = _open_sets(
        embedding, frame, calibration, draws, seed, single, strangers, cohort, likeness
    )
    return Evaluation(verification, retrieval, open_set)


def _open_sets(
    embedding: Tensor,
    frame: pd.DataFrame,
    calibration: Calibration,
    draws: int,
    seed: int,
    single: np.ndarray | None,
    strangers: Tensor | None,
    cohort: Cohort | None,
    likeness: Cosines,
) -> dict[str, OpenSetReport]:
    """The lines of the open sets' table.

    single: One product of each group of twins: where a product is missing and its twin is not,
        nobody could say so.
    """
    product, is_person = codes(frame)
    worn, answers = worn_codes(frame), {}
    if len(np.intersect1d(product[is_person], product[~is_person])) > 1:
        answers["half of the products"] = ask(
            embedding, worn, is_person, calibration, draws, seed, cohort, likeness
        )
    if single is not None and len(single) > 1:
        kept = np.isin(product, single)
        answers["half, no twins"] = ask(
            embedding[torch.from_numpy(kept)],
            worn[kept],
            is_person[kept],
            calibration,
            draws,
            seed,
            cohort,
            likeness,
        )
    if strangers is not None:
        answers[f"what {len(strangers)} strangers wear"] = ask_strangers(
            embedding, worn, is_person, strangers, calibration, draws, seed, cohort, likeness
        )
    return {line: report_open_set(found, calibration, draws) for line, found in answers.items()}


def _hard_pairs(frame: pd.DataFrame, seed: int) -> Pairs | None:
    """Pairs whose negatives are of the same category; None where no two products share one."""
    try:
        return draw_pairs(*codes(frame), PAIRS_PER_PRODUCT, seed, frame[CATEGORY].to_numpy())
    except UserError:
        return None


def _one_of_each_group(frame: pd.DataFrame, both: np.ndarray) -> np.ndarray:
    """The first product of each group of twins, and every product without a group."""
    products = frame.assign(product=codes(frame)[0]).drop_duplicates("product")
    products = products[products["product"].isin(both)]
    again = products[TWINS].notna() & products[TWINS].duplicated()
    return np.sort(products.loc[~again, "product"].to_numpy())


def codes(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Product numbers, int64 (R,), in order of the ids; and whether each row shows a person."""
    numbers, _ = pd.factorize(frame["product_id"], sort=True)
    return numbers.astype(np.int64), (frame["role"] == "person").to_numpy(dtype=bool, copy=True)


def worn_codes(frame: pd.DataFrame) -> np.ndarray:
    """All that photos show, by the numbers of `codes`, int64 (R, any)."""
    return worn_products(frame, pd.factorize(frame["product_id"], sort=True)[1].tolist())


def _of_pairs(embedding: Tensor, pairs: Pairs, likeness: Cosines) -> Tensor:
    return likeness.of_pairs(embedding[pairs.person_photo], embedding[pairs.product_photo])


def _verify(
    embedding: Tensor,
    pairs: Pairs,
    calibration: Calibration,
    threshold: float,
    likeness: Cosines,
) -> VerificationReport:
    probability = calibration.probability(_of_pairs(embedding, pairs, likeness).double())
    return verify(probability.numpy(), pairs.same, threshold)


def _rank(
    embedding: Tensor,
    frame: pd.DataFrame,
    kept: np.ndarray,
    size: int,
    draws: int,
    seed: int,
    likeness: Cosines,
    distractors: Distractors | None = None,
) -> RetrievalReport:
    """Galleries of `size` products out of those kept, and distractors."""
    product, is_person = codes(frame)
    chosen = np.isin(product, kept)
    query, gallery = chosen & is_person, chosen & ~is_person
    # With every product in the gallery and one person photo of each, all draws are the same.
    one_each = size == len(kept) and query.sum() == size
    return measure_drawn(
        embedding[query],
        torch.from_numpy(product[query]),
        embedding[gallery],
        torch.from_numpy(product[gallery]),
        size,
        draws=1 if one_each else draws,
        seed=seed,
        distractors=distractors,
        likeness=likeness,
    )
