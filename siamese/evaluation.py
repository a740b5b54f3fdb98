"""The reports on one split: are pairs told apart, is the right product first, or missing?

Shapes: R photos, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from siamese.errors import UserError
from siamese.open_set import (
    OpenSetReport,
    ask,
    fit_among,
    fit_catalog_threshold,
    report_open_set,
)
from siamese.pair_score import Calibration, fit_calibration
from siamese.retrieval import TOP, Distractors, RetrievalReport, measure, measure_drawn
from siamese.verification import Pairs, VerificationReport, draw_pairs, verify

Report = TypeVar("Report")
CATALOG_SIZES = (50, 300)
PAIRS_PER_PRODUCT = 10
CATEGORY = "category"  # column whose equal values make a negative pair hard
TWINS = "twin_group"  # column that marks products nobody could tell apart


@dataclass(frozen=True)
class Evaluation:
    """The reports of one encoder on one split, by the name of their line."""

    verification: dict[str, VerificationReport]
    retrieval: dict[str, RetrievalReport]
    open_set: OpenSetReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verification": {name: r.as_dict() for name, r in self.verification.items()},
            "retrieval": {name: r.as_dict() for name, r in self.retrieval.items()},
            "open_set": self.open_set and self.open_set.as_dict(),
        }

    def __str__(self) -> str:
        return side_by_side({"": self})


def from_dict(values: dict[str, Any]) -> Evaluation:
    """What `Evaluation.as_dict` gave, read back from JSON."""
    rankings = {}
    for name, row in values["retrieval"].items():
        kept = {f.name: row[f.name] for f in fields(RetrievalReport) if f.name in row}
        rankings[name] = RetrievalReport(**kept, top={k: row[f"top_{k}"] for k in TOP})
    pairs = {name: VerificationReport(**row) for name, row in values["verification"].items()}
    open_set = values["open_set"] and OpenSetReport(**values["open_set"])
    return Evaluation(pairs, rankings, open_set)


def side_by_side(evaluations: dict[str, Evaluation]) -> str:
    """The reports as text tables; each line of a report with every recipe under the other.

    Args:
        evaluations: By the name of the recipe; a single nameless one gets no such column.
    """
    pairs = [
        {
            "pairs": line,
            "recipe": recipe,
            "count": report.pairs,
            "accuracy": f"{report.accuracy:.3f}",
            "precision": f"{report.precision:.3f}",
            "recall": f"{report.recall:.3f}",
            "F1": f"{report.f1:.3f}",
            "AUC": f"{report.auc:.3f}",
            "calibration error": f"{report.calibration_error:.3f}",
            "[[TN, FP], [FN, TP]]": f"[[{report.true_negatives}, {report.false_positives}], "
            f"[{report.false_negatives}, {report.true_positives}]]",
        }
        for line, recipe, report in _lines({n: e.verification for n, e in evaluations.items()})
    ]
    rankings = [
        {
            "catalog": line,
            "recipe": recipe,
            "products": report.catalog_size,
            **{f"top-{k} [95 %]": _with_interval(report, k) for k in TOP},
            "chance 1/5/10/20": "/".join(_short(report.chance(k)) for k in TOP),
            "MRR": f"{report.mean_reciprocal_rank:.3f}",
            "mAP": f"{report.mean_average_precision:.3f}",
        }
        for line, recipe, report in _lines({n: e.retrieval for n, e in evaluations.items()})
    ]
    titles = {
        "Verification: is the person wearing this product?": pairs,
        "Retrieval: is the right product among the first k?": rankings,
        "Open set: is the product in the catalog at all, where half of them are not?": [
            _open_set_row(recipe, evaluation.open_set)
            for recipe, evaluation in evaluations.items()
            if evaluation.open_set
        ],
    }
    hidden = [] if any(evaluations) else ["recipe"]
    return "\n\n".join(
        f"{title}\n{_text_of(pd.DataFrame(rows).drop(columns=hidden))}"
        for title, rows in titles.items()
        if rows
    )


def _open_set_row(recipe: str, report: OpenSetReport) -> dict[str, object]:
    """A line of the open set's table."""
    return {
        "products": report.catalog_size,
        "recipe": recipe,
        "queries": report.queries,
        "AUROC": f"{report.auroc:.3f}",
        "accuracy at fitted threshold": f"{report.accuracy:.3f}",
        "calibration error": f"{report.calibration_error:.3f}",
        "of the first match": f"{report.best_calibration_error:.3f}",
    }


def _text_of(table: pd.DataFrame) -> str:
    """Lines of equal length: names at the left and each said once, figures at the right."""
    table = table.astype(str)
    table.iloc[:, 0] = table.iloc[:, 0].mask(table.iloc[:, 0].duplicated(), "")
    columns = []
    for name, cells in table.items():
        column = [str(name), *cells]
        width = max(map(len, column))
        named = name in ("pairs", "catalog", "recipe")
        columns.append([c.ljust(width) if named else c.rjust(width) for c in column])
    return "\n".join("  ".join(line) for line in zip(*columns, strict=True))


