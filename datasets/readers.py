"""Every layout that can be read, by the name that configs use."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse import ArgumentError, ArgumentParser

from datasets.clothing import read_clothing
from datasets.composed_sources import read_composed
from datasets.deepfashion import read_deepfashion
from datasets.deepfashion2 import read_deepfashion2
from datasets.fashion_products import read_fashion_products
from datasets.lookbook import read_lookbook
from datasets.manifest import ManifestError, read_manifest
from datasets.pairs_csv import read_pairs_csv
from datasets.rendered import write_rendered_dataset
from datasets.rendered_photos import Style
from datasets.street2shop import read_street2shop


def read_rendered(
    folder: Path,
    *,
    products: int = 900,
    person_photos: int | tuple[int, int] = 10,
    validation: int = 100,
    test: int = 300,
    seed: int = 0,
    workers: int = 2,
    style: Style = "demo",
) -> pd.DataFrame:
    """Manifest of the demo data set, which is drawn into `folder` first unless it is there.

    Args:
        folder: Where the photos are or shall be.
        products: Number of products.
        person_photos: Photos of people per product, or the range that it is drawn from.
        validation: Products of the validation split.
        test: Products of the test split.
        seed: Of the drawing and of the split.
        workers: Processes that draw.
        style: `shop` for mostly plain tops, most of them worn in a studio.

    Raises:
        ManifestError: The folder holds a set drawn with other arguments, or these cannot be drawn.
    """
    low, high = (person_photos,) * 2 if isinstance(person_photos, int) else person_photos
    try:
        write_rendered_dataset(folder, products, (low, high), seed, workers, style)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    return read_lookbook(
        folder, minimum_person_photos=low, validation=validation, test=test, seed=seed
    )


READERS: dict[str, Callable[..., pd.DataFrame]] = {
    "rendered": read_rendered,
    "clothing": read_clothing,
    "composed": read_composed,
    "lookbook": read_lookbook,
    "pairs_csv": read_pairs_csv,
    "manifest": read_manifest,
    "deepfashion": read_deepfashion,
    "deepfashion2": read_deepfashion2,
    "street2shop": read_street2shop,
    "fashion_products": read_fashion_products,
}


def reader_of(name: str, options: dict[str, Any]) -> Callable[[Path], pd.DataFrame]:
    """The named reader with its options, as data modules and other readers use it.

    Raises:
        ManifestError: Unknown reader or option, or an option of another type than the reader's.
    """
    if not isinstance(options, dict):
        raise ManifestError(f"the options of a reader are an object, not {options!r}")
    if name not in READERS:
        raise ManifestError(f"unknown reader {name!r}; there are {', '.join(sorted(READERS))}")
    read = READERS[name]
    known = list(inspect.signature(read).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ManifestError(
            f"reader {name} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    types = ArgumentParser(exit_on_error=False)
    types.add_function_arguments(read, skip={1})
    try:
        typed = types.instantiate_classes(types.parse_object(options))
    except ArgumentError as error:
        reason = " ".join(str(error).split())
        raise ManifestError(f"reader {name} cannot use {options}: {reason}") from error
    return lambda path: read(path, **{name: typed[name] for name in options})
