"""The reports on one split: as JSON, and as text tables with several recipes side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import pandas as pd

from siamese.open_set import OpenSetReport
from siamese.retrieval import TOP, RetrievalReport
from siamese.verification import VerificationReport

Report = TypeVar("Report")


@dataclass(frozen=True)
class Evaluation:
    """The reports of one encoder on one split, by the name of their line."""

    verification: dict[str, VerificationReport]
    retrieval: dict[str, RetrievalReport]
    open_set: dict[str, OpenSetReport] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verification": {name: r.as_dict() for name, r in self.verification.items()},
            "retrieval": {name: r.as_dict() for name, r in self.retrieval.items()},
            "open_set": {name: r.as_dict() for name, r in self.open_set.items()},
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
    open_set = {name: OpenSetReport(**row) for name, row in values["open_set"].items()}
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
        "Open set: is the product in the catalog at all, where for half of the photos it is not?": [
            _open_set_row(line, recipe, report)
            for line, recipe, report in _lines({n: e.open_set for n, e in evaluations.items()})
        ],
    }
    hidden = [] if any(evaluations) else ["recipe"]
    return "\n\n".join(
        f"{title}\n{_text_of(pd.DataFrame(rows).drop(columns=hidden))}"
        for title, rows in titles.items()
        if rows
    )


def _open_set_row(line: str, recipe: str, report: OpenSetReport) -> dict[str, object]:
    """A line of the open set's table."""
    return {
        "missing": line,
        "recipe": recipe,
        "products": report.catalog_size,
        "queries": report.queries,
        "AUROC [95 %]": _auroc_of(report),
        "accuracy": f"{report.accuracy:.3f}",
        "calibration error": f"{report.calibration_error:.3f}",
        "of the first match": f"{report.best_calibration_error:.3f}",
    }


def _auroc_of(report: OpenSetReport) -> str:
    """With its interval, where that is known."""
    if report.auroc_low is None or report.auroc_high is None:
        return f"{report.auroc:.3f}"
    return f"{report.auroc:.3f} [{_short(report.auroc_low)}, {_short(report.auroc_high)}]"


def _text_of(table: pd.DataFrame) -> str:
    """Lines of equal length: names at the left and each said once, figures at the right."""
    table = table.astype(str)
    table.iloc[:, 0] = table.iloc[:, 0].mask(table.iloc[:, 0].duplicated(), "")
    columns = []
    for name, cells in table.items():
        column = [str(name), *cells]
        width = max(map(len, column))
        named = name in ("pairs", "catalog", "missing", "recipe")
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
