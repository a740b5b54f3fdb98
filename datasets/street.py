"""Street photos with a garment label for every pixel (Clothing Co-Parsing, Yang et al. 2014).

Expected layout of a folder:

    photos/0001.jpg    photos of any size
    masks/0001.png     as large as its photo; a grey value is a label
    labels.csv         value,label

Shapes: H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.layout import find_path
from datasets.manifest import ManifestError, read_csv_as_text
from siamese.errors import UserError
from siamese.photos import open_photo
from siamese.segmentation import GROUPS

LAYOUT = "a folder with photos/N.jpg, masks/N.png and labels.csv (value,label)"

# Which label belongs to which group. What the photos of a label show decides, not its name alone:
# - `suit` marks the jacket of a suit only (its trousers are `pants`), `jumper` is a pullover, and
#   capes and coats of any length are worn over something and end at the shoulders: upper body.
# - stockings, tights and leggings look alike and cover the legs: lower body. Socks are `other`.
# - one piece for both halves of the body is full body: dress, romper, bodysuit (jumpsuits,
#   mostly), swimwear.
# - `other` is worn or carried, but no garment that a search would be for.
LABELS: dict[str, tuple[str, ...]] = {
    "background": ("null",),
    "skin": ("skin",),
    "hair": ("hair",),
    "upper": (
        *("blazer", "blouse", "bra", "cape", "cardigan", "coat", "hoodie", "intimate", "jacket"),
        *("jumper", "shirt", "suit", "sweater", "sweatshirt", "t-shirt", "top", "vest"),
    ),
    "lower": (
        *("jeans", "leggings", "panties", "pants", "shorts", "skirt", "stockings", "tights"),
    ),
    "full": ("bodysuit", "dress", "romper", "swimwear"),
    "shoes": (
        *("boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers"),
        "wedges",
    ),
    "bag": ("bag", "purse", "wallet"),
    "other": (
        *("accessories", "belt", "bracelet", "earrings", "glasses", "gloves", "hat", "necklace"),
        *("ring", "scarf", "socks", "sunglasses", "tie", "watch"),
    ),
}
GROUP_OF = {label: group for group, labels in LABELS.items() for label in labels}


@dataclass(frozen=True)
class StreetPhoto:
    """A photo with the group of each pixel.

    Args:
        name: Of its file, without suffix.
        pixels: uint8 (H, W, 3), RGB.
        groups: uint8 (H, W), places in `siamese.segmentation.GROUPS`.
    """

    name: str
    pixels: np.ndarray
    groups: np.ndarray


def group_table(path: Path) -> np.ndarray:
    """The group of each grey value of a mask, uint8 (256,); values without a label are 255.

    Raises:
        ManifestError: No such file, other columns, or a label that no group is known for.
    """
    table = read_csv_as_text(path)
    if not {"value", "label"} <= set(table) or not table["value"].str.fullmatch(r"\d{1,3}").all():
        raise ManifestError(f"{path}: expected lines of value,label with values from 0 to 255")
    unknown = sorted(set(table["label"].dropna()) - set(GROUP_OF))
    if unknown or table["label"].isna().any():
        raise ManifestError(
            f"{path}: no group is known for {', '.join(unknown) or 'an empty label'}; add it to "
            "LABELS in datasets/street.py"
        )
    groups = np.full(256, 255, np.uint8)
    for value, label in zip(table["value"].astype(int), table["label"], strict=True):
        if value > 255:
            raise ManifestError(f"{path}: value {value} is no grey value from 0 to 255")
        groups[value] = GROUPS.index(GROUP_OF[label])
    return groups


def read_street(folder: str | Path) -> list[StreetPhoto]:
    """All photos that have a mask, in order of their names.

    Raises:
        ManifestError: Another layout, a mask of another size than its photo, or grey values
            without a label.
        PhotoError: A photo cannot be used.
    """
    folder = Path(folder)
    groups = group_table(find_path(folder, ["labels.csv"], LAYOUT))
    masks = sorted((folder / "masks").glob("*.png"))
    if not masks:
        raise ManifestError(f"{folder}: no masks/*.png; expected {LAYOUT}")
    return [_read(folder / "photos" / f"{mask.stem}.jpg", mask, groups) for mask in masks]


def _read(photo: Path, mask: Path, groups: np.ndarray) -> StreetPhoto:
    pixels = np.asarray(open_photo(photo))
    try:
        with Image.open(mask) as image:
            values = np.asarray(image)
    except (OSError, ValueError) as error:
        raise ManifestError(f"{mask}: cannot be read ({error}); copy it again") from error
    if values.dtype != np.uint8 or values.shape != pixels.shape[:2]:
        raise ManifestError(
            f"{mask}: is {values.dtype} {values.shape}, its photo is {pixels.shape[:2]}; a mask "
            "has one grey value of 8 bits for each pixel"
        )
    grouped = groups[values]
    if (grouped == 255).any():
        raise ManifestError(f"{mask}: grey value {values[grouped == 255][0]} has no label")
    return StreetPhoto(photo.stem, pixels, grouped)


def split_street(
    photos: list[StreetPhoto], validation: int = 70, test: int = 130, seed: int = 0
) -> dict[str, list[StreetPhoto]]:
    """`train`, `validation` and `test`, drawn by the seed alone.

    Raises:
        UserError: Too few photos.
    """
    if len(photos) <= validation + test:
        raise UserError(
            f"{len(photos)} photos are too few for {validation} of validation and {test} of test; "
            "give more or keep fewer aside"
        )
    order = np.random.default_rng(seed).permutation(len(photos))
    parts = np.split(order, [test, test + validation])
    names = ("test", "validation", "train")
    return {
        name: [photos[place] for place in sorted(part)]
        for name, part in zip(names, parts, strict=True)
    }
