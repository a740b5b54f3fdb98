"""Who is trained on and who is held out: product-wise splits that keep look-alikes together."""

import hashlib
import math
import os
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import binary_erosion
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from datasets.checks import contents_of
from datasets.manifest import SPLITS, ManifestError
from siamese.photos import PhotoError, open_photo

# Tuned by looking at contact sheets of 1,546 tops: see `twin_groups`.
OUTLINE_LIMIT = 0.30
INSIDE_LIMIT = 0.05
ASPECT_LIMIT = 0.10
SAME_PHOTO_LIMIT = 0.05  # there is nothing between 0.01 and 0.16 among them

SIDE = 32  # thumbnails of SIDE x SIDE pixels
WHITE = 0.96  # a pixel is background if all its channels are above this
RIM = 2  # thumbnail pixels next to the background that a shifted outline may change


def split_by_product(
    frame: pd.DataFrame,
    *,
    validation: float,
    test: float,
    seed: int = 0,
    groups: pd.Series | None = None,
) -> pd.DataFrame:
    """Give every product, with all its photos, to one split.

    Products are ordered by a hash of the seed and their id, and the first of them are held out.
    So the split does not depend on the order of the rows, and is not turned over when products
    are added: without groups, an added product moves at most one other out of the test and one
    out of the validation split, and none from train into them. (With shares it does where they
    come to mean a product more. Give numbers where models of before shall be compared.)

    Args:
        frame: a manifest; a split column is replaced.
        validation: number of products (from 1 on, met exactly), or their share (below 1).
        test: likewise.
        seed: another seed gives another split.
        groups: group of each product id (see `twin_groups`); a group is never parted. Products
            that it does not name stand alone.

    Returns:
        The manifest with a split column.

    Raises:
        ManifestError: a product id is missing, or the numbers cannot be met.
    """
    if frame["product_id"].isna().any():
        row = int(np.flatnonzero(frame["product_id"].isna())[0])
        raise ManifestError(f"row {row} has no product_id; name the product of every photo")
    products = sorted(set(frame["product_id"]))
    sizes = {
        "test": _number_of_products("test", test, len(products)),
        "validation": _number_of_products("validation", validation, len(products)),
    }
    if sum(sizes.values()) >= len(products):
        raise ManifestError(
            f"{sizes['validation']} products for validation and {sizes['test']} for test leave "
            f"none of {len(products)} to train on; ask for fewer"
        )
    members = _members(products, groups)
    order = sorted(members, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    split_of: dict[str, str] = {}
    for split, wanted in sizes.items():
        exact = {"test": test, "validation": validation}[split] >= 1
        room = wanted
        for name in order:
            if members[name][0] not in split_of and len(members[name]) <= room:
                split_of.update(dict.fromkeys(members[name], split))
                room -= len(members[name])
        if room and exact:
            raise ManifestError(
                f"groups of look-alikes are too large to put exactly {wanted} products into "
                f"{split} ({wanted - room} fit); ask for another number"
            )
    splits = frame["product_id"].map(lambda product: split_of.get(product, "train"))
    return frame.assign(split=splits.astype("str"))


def keep_photos_in_one_split(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Take photos that the data set's own split lists on both sides out of the training side.

    Args:
        frame: a manifest with splits.

    Returns:
        (manifest, number of rows taken out): a path stays in the split that is held out the
        most (test before validation before train), and so does a product that lies in several
        splits. Products that thereby lose their last product photo go as a whole.
    """
    kept = frame
    rank = {split: position for position, split in enumerate(SPLITS)}
    for key in ("product_id", "path"):
        ranks = kept["split"].map(rank)
        kept = kept[ranks == ranks.groupby(kept[key]).transform("max")]
    kept = _without_unshown_products(kept, frame)
    return kept, len(frame) - len(kept)


def _without_unshown_products(kept: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """The rows whose product has a product photo left, if it had one in `before`."""
    had = set(before.loc[before["role"] == "product", "product_id"])
    has = set(kept.loc[kept["role"] == "product", "product_id"])
    return kept[~kept["product_id"].isin(had - has)].reset_index(drop=True)


def twin_groups(
    frame: pd.DataFrame,
    *,
    outline_limit: float = OUTLINE_LIMIT,
    inside_limit: float = INSIDE_LIMIT,
    workers: int = 2,
) -> pd.Series:
    """Group products whose product photos hardly differ: the same photo, or plain look-alikes.

    A person photo cannot tell twins apart: in different splits they would leak, and in one
    catalog they make a hit look like a miss. Two photos are twins when, trimmed of their white
    border and shrunk to 32 x 32, they agree in both:

    - *outline*: root mean square of their difference, over the geometric mean of their own
      contrasts, at most 0.30 (without the contrast all white garments on white would be twins);
    - *inside*: root mean square of their difference where both show garment away from the rim,
      at most 0.05 (without it a print or another dark colour would not count).

    and their aspect ratios differ by at most 10 %. Whole photos whose outlines, untrimmed, differ
    by at most 0.05 are twins as well: one photo, of which other noise was trimmed. On 1,546 real
    tops this gives 145 groups of 312 products, the largest of 8; nearly all are one photo listed
    under two ids. At 0.36 and 0.06 the plain black ones chain into a group of 71.

    Args:
        frame: a manifest with absolute paths; only its product photos are looked at.
        outline_limit: see above.
        inside_limit: see above.
        workers: threads that decode photos.

    Returns:
        The group of each product, indexed by product_id; its name is the group's smallest id,
        so a product without twins is its own group. Unreadable photos have no twins.
    """
    named = frame["product_id"].notna() & frame["path"].notna()  # the manifest's checks tell others
    shown = frame[(frame["role"] == "product") & named]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        thumbnails = list(pool.map(_thumbnail_or_none, shown["path"]))
    readable = [index for index, thumbnail in enumerate(thumbnails) if thumbnail is not None]
    pixels = [thumbnail for thumbnail in thumbnails if thumbnail is not None]
    products = sorted(set(frame["product_id"].dropna()))
    number_of = {product: number for number, product in enumerate(products)}
    numbers = np.array([number_of[shown["product_id"].iloc[i]] for i in readable], dtype=np.int64)
    first, second = _twin_photos(pixels, outline_limit, inside_limit)
    links = coo_matrix(
        (np.ones(len(first)), (numbers[first], numbers[second])), shape=(len(products),) * 2
    )
    _, labels = connected_components(links, directed=False)
    return _named_groups(products, labels)


def shown_together(frame: pd.DataFrame) -> pd.Series:
    """What each photo of a manifest holds, by product id: equal for copies of one photo."""
    known = frame.dropna(subset=["product_id", "path"])  # the manifest's checks tell others
    contents = known["path"].map(contents_of(known["path"]))
    return pd.Series(contents.to_numpy(), index=known["product_id"])


def joined_groups(*memberships: pd.Series) -> pd.Series:
    """Groups of products that any of several groupings puts together, as `twin_groups` names them.

    Args:
        memberships: By product id, which may occur more than once, anything that products of one
            group share: a group's name, or what one of its photos holds.
    """
    products = sorted({product for each in memberships for product in each.index})
    number_of = {product: number for number, product in enumerate(products)}
    first, second = [], []
    shared = 0
    for membership in memberships:
        codes, values = pd.factorize(membership)
        first.append(membership.index.map(number_of).to_numpy(np.int64)[codes >= 0])
        second.append(len(products) + shared + codes[codes >= 0])
        shared += len(values)
    rows, columns = np.concatenate(first), np.concatenate(second)
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(products) + shared,) * 2)
    _, labels = connected_components(links, directed=False)
    return _named_groups(products, labels[: len(products)])


def _named_groups(products: list[str], labels: np.ndarray) -> pd.Series:
    """Under each group's smallest id, by product id."""
    table = pd.DataFrame({"product_id": products, "label": labels})
    names = table.groupby("label")["product_id"].transform("min")
    return pd.Series(names.to_numpy(), index=pd.Index(products, name="product_id"), name="group")


def _number_of_products(split: str, wanted: float, available: int) -> int:
    """A number from 1 on is one of products, a smaller one is their share."""
    if not math.isfinite(wanted) or wanted < 0 or (wanted > 1 and wanted != int(wanted)):
        raise ManifestError(
            f"{split}={wanted!r}: give a whole number of products, or a share of them below 1"
        )
    return int(wanted) if wanted >= 1 else round(wanted * available)


def _members(products: list[str], groups: pd.Series | None) -> dict[str, list[str]]:
    """Products of each group under the group's smallest id, which other groups cannot change."""
    known: Mapping[Hashable, Hashable] = {} if groups is None else groups.to_dict()
    by_group: dict[Hashable, list[str]] = {}
    for product in products:  # sorted, so the first is the smallest
        key = ("group", known[product]) if product in known else ("alone", product)
        by_group.setdefault(key, []).append(product)
    return {members[0]: members for members in by_group.values()}


@dataclass(frozen=True)
class _Thumbnail:
    """A photo, small: without its white border, whole (both (SIDE, SIDE, 3) in 0…1), and the
    height / width of the former."""

    trimmed: np.ndarray
    whole: np.ndarray
    aspect: float


def _thumbnail_or_none(path: str | os.PathLike[str]) -> _Thumbnail | None:
    """Of a photo that can be read."""
    try:
        photo = open_photo(str(path), at_least=(4 * SIDE, 4 * SIDE))
    except PhotoError:
        return None
    whole = _small(photo)
    garment = np.asarray(photo).min(axis=2) < WHITE * 255
    rows = np.flatnonzero(garment.mean(axis=1) > 0.02)  # a few dots of noise are no garment
    columns = np.flatnonzero(garment.mean(axis=0) > 0.02)
    if len(rows) > 8 and len(columns) > 8:
        photo = photo.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return _Thumbnail(_small(photo), whole, photo.height / photo.width)


def _small(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32) / 255


def _twin_photos(
    thumbnails: list[_Thumbnail],
    outline_limit: float,
    inside_limit: float,
    chunk: int = 1024,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (first, second) of all pairs of twins; chunk x N distances at a time."""
    if not thumbnails:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    pixels = np.stack([thumbnail.trimmed for thumbnail in thumbnails])  # (N, SIDE, SIDE, 3)
    shape = np.log([thumbnail.aspect for thumbnail in thumbnails])
    outlines = _Outlines(pixels)
    whole = _Outlines(np.stack([thumbnail.whole for thumbnail in thumbnails]))
    inside = np.stack([_inside(thumbnail) for thumbnail in pixels])  # (N, SIDE * SIDE)
    masked = (pixels.reshape(len(pixels), -1, 3) * inside[..., None]).reshape(len(pixels), -1)
    masked_squares = (masked.reshape(len(pixels), -1, 3) ** 2).sum(axis=2)
    first, second = [], []
    for start in range(0, len(pixels), chunk):
        part = slice(start, start + chunk)
        common = inside[part] @ inside.T
        # over the common pixels only: a² where b is inside too, b² where a is
        distance = masked_squares[part] @ inside.T + inside[part] @ masked_squares.T
        distance -= 2 * masked[part] @ masked.T
        difference = np.sqrt(np.maximum(distance, 0) / np.maximum(3 * common, 1))
        twins = (outlines.differences(part) <= outline_limit) & (difference <= inside_limit)
        twins &= np.abs(shape[part, None] - shape[None]) <= ASPECT_LIMIT
        twins |= whole.differences(part) <= SAME_PHOTO_LIMIT
        rows, columns = np.nonzero(twins)
        first.append(rows + start)
        second.append(columns)
    return np.concatenate(first), np.concatenate(second)


class _Outlines:
    """Photos (N, SIDE, SIDE, 3) and by how much they differ, in terms of their own contrasts."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels.reshape(len(pixels), -1)
        self._contrast = np.maximum(self._pixels.std(axis=1), 1e-3)
        self._squares = (self._pixels**2).sum(axis=1)

    def differences(self, part: slice) -> np.ndarray:
        """Of some to all, (n, N): root mean square over the geometric mean of the contrasts."""
        distance = self._squares[part, None] + self._squares[None]
        distance = distance - 2 * self._pixels[part] @ self._pixels.T
        outline = np.sqrt(np.maximum(distance, 0) / self._pixels.shape[1])
        relative: np.ndarray = outline / np.sqrt(self._contrast[part, None] * self._contrast[None])
        return relative


def _inside(thumbnail: np.ndarray) -> np.ndarray:
    """1 where the thumbnail shows garment away from its rim; the whole garment if it is thin."""
    garment = thumbnail.min(axis=2) < WHITE
    core = binary_erosion(garment, iterations=RIM)
    return (core if core.sum() >= 60 else garment).astype(np.float32).ravel()
