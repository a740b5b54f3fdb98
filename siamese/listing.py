"""Which photos of which products shall enter a catalog: from a folder, a table or a manifest.

Nothing is opened here but folders; the tables come in as DataFrames.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.boxes import BOX, boxes_of
from siamese.preprocessing import Box
from siamese.products import PATH, PRODUCT, CatalogError, listed, plain

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"),
    *(".jfif", ".jp2", ".j2k", ".jpf", ".ppm", ".heic", ".heif"),
)
ROLES = ("product", "person")
NO_ATTRIBUTES = ("role", "split", PATH, PRODUCT, *BOX)  # other columns of a manifest


@dataclass(frozen=True)
class ListedPhoto:
    """A product photo that shall be embedded.

    Args:
        path: The photo.
        product_id: Its product.
        box: The part of the photo to look at, `None` for all of it.
        attributes: Of the product.
    """

    path: str
    product_id: str
    box: Box | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def photos_in(folder: str | Path) -> list[str]:
    """All photos in a folder and its subfolders by their suffix, in order of their names.

    Raises:
        CatalogError: There is no such folder, or no photo in it.
    """
    if not os.path.isdir(folder):
        raise CatalogError(f"{folder}: no such folder; give one with photos")
    found: list[str] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen:  # links may lead to where they lie
            folders.clear()
            continue
        seen.add(place)
        found += [
            os.path.join(parent, name)
            for name in names
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
        ]
    if not found:
        raise CatalogError(f"{folder}: no photo in this folder; it has no {', '.join(SUFFIXES)}")
    return sorted(found)


def listed_in_manifest(frame: pd.DataFrame) -> list[ListedPhoto]:
    """The product photos of a manifest; its other columns are attributes.

    Args:
        frame: A manifest with absolute paths, see `datasets.manifest`.

    Raises:
        CatalogError: It has no product photo, one without path or id, or an unknown role.
    """
    unknown = frame[~frame["role"].isin(ROLES)]
    if len(unknown):  # left out, its product would silently lack a photo
        raise CatalogError(
            f"row {unknown.index[0]}: unknown role {unknown['role'].iloc[0]!r}; "
            f"use {', '.join(ROLES)}"
        )
    rows = frame[frame["role"] == "product"]
    if rows.empty:
        raise CatalogError("the manifest has no rows of role `product`; a catalog is made of these")
    return _listed(rows)


def listed_in_folder(
    folder: str | Path, attributes: pd.DataFrame | None = None
) -> list[ListedPhoto]:
    """The photos of a folder; a file's name without suffix is its product id.

    Args:
        folder: With subfolders.
        attributes: Optional table with product_id (or id) and attributes. If it has paths too,
            relative to the folder, these tell which photo is which product's; otherwise photos
            without a row get no attributes and rows without a photo are left out.

    Raises:
        CatalogError: No photos, or the table lacks ids.
    """
    photos = photos_in(folder)
    if attributes is None:
        return [ListedPhoto(os.path.abspath(photo), id_of_file(photo)) for photo in photos]
    if PRODUCT not in attributes:
        attributes = attributes.rename(columns={"id": PRODUCT})
    if PRODUCT not in attributes:
        raise CatalogError(
            f"the attributes have no column {PRODUCT} or id, but {listed(list(attributes))}; "
            "one of them must say which product a row is"
        )
    if PATH in attributes:
        root = os.path.abspath(folder)
        paths = attributes[PATH].map(lambda path: os.path.join(root, path), na_action="ignore")
        return _listed(attributes.assign(**{PATH: paths}))
    known = attributes.dropna(subset=[PRODUCT]).drop_duplicates(PRODUCT).set_index(PRODUCT)
    rows = dict(zip(map(composed, known.index), known.to_dict("records"), strict=True))
    return [
        ListedPhoto(os.path.abspath(photo), name, None, _given(rows.get(name, {})))
        for photo in photos
        for name in [id_of_file(photo)]
    ]


def id_of_file(path: str | Path) -> str:
    """The product that a photo's name stands for: without suffix, letters composed."""
    return composed(Path(path).stem)


def composed(text: str) -> str:
    """An accent is a part of its letter (NFC); in names of files of macOS it stands alone."""
    return unicodedata.normalize("NFC", text)


def _given(record: Mapping[Any, Any]) -> dict[str, Any]:
    """The attributes of a row; an empty cell says nothing of one."""
    return {str(name): value for name, value in record.items() if plain(value) is not None}


def _listed(rows: pd.DataFrame) -> list[ListedPhoto]:
    """One photo per row."""
    lacking = rows[rows[PATH].isna() | rows[PRODUCT].isna()]
    if len(lacking):
        raise CatalogError(
            f"row {lacking.index[0]}: without {PATH} or {PRODUCT}; fill in or remove this row"
        )
    names = [str(name) for name in rows if name not in NO_ATTRIBUTES]
    records = rows[names].to_dict("records")
    return [
        ListedPhoto(path, product_id, box, _given(record))
        for path, product_id, box, record in zip(
            rows[PATH], rows[PRODUCT], boxes_of(rows), records, strict=True
        )
    ]
