"""A catalog's labels and embeddings in figures: counts, missing values, clusters, a map.

Pure functions of a table of products and their embeddings; `exploration_report` draws them.

Shapes: N products, D embedding size, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from siamese.attributes.label_table import chosen_products, is_mark
from siamese.errors import UserError
from siamese.products import PATH, PRODUCT, whole_or_fraction
from siamese.snapshot import Snapshot

MOST_LABELS = 200  # more different values are no labels but names or prices
RARE = 10  # products; a label with fewer is called rare
PERPLEXITY = 30.0
EQUAL = 1e-6  # embeddings that differ by no more are equal but for rounding

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Products:
    """What is explored.

    Args:
        table: Columns product_id, path (of the first photo) and the attributes, N rows.
        embeddings: Of each product the normalised mean of its photos', float32 (N, D).
    """

    table: pd.DataFrame
    embeddings: npt.NDArray[np.float32]


def products_of(snapshot: Snapshot, where: str | None = None) -> Products:
    """The products of a catalog, or those that a filter holds for.

    Raises:
        CatalogError: The filter is wrong or holds for none.
        UserError: Fewer than three products.
    """
    kept = chosen_products(snapshot, where)
    if len(kept) < 3:
        raise UserError(f"{len(kept)} products are too few to explore; add some")
    described = snapshot.describe(snapshot.first[kept])
    names = [name for name in snapshot.rows.column_names if name != PATH]
    table = pd.DataFrame([known for _, known in described], columns=names)
    table.insert(0, PRODUCT, [snapshot.product_ids[place] for place in kept])
    table.insert(1, PATH, [path for path, _ in described])
    return Products(table, snapshot.means[kept])


def label_columns(table: pd.DataFrame, asked: Sequence[str] | None = None) -> list[str]:
    """The columns that hold labels: with two different values or more, and not too many.

    Args:
        table: Of `Products`.
        asked: These, if given.

    Raises:
        UserError: One that is not there, or nothing to explore.
    """
    known = [str(name) for name in table if name not in (PRODUCT, PATH) and not is_mark(str(name))]
    for name in asked or ():
        if name not in known:
            raise UserError(f"--labels {name}: no such column; there are {', '.join(known)}")
        if not table[name].notna().any():
            raise UserError(f"--labels {name}: no product has a value in this column")
    if asked:
        return list(dict.fromkeys(asked))
    most = min(MOST_LABELS, len(table) // 2)
    found = [name for name in known if not is_mark(name) and 2 <= table[name].nunique() <= most]
    if not found:
        raise UserError("no column of the catalog holds labels; add some, or name them by --labels")
    return found


def texts(column: pd.Series) -> pd.Series:
    """Labels as text; missing ones stay missing."""
    return column.map(lambda value: str(whole_or_fraction(value))).where(column.notna())


def label_counts(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """How many products have each label: columns column, label, products, share; most first."""
    parts = []
    for column in columns:
        counts = texts(table[column]).value_counts()
        counts = counts.sort_index().sort_values(ascending=False, kind="stable")
        parts.append(
            pd.DataFrame(
                {
                    "column": column,
                    "label": counts.index,
                    "products": counts.to_numpy(),
                    "share": counts.to_numpy() / len(table),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def overview(table: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """Per column: labels, missing, the largest share, largest / smallest, labels under `RARE`."""
    rows = []
    for column, part in counts.groupby("column", sort=False):
        products = part["products"]
        rows.append(
            {
                "column": column,
                "labels": len(part),
                "missing": int(table[str(column)].isna().sum()),
                "most common": part["label"].iloc[0],
                "its share": float(part["share"].iloc[0]),
                "largest / smallest": float(products.max() / products.min()),
                "rare labels": int((products < RARE).sum()),
            }
        )
    return pd.DataFrame(rows)


def cluster(embeddings: npt.NDArray[np.float32], clusters: int, seed: int = 0) -> Integers:
    """Number of each product's cluster, the largest is 0: int64 (N,); k-means on unit vectors.

    Raises:
        UserError: More clusters than products.
    """
    from sklearn.cluster import KMeans

    if clusters > len(embeddings):
        raise UserError(f"--clusters {clusters}: there are {len(embeddings)} products only")
    found = KMeans(clusters, n_init=3, random_state=seed).fit_predict(embeddings)
    order = np.argsort(-np.bincount(found, minlength=clusters), kind="stable")
    rank = np.empty(clusters, np.int64)
    rank[order] = np.arange(clusters)
    return rank[found]


def cluster_labels(table: pd.DataFrame, clusters: Integers, columns: Sequence[str]) -> pd.DataFrame:
    """Per cluster its size, and of each column the most common label and its share.

    Products without a label count as of another one. Of equally common labels it is the first by
    its text. The columns are cluster, products, and `label_name(column)` and `COLUMN purity`.
    """
    rows = []
    for number in range(int(clusters.max()) + 1):
        part = table[clusters == number]
        row: dict[str, object] = {"cluster": number, "products": len(part)}
        for column in columns:
            counts = texts(part[column]).value_counts().sort_index()
            most = int(counts.max()) if len(counts) else 0
            row[label_name(column)] = counts.idxmax() if len(counts) else None
            row[f"{column} purity"] = most / len(part) if len(part) else 0.0
        rows.append(row)
    return pd.DataFrame(rows)


def label_name(column: str) -> str:
    """What a table of clusters calls the most common label of a column: the like, if it can."""
    return f"{column} label" if column in ("cluster", "products") else column


def purity(clusters: pd.DataFrame, column: str) -> float:
    """Share of all products that have the most common label of their cluster (Manning 2008)."""
    products = clusters["products"]
    return float((clusters[f"{column} purity"] * products).sum() / products.sum())


def flat_map(embeddings: npt.NDArray[np.float32], seed: int = 0) -> Floats:
    """Places on a map where products that are alike lie close together: float64 (N, 2).

    t-SNE (van der Maaten & Hinton 2008), from the principal components on so that far parts of
    the map mean something too.
    """
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(embeddings) - 1) / 3)
    # PCA of three products has no second component to start from, that of equal ones no spread.
    usable = min(embeddings.shape) > 2 and np.ptp(embeddings, axis=0).max() > EQUAL
    start = "pca" if usable else "random"
    model = TSNE(perplexity=perplexity, init=start, random_state=seed)
    places: Floats = model.fit_transform(embeddings.astype(np.float32)).astype(np.float64)
    return places
