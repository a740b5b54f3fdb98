"""What `infer.py flag` does once its arguments are parsed."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace

import numpy as np

from siamese.attributes.filling import fill, missing
from siamese.attributes.flag import Flag, FlagCard, inputs_of, load_flag, train_flag
from siamese.attributes.flag_report import flag_report
from siamese.attributes.held_out import held_out
from siamese.attributes.label_table import (
    MOST_VALUES,
    column_names,
    column_of,
    is_joined,
    read_labels,
    sort_key,
)
from siamese.attributes.tensor_file import TaggerError
from siamese.catalog import Catalog
from siamese.labels import UNKNOWN
from siamese.products import Attribute, listed
from siamese.snapshot import Snapshot

Columns = dict[str, list[Attribute]]
Predictions = tuple[np.ndarray, np.ndarray]  # places of values, and probabilities of all
MOST_NUMBERS = 20  # different ones of a column that is predicted: a year, but not a price


def train(arguments: Namespace, catalog: Catalog, test_ids: frozenset[str] | None = None) -> str:
    """Train a flag on a catalog; what it says of the products held out."""
    name = arguments.column
    table = read_labels(catalog, [name], arguments.where)
    labels = table.labels[:, 0]
    snapshot = catalog.snapshot()
    if is_joined(snapshot, name):
        raise TaggerError(f"{name}: name one column")
    check_column(name, table.values[0], int((labels != UNKNOWN).sum()))
    places = np.array([snapshot.place_of[product_id] for product_id in table.product_ids])
    known = labels != UNKNOWN
    labels, vectors, places = labels[known], table.embeddings[known], places[known]
    ids = [snapshot.product_ids[place] for place in places]
    test = held_out(ids, vectors, test_ids)
    columns = columns_of(snapshot, places, name, arguments.without)
    both, left_out = card_of(
        name, table.values[0], columns, ~test, catalog.fingerprint, arguments.inputs
    )
    flag, ways = _compared(both, columns, vectors, labels, test)
    flag.save(arguments.flag)
    most = int(np.bincount(labels[~test]).argmax())
    report = flag_report(name, table.values[0], labels[test], most, ways)
    if arguments.json:
        return json.dumps(report.as_dict(), indent=2)
    ignored = f"; not looked at: {listed(left_out)}" if left_out else ""
    return f"{report}\n{arguments.flag}: trained on {(~test).sum()} products{ignored}"


def apply(arguments: Namespace, catalog: Catalog) -> str:
    """Fill the flag of products that lack it, marked as predicted."""
    flag = load_flag(arguments.flag)
    if flag.card.embedding:
        catalog.check(flag.card.fingerprint)
    ids = missing(catalog, [flag.card.name])
    if not ids:
        return f"{arguments.catalog}: no {flag.card.name} is missing"
    snapshot = catalog.snapshot()
    places = np.array([snapshot.place_of[product_id] for product_id in ids])
    columns = columns_of(snapshot, places, flag.card.name, ())
    tags = flag.tags(inputs_of(flag.card, columns, snapshot.means[places]))
    filled = fill(
        catalog,
        {name: {flag.card.name: tag} for name, tag in zip(ids, tags, strict=True)},
        arguments.least,
    )
    done = f"filled {flag.card.name} of {filled.total()} products, marked as predicted"
    return f"{arguments.catalog}: {done}"


def check_column(name: str, values: tuple[Attribute, ...], products: int) -> None:
    """Raise `TaggerError` unless a column can be predicted."""
    if len(values) < 2:
        said = f"only {values[0]!r}" if values else "nothing"
        raise TaggerError(f"column {name!r} says {said}; a flag needs two values or more")
    numbers = not any(isinstance(value, str | bool) for value in values)
    most = MOST_NUMBERS if numbers else min(MOST_VALUES, products // 2)
    if len(values) > most:
        raise TaggerError(
            f"column {name!r} has {len(values)} different values on {products} products; a flag "
            f"or label has {most} at most"
        )


def columns_of(
    snapshot: Snapshot, places: np.ndarray, name: str, without: tuple[str, ...] | list[str]
) -> Columns:
    """All other columns of these products; what was predicted is not known.

    Raises:
        CatalogError: A column that is to be left out is not there.
    """
    for other in without:
        column_of(snapshot, other, places[:0])
    return {
        other: column_of(snapshot, other, places)
        for other in column_names(snapshot)
        if other != name and other not in without
    }


def card_of(
    name: str,
    values: tuple[Attribute, ...],
    columns: Columns,
    train: np.ndarray,
    fingerprint: str,
    inputs: str,
) -> tuple[FlagCard, list[str]]:
    """What to look at, by the products to train on, and the columns that are of no use.

    Those have one value, or are text with as many values as names or numbers of articles have.
    """
    kinds: dict[str, tuple[Attribute, ...]] = {}
    numbers: dict[str, float] = {}
    left_out = []
    for other, column in columns.items():
        given = [v for v, own in zip(column, train, strict=True) if own and v is not None]
        known = set(given)
        if len(known) >= 2 and not any(isinstance(v, str | bool) for v in known):
            numbers[other] = float(np.mean(np.array(given, float)))
        elif 1 <= len(known) <= MOST_VALUES and 2 * len(known) <= train.sum():
            kinds[other] = tuple(sorted(known, key=sort_key))
        else:
            left_out.append(other)
    card = FlagCard(name, values, kinds, numbers, True, fingerprint)
    if inputs == "attributes":
        card = replace(card, embedding=False)
    elif inputs == "embedding":
        card = replace(card, kinds={}, numbers={})
    if not card.kinds and not card.numbers and not card.embedding:
        raise TaggerError("there is no other attribute to predict from; use --inputs embedding")
    return card, left_out


def _compared(
    both: FlagCard, columns: Columns, vectors: np.ndarray, labels: np.ndarray, test: np.ndarray
) -> tuple[Flag, dict[str, Predictions]]:
    """The flag to keep, and what each way says of the products held out."""
    said: dict[str, Predictions] = {}
    flags = []
    for way, card in _ways(both).items():
        inputs = inputs_of(card, columns, vectors)
        flags.append(train_flag(card, inputs[~test], labels[~test]))
        likely = flags[-1].probabilities(inputs[test])
        if card is both:  # what accuracy alone would choose: rare values are hardly ever named
            said[f"{way}, most probable"] = (likely.argmax(axis=1), likely)
        said[way] = (flags[-1].balanced(inputs[test]).argmax(axis=1), likely)
    return flags[-1], said


def _ways(card: FlagCard) -> dict[str, FlagCard]:
    """What to compare; the one to keep is the last."""
    attributes = bool(card.kinds or card.numbers)
    if attributes and card.embedding:
        return {
            "attributes": replace(card, embedding=False),
            "embedding": replace(card, kinds={}, numbers={}),
            "both": card,
        }
    return {"attributes" if attributes else "embedding": card}
