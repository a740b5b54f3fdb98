"""What `infer.py variants`, `complements` and `candidates` do once their arguments are parsed."""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from siamese.attributes.label_table import read_labels
from siamese.catalog import Catalog
from siamese.finder import Finder
from siamese.output import clipped, few_attributes
from siamese.products import PATH, PRODUCT, Attribute
from siamese.recommend.candidates import candidates_of
from siamese.recommend.complements import (
    BY_RULE,
    Companions,
    complements,
    kinds_of,
    learn_companions,
)
from siamese.recommend.personal import PersonalFinder
from siamese.recommend.taste import Taste, TasteError, read_taste, values_of
from siamese.recommend.variants import Suggestion, variants
from siamese.snapshot import Snapshot

SET = "set_id"
COLUMNS = 10  # of a picture


def personal(finder: Finder, arguments: Namespace) -> Finder:
    """The finder for the person that the arguments describe; the same one if they say nothing.

    Raises:
        TaggerError: The tagger to narrow with cannot be used.
        TasteError, CatalogError: See `taste_of`.
    """
    if arguments.narrow is not None:
        from siamese.attributes.tagger import load_tagger
        from siamese.recommend.narrowing import NarrowingFinder

        finder = NarrowingFinder(finder, load_tagger(arguments.narrow))
    taste = taste_of(arguments, finder.catalog)
    if not taste and not arguments.variety:
        return finder
    if finder.rerank != "none" and (taste.prefer or arguments.variety):
        raise TasteError(
            "--rerank does not go with preferred values and --variety, which order anew; leave "
            "one of them out"
        )
    return PersonalFinder(finder, taste, arguments.variety)


def taste_of(arguments: Namespace, catalog: Catalog) -> Taste:
    """The profile and what was said besides.

    Raises:
        TasteError: The profile cannot be read, or a word is not COLUMN=VALUE.
        CatalogError: A column is not known.
    """
    given = Taste() if arguments.taste is None else read_taste(arguments.taste)
    snapshot = catalog.snapshot()
    return given | Taste(
        _by_column(snapshot, "--never", arguments.never),
        _by_column(snapshot, "--prefer", arguments.prefer),
        tuple(arguments.like),
        tuple(arguments.dislike),
    )


def show_variants(arguments: Namespace, catalog: Catalog) -> str:
    """A product in other colours, or whatever shall differ."""
    taste = taste_of(arguments, catalog)
    found = variants(
        catalog.snapshot(),
        arguments.product_id,
        arguments.top,
        arguments.same,
        arguments.different,
        taste,
    )
    return _shown(arguments, catalog, found)


def show_complements(arguments: Namespace, catalog: Catalog) -> str:
    """What goes with a product."""
    taste = taste_of(arguments, catalog)
    companions = BY_RULE
    if arguments.sets is not None:
        companions = read_companions(arguments.sets, catalog.snapshot(), arguments.category)
    found = complements(
        catalog.snapshot(),
        arguments.product_id,
        companions,
        arguments.top,
        arguments.categories,
        arguments.category,
        taste,
    )
    line = arguments.top * max(1, COLUMNS // arguments.top)  # a category is not parted
    return _shown(arguments, catalog, found, line)


def show_candidates(arguments: Namespace, catalog: Catalog) -> str:
    """The medoid of each kind."""
    found = candidates_of(read_labels(catalog, [arguments.label], arguments.where))
    rows: list[dict[str, Any]] = [
        {"label": label, PRODUCT: product_id, "products": count, "similarity": round(cosine, 4)}
        for label, product_id, count, cosine in zip(
            found.labels,
            found.product_ids,
            found.counts.tolist(),
            found.similarity.tolist(),
            strict=True,
        )
    ]
    if arguments.json:
        return json.dumps(rows, indent=2, ensure_ascii=False)
    width = max(len(clipped(str(row["label"]))) for row in rows)
    return "\n".join(
        f"{clipped(str(row['label'])):<{width}}  {row['products']:>6}  "
        f"{row['similarity']:>6.3f}  {row[PRODUCT]}"
        for row in rows
    )


def read_companions(path: str, snapshot: Snapshot, category: str) -> Companions:
    """What goes together by a table of sets.

    Raises:
        TasteError: No such file, without the columns set_id and product_id, or without a set of
            two products.
        CatalogError: The catalog has no such category.
    """
    sets: dict[str, list[str]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {SET, PRODUCT} <= set(rows.fieldnames or ()):
                raise TasteError(f"{path}: needs the columns {SET} and {PRODUCT}")
            for row in rows:
                if not row[SET] and not row[PRODUCT]:
                    continue  # spreadsheets end with such
                if not row[SET] or not row[PRODUCT]:
                    raise TasteError(f"{path}: line {rows.line_num} lacks {SET} or {PRODUCT}")
                sets.setdefault(row[SET], []).append(row[PRODUCT])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TasteError(f"{path}: the sets cannot be read ({reason})") from error
    if all(len(set(members)) < 2 for members in sets.values()):
        raise TasteError(f"{path}: no set has two products; nothing can be learned from it")
    known = dict(zip(snapshot.product_ids, kinds_of(snapshot, category), strict=True))
    return learn_companions(sets.values(), known)


def _by_column(
    snapshot: Snapshot, option: str, words: Sequence[str]
) -> dict[str, tuple[Attribute, ...]]:
    """`baseColour=Yellow` → values of the kind that the column holds."""
    found: dict[str, tuple[Attribute, ...]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise TasteError(f"{option} {word}: write it as COLUMN=VALUE")
        exact = {str(value): value for value in values_of(snapshot, name)}
        spelled = {spelling.lower(): value for spelling, value in exact.items()}
        value = exact.get(text, spelled.get(text.lower(), text))
        found[name] = (*found.get(name, ()), value)
    return found


def _paths(snapshot: Snapshot, product_ids: Sequence[str]) -> list[str]:
    """First photos of products."""
    photos = snapshot.first[[snapshot.place_of[name] for name in product_ids]]
    return list(snapshot.rows[PATH].take(photos).to_pylist())


def _shown(
    arguments: Namespace, catalog: Catalog, found: Sequence[Suggestion], columns: int = COLUMNS
) -> str:
    """Suggestions as lines or JSON, and drawn if a sheet is wanted."""
    snapshot = catalog.snapshot()
    if arguments.sheet:
        from siamese.pictures import save_picture
        from siamese.sheet import SheetMatch, SheetRow, ranking_sheet

        (path,) = _paths(snapshot, [arguments.product_id])
        cells = [SheetMatch(s.path, (s.why, s.product_id)) for s in found]
        row = SheetRow(path, (arguments.product_id, arguments.command), cells)
        save_picture(arguments.sheet, ranking_sheet([row], columns))
    if arguments.json:
        return json.dumps([asdict(s) for s in found], indent=2, ensure_ascii=False)
    if not found:
        return f"no {arguments.command} of {arguments.product_id}"
    width = max(len(s.why) for s in found)
    return "\n".join(
        f"{s.why:<{width}}  {s.product_id}  {s.cosine:.3f}  {few_attributes(s.attributes)}"
        for s in found
    )
