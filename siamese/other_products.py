"""Products that nobody is looking for: distractors of an evaluation, and what makes a cohort."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence

from siamese.listing import ListedPhoto
from siamese.products import CatalogError


def distractors_of(
    photos: Sequence[ListedPhoto], sought: Collection[str], limit: int | None = None
) -> list[ListedPhoto]:
    """Photos of products that nobody is looking for.

    Args:
        photos: Of any products.
        sought: Paths of the photos that are evaluated; a product that has one, by whatever link
            or as a copy, is left out.
        limit: At most so many products, in order of their ids.

    Raises:
        CatalogError: No product is left.
    """
    others = others_than(photos, sought)
    ids = sorted({photo.product_id for photo in others})
    if not ids:
        raise CatalogError(
            "--distractors: all of its products are among those evaluated; name other photos"
        )
    kept = set(ids[:limit])
    return [photo for photo in others if photo.product_id in kept]


def others_than(photos: Sequence[ListedPhoto], sought: Collection[str]) -> list[ListedPhoto]:
    """Those of products that have no photo among others, by whatever link or as a copy.

    Args:
        photos: Of any products.
        sought: Paths of these others.
    """
    places = {os.path.realpath(path) for path in sought}
    found = {photo.path: os.path.realpath(photo.path) for photo in photos}
    copies = _copies(set(found.values()) - places, places)
    asked = {photo.product_id for photo in photos if found[photo.path] in places | copies}
    return [photo for photo in photos if photo.product_id not in asked]


def _copies(paths: Collection[str], of: Collection[str]) -> set[str]:
    """Those of some files that hold the very bytes of one of others; missing ones are none."""
    sizes = {path: os.path.getsize(path) for path in [*paths, *of] if os.path.isfile(path)}
    possible, wanted = ({sizes[path] for path in each if path in sizes} for each in (paths, of))
    both = possible & wanted  # only these are read
    originals = {_digest(path) for path in of if sizes.get(path) in both}
    return {path for path in paths if sizes.get(path) in both and _digest(path) in originals}


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
