"""What `infer.py tagger` does once its arguments are parsed."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from siamese.attributes.confusion import confusion_counts, draw_confusion
from siamese.attributes.figures import file_names
from siamese.attributes.filling import fill, missing
from siamese.attributes.held_out import held_out
from siamese.attributes.inputs import product_inputs
from siamese.attributes.label_table import LabelTable, is_joined, read_labels
from siamese.attributes.labelled import labelled
from siamese.attributes.tagger import Tagger, TaggerCard, columns_of, hashes_of, load_tagger
from siamese.attributes.tagger_report import TaggerReport, share_text, tagger_report
from siamese.attributes.tagger_training import train_tagger
from siamese.attributes.tensor_file import TaggerError
from siamese.catalog import Catalog
from siamese.checkpoint import Checkpoint
from siamese.commands import embed_with_bar, photos_of, report_broken
from siamese.labels import UNKNOWN
from siamese.products import listed


def train(
    arguments: Namespace,
    catalog: Catalog,
    checkpoint: Checkpoint,
    test_ids: frozenset[str] | None = None,
) -> str:
    """Train a tagger on a catalog's labels; what it says of the products held out."""
    catalog.check(checkpoint.fingerprint)
    if arguments.encoder and arguments.input == "embedding" and checkpoint.adaptation is not None:
        raise TaggerError(
            "--encoder cannot read the embeddings of an encoder that is adapted to a shop; leave "
            "out --input embedding, or give the encoder that it was adapted from"
        )
    table = read_labels(catalog, arguments.columns, arguments.where)
    columns = columns_of(table.columns, table.values, unions_of(arguments.union))
    test = held_out(table.product_ids, table.embeddings, test_ids)
    started = time.perf_counter()
    inputs, usable = product_inputs(catalog, checkpoint, table.product_ids, arguments.input)
    read = time.perf_counter() - started
    ids = [table.product_ids[place] for place in usable]
    labels, test = table.labels[usable], test[usable]
    card = TaggerCard(
        columns, inputs.shape[1], arguments.input, arguments.output, checkpoint.fingerprint
    )
    started = time.perf_counter()
    tagger = train_tagger(card, inputs[~test], labels[~test])
    trained = time.perf_counter() - started
    tagger.trained_on = hashes_of([ids[place] for place in np.flatnonzero(~test)])
    tagger.save(arguments.tagger)
    if arguments.encoder is not None:
        labelled(tagger.reader(checkpoint), tagger, inputs[~test]).save(arguments.encoder)
    report = measured(tagger, inputs[test], labels[test], arguments.confusion)
    if arguments.json:
        seconds = {"seconds_reading": read, "seconds_training": trained}
        return json.dumps(report.as_dict() | seconds, indent=2)
    return (
        f"{report}\n{arguments.tagger}: trained on {(~test).sum()} products in {trained:.1f} s, "
        f"after {read:.1f} s for their {arguments.input}"
    )


def evaluate(
    arguments: Namespace,
    catalog: Catalog,
    checkpoint: Checkpoint,
    test_ids: frozenset[str] | None = None,
) -> str:
    """Measure a tagger on the products held out, but for those that it was trained on."""
    tagger = load_tagger(arguments.tagger)
    tagger.check(checkpoint.fingerprint)
    catalog.check(checkpoint.fingerprint)
    table = read_labels(catalog, [c.name for c in tagger.card.columns], arguments.where)
    chosen = held_out(table.product_ids, table.embeddings, test_ids)
    test = not_seen(tagger, table.product_ids, np.flatnonzero(chosen))
    ids = [table.product_ids[place] for place in test]
    inputs, usable = product_inputs(catalog, checkpoint, ids, tagger.card.input)
    labels = known_to(tagger, table)[test[usable]]
    report = measured(tagger, inputs, labels, arguments.confusion)
    return json.dumps(report.as_dict(), indent=2) if arguments.json else str(report)


def apply(arguments: Namespace, catalog: Catalog, checkpoint: Checkpoint) -> str:
    """Fill a catalog's missing labels; joined ones are no columns of it.

    Raises:
        TaggerError: The tagger knows joined ones alone, or belongs to another encoder.
    """
    tagger = load_tagger(arguments.tagger)
    tagger.check(checkpoint.fingerprint)
    catalog.check(checkpoint.fingerprint)
    snapshot, known = catalog.snapshot(), [column.name for column in tagger.card.columns]
    names = [name for name in known if not is_joined(snapshot, name)]
    if not names:
        raise TaggerError(
            f"{arguments.tagger}: predicts {listed(known)}, which is no column of "
            f"{arguments.catalog}, so that nothing can be filled; train a tagger of single columns"
        )
    ids = missing(catalog, names)
    if not ids:
        return f"{arguments.catalog}: no label of {', '.join(names)} is missing"
    inputs, usable = product_inputs(catalog, checkpoint, ids, tagger.card.input)
    tags = {
        ids[place]: {name: row[name] for name in names}
        for place, row in zip(usable, tagger.tags(torch.from_numpy(inputs)), strict=True)
    }
    filled = fill(catalog, tags, arguments.least)
    if not filled:
        return f"{arguments.catalog}: filled nothing, no label is probable enough"
    counts = ", ".join(f"{name} of {count}" for name, count in filled.items())
    return f"{arguments.catalog}: filled {counts} products, marked as predicted"


