"""The map as one HTML page that needs nothing else: points, labels and thumbnails are in it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from siamese.attributes.exploration import Floats, texts
from siamese.attributes.exploration_report import thumbnail
from siamese.attributes.figures import PALETTE, label_colours
from siamese.products import PATH, PRODUCT

TEMPLATE = Path(__file__).with_name("map.html")
SIDE = 72  # of a thumbnail, pixels
ACROSS = 24  # thumbnails beside each other, and below each other, in one picture
QUALITY = 72
UNITS = 10_000  # of the map's longer side


def map_page(places: Floats, table: pd.DataFrame, columns: Sequence[str], title: str) -> str:
    """HTML that shows the map, coloured by any label, with the photo of what the mouse is over.

    Args:
        places: float64 (N, 2).
        table: Of N products, with product_id and path.
        columns: Labels to colour by.
        title: Of the page.
    """
    low = places.min(axis=0)
    units = ((places - low) / max(np.ptp(places, axis=0).max(), 1e-9) * UNITS).round()
    content: dict[str, Any] = {
        "title": title,
        "x": units[:, 0].astype(int).tolist(),
        "y": (units[:, 1].max() - units[:, 1]).astype(int).tolist(),  # downwards on a screen
        "ids": table[PRODUCT].tolist(),
        "labels": [_labels(table[column], column) for column in columns],
        "side": SIDE,
        "across": ACROSS,
        "thumbnails": _pictures(table[PATH].tolist()),
    }
    # "<" never appears, so that no label can end the script element that holds this.
    data = json.dumps(content, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return TEMPLATE.read_text("utf-8").replace("__DATA__", data)


def _labels(column: pd.Series, name: str) -> dict[str, Any]:
    """A column as numbers of its labels, the most common is 0, and -1 for none."""
    labels = texts(column)
    counts = labels.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    number = {label: place for place, label in enumerate(counts.index)}
    codes = [number.get(label, -1) for label in labels]
    return {
        "column": name,
        "names": list(counts.index),
        "colours": label_colours(list(counts.index), len(PALETTE)),
        "counts": [int(count) for count in counts],
        "codes": codes,
    }


def _pictures(paths: Sequence[str]) -> list[str]:
    """Thumbnails in squares of ACROSS x ACROSS, as data URIs of JPEGs."""
    found = []
    for start in range(0, len(paths), ACROSS**2):
        part = paths[start : start + ACROSS**2]
        lines = -(-len(part) // ACROSS)
        picture = Image.new("RGB", (ACROSS * SIDE, lines * SIDE), "white")
        for number, path in enumerate(part):
            photo = thumbnail(path, SIDE)
            row, column = divmod(number, ACROSS)
            left, top = column * SIDE, row * SIDE
            corner = left + (SIDE - photo.width) // 2, top + (SIDE - photo.height) // 2
            picture.paste(photo, corner)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=QUALITY, optimize=True)
        encoded = base64.b64encode(stream.getvalue()).decode("ascii")
        found.append(f"data:image/jpeg;base64,{encoded}")
    return found