def _lines(reports: dict[str, dict[str, Report]]) -> Iterator[tuple[str, str, Report]]:
    """(line, recipe, report), line by line."""
    lines = dict.fromkeys(line for of_recipe in reports.values() for line in of_recipe)
    for line in lines:
        for recipe, of_recipe in reports.items():
            if line in of_recipe:
                yield line, recipe, of_recipe[line]


def _with_interval(report: RetrievalReport, k: int) -> str:
    low, high = report.interval(k)
    return f"{report.top[k]:.3f} [{_short(low)}, {_short(high)}]"


def _short(share: float) -> str:
    """Two digits, three for the small shares of chance."""
    return f"{share:.3f}" if 0 < share < 0.01 else f"{share:.2f}"


def fit(
    embedding: Tensor, frame: pd.DataFrame, raw: Calibration | None = None, seed: int = 0
) -> Calibration:
    """Fit the probability and the thresholds on validation photos.

    The probability and the threshold of pairs by those of experiment 1; what is said of whole
    catalogs, and the threshold of "in this catalog", by catalogs that half of the products are
    taken out of.

    Args:
        embedding: Unit embeddings, float32 (R, D).
        frame: Manifest rows of these photos, all of the validation split.
        raw: Keep this score's scale and bias, and fit the threshold alone (the report's recipe).
        seed: Of the drawn pairs.
    """
    product, is_person = codes(frame)
    pairs = draw_pairs(product, is_person, PAIRS_PER_PRODUCT, seed)
    fitted = fit_calibration(_cosine(embedding, pairs), torch.from_numpy(pairs.same), raw)
    fitted = fit_among(embedding, product, is_person, fitted, seed=seed)
    return fit_catalog_threshold(ask(embedding, product, is_person, fitted, seed=seed), fitted)


def evaluate(
    embedding: Tensor,
    frame: pd.DataFrame,
    calibration: Calibration,
    draws: int = 20,
    seed: int = 0,
    distractors: Distractors | None = None,
) -> Evaluation:
    """The reports of one split: experiments 1 and 2 of SYSTEMS 1, and an open set.

    A column `category` adds hard pairs (negatives of the same category); a column `twin_group`
    adds a ranking with one product per group. Products that nobody wears are in no drawn catalog;
    a line of their own ranks them along with all others.

    Args:
        embedding: Unit embeddings, float32 (R, D).
        frame: Manifest rows of these photos: `product_id`, `role`.
        calibration: Cosine → probability, and the threshold.
        draws: Random galleries per catalog size.
        seed: Of pairs and galleries.
        distractors: Products of elsewhere; a line of its own ranks them along with all that
            somebody wears. Of equal cosines theirs come first, so they are never flattering.

    Raises:
        UserError: Fewer than two products have photos of both kinds, or embeddings are not finite.
    """
    product, is_person = codes(frame)
    pairs = draw_pairs(product, is_person, PAIRS_PER_PRODUCT, seed)
    verification = {
        "at .5": _verify(embedding, pairs, calibration, 0.5),
        "at fitted threshold": _verify(embedding, pairs, calibration, calibration.threshold),
    }
    hard = _hard_pairs(frame, seed) if CATEGORY in frame else None
    if hard is not None:
        verification["same category, fitted"] = _verify(
            embedding, hard, calibration, calibration.threshold
        )
    both = np.intersect1d(product[is_person], product[~is_person])
    sizes = [size for size in CATALOG_SIZES if size < len(both)]
    retrieval = {
        f"{size} drawn": _rank(embedding, frame, np.unique(product), size, draws, seed)
        for size in sizes
    }
    retrieval["all"] = _rank(embedding, frame, np.unique(product), len(both), draws, seed)
    if TWINS in frame and frame[TWINS].notna().any():
        kept = _one_of_each_group(frame, both)
        retrieval["all, no twins"] = _rank(embedding, frame, kept, len(kept), draws, seed)
    if len(np.unique(product[~is_person])) > len(both):
        number = torch.from_numpy(product)
        retrieval["all, and unworn"] = measure(
            embedding[is_person], number[is_person], embedding[~is_person], number[~is_person]
        )
    if distractors is not None:
        retrieval[f"{len(both)} + {len(distractors)} distractors"] = _rank(
            embedding, frame, both, len(both), draws, seed, distractors
        )
    open_set = None
    if len(both) > 1:
        answers = ask(embedding, product, is_person, calibration, draws, seed)
        open_set = report_open_set(answers, calibration, draws)
    return Evaluation(verification, retrieval, open_set)


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


def _cosine(embedding: Tensor, pairs: Pairs) -> Tensor:
    return (embedding[pairs.product_photo] * embedding[pairs.person_photo]).sum(dim=1)


def _verify(
    embedding: Tensor, pairs: Pairs, calibration: Calibration, threshold: float
) -> VerificationReport:
    probability = calibration.probability(_cosine(embedding, pairs).double())
    return verify(probability.numpy(), pairs.same, threshold)


def _rank(
    embedding: Tensor,
    frame: pd.DataFrame,
    kept: np.ndarray,
    size: int,
    draws: int,
    seed: int,
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
    )