def predict(arguments: Namespace, checkpoint: Checkpoint) -> str:
    """Labels of photos; those that cannot be used are named on stderr."""
    tagger = load_tagger(arguments.tagger)
    photos = photos_of(arguments.photos)
    embedded = embed_with_bar(tagger.reader(checkpoint), photos, [None] * len(photos))
    broken = list(embedded.broken.values())
    if broken and not embedded.usable:
        raise broken[0]
    report_broken(broken)
    rows = tagger.tags(embedded.embeddings)
    names = [photos[place] for place in embedded.usable]
    if arguments.json:
        return json.dumps(
            [
                {"photo": name, "tags": {column: asdict(tag) for column, tag in row.items()}}
                for name, row in zip(names, rows, strict=True)
            ],
            indent=2,
        )
    return "\n".join(
        f"{name}: " + ", ".join(f"{c} {t.value} ({t.probability:.2f})" for c, t in row.items())
        for name, row in zip(names, rows, strict=True)
    )


def measured(
    tagger: Tagger, inputs: np.ndarray, labels: np.ndarray, confusion: str | None
) -> TaggerReport:
    """The report on these products, and pictures of the confusion if a folder is named."""
    columns = tagger.card.columns
    shares = [p.numpy() for p in tagger.probabilities(torch.from_numpy(inputs))]
    report = tagger_report([column.name for column in columns], shares, labels)
    if confusion is not None:
        files = file_names([column.name for column in columns])
        for place, (column, share) in enumerate(zip(columns, shares, strict=True)):
            names, counts = confusion_counts(
                labels[:, place], share.argmax(axis=1), [str(v) for v in column.values]
            )
            own = report.columns[place]
            accuracy, macro_f1 = share_text(own.accuracy), share_text(own.macro_f1)
            title = f"{column.name}\naccuracy {accuracy}, macro F1 {macro_f1}"
            draw_confusion(Path(confusion) / f"{files[column.name]}.png", title, names, counts)
    return report


def not_seen(tagger: Tagger, product_ids: Sequence[str], places: np.ndarray) -> np.ndarray:
    """Those of the places, int64, whose products the tagger was not trained on.

    How many it was trained on is said on stderr.

    Raises:
        TaggerError: None is left.
    """
    saw = tagger.saw([product_ids[place] for place in places]).numpy()
    remedy = "name the manifest of its training with --split"
    if saw.all():
        raise TaggerError(
            f"the tagger was trained on all {len(saw)} products that are for testing; {remedy}, "
            "or choose others with --where"
        )
    if saw.any():
        print(
            f"{saw.sum()} of {len(saw)} products for testing are left out: the tagger was trained "
            f"on them; {remedy}",
            file=sys.stderr,
        )
    return places[~saw]


def known_to(tagger: Tagger, table: LabelTable) -> np.ndarray:
    """The table's labels as places among the tagger's values; others get a place past the end."""
    labels = np.full_like(table.labels, UNKNOWN)
    for place, (column, values) in enumerate(zip(tagger.card.columns, table.values, strict=True)):
        number = {value: n for n, value in enumerate(column.values)}
        own = np.array([number.get(value, len(number)) for value in values], np.int64)
        known = table.labels[:, place] != UNKNOWN
        labels[known, place] = own[table.labels[known, place]]
    return labels


def unions_of(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`Unisex=Men+Women` → {"Unisex": ("Men", "Women")}.

    Raises:
        TaggerError: Written otherwise, or a union is a member of one.
    """
    unions: dict[str, tuple[str, ...]] = {}
    for word in words:
        value, equals, members = word.partition("=")
        parts = tuple(members.split("+"))
        if not equals or not value or len(parts) < 2 or not all(parts):
            raise TaggerError(f"--union {listed([word])}: write it as Unisex=Men+Women")
        unions[value] = parts
    for value, parts in unions.items():
        if nested := [part for part in parts if part in unions]:
            raise TaggerError(
                f"--union {value}={'+'.join(parts)}: {nested[0]} is a union, too; name values that "
                "are none"
            )
    return unions
