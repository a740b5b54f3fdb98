"""A training set from product photos alone: each garment cut out and worn by drawn people.

Folder: `cutouts/KEY.png` (RGBA), `backgrounds/KEY.jpg`, `photos/KEY-N.jpg` (0: as a shop shows
it; from 1 on: people), `notes/KEY.json` (where these wear it, and what beside it). A photo
depends on (seed, product, number) and on which other products there are; products that come later
are added, what is there is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from datasets.composed_photos import Kind, Style, person_photo, product_photo
from datasets.cutouts import Cutout, cut_out
from datasets.drawing import as_jpeg, run_tasks, write_atomically
from datasets.manifest import BOX, ManifestError
from datasets.rendered_brushes import Image
from siamese.boxes import boxes_of
from siamese.photos import PhotoError, open_photo
from siamese.preprocessing import Box
from siamese.worn import ALSO_WORN

VERSION = 3
MARKER, PRODUCTS = "composed.json", "products.json"
OTHERS = 6  # garments that a photo may use as other clothes


@dataclass(frozen=True)
class Recipe:
    """What decides the photos of a folder.

    Args:
        views: Photos of people per product.
        style: `training`, or `unlike`: other poses, scenes, light and cameras, to test with.
        seed: Of all draws.
    """

    views: int = 4
    style: Style = "training"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1 or self.seed < 0:
            raise ManifestError(
                f"composed: views must be at least 1 and seed at least 0, not {self.views} and "
                f"{self.seed}"
            )


class Garment(NamedTuple):
    """A cut-out by its name in file names, and what it is."""

    key: str
    kind: Kind


class Note(NamedTuple):
    """Where a person wears the garment, in pixels of the photo, and the key of another one."""

    box: tuple[float, ...]
    also_worn: str | None


class Drawing(NamedTuple):
    """One product's photos, and the garments that each photo of a person may use beside it."""

    folder: Path
    garment: Garment
    others: tuple[tuple[Garment, ...], ...]
    recipe: Recipe


def compose(
    folder: Path,
    products: pd.DataFrame,
    recipe: Recipe,
    workers: int = 2,
    boxes: bool = False,
) -> pd.DataFrame:
    """Draw what is missing, and list the photos of every product that could be cut out.

    Args:
        folder: Where the photos are or shall be.
        products: product_id, path (product photo), kind (`datasets.composed_photos.Kind`)
            and split of each product; unique ids. Only garments of its split appear beside it.
            Of a photo with a box, `x1, y1, x2, y2`, the garment in the box is cut out.
        recipe: How to draw.
        workers: Processes.
        boxes: Whether to say where in photos of people the garment is.

    Returns:
        product_id, number (0: as a shop shows it) and path of each photo, and `also_worn`, the
        product that a person wears besides; with `boxes` x1, y1, x2 and y2 of photos of people,
        too. In folders drawn before all that was noted the photos are drawn once more, the same
        ones.

    Raises:
        ManifestError: The folder was drawn with another recipe, other splits or kinds, or no
            garment could be cut out.
    """
    _claim(folder, recipe)
    paths = products["path"].tolist()
    parts = boxes_of(products)
    keys = [key_of(*one) for one in zip(products["product_id"], paths, parts, strict=True)]
    facts = zip(products["split"], products["kind"], strict=True)
    _register(folder, dict(zip(keys, facts, strict=True)))
    cuts = [(folder, *one) for one in zip(keys, paths, parts, strict=True)]
    whole = run_tasks(_cut, cuts, workers, "cutting out")
    usable = products.assign(key=keys)[np.array(whole, bool)]
    if usable.empty:
        raise ManifestError(
            f"{folder}: no garment could be cut out of {len(products)} product photos; each "
            "should show one garment, whole and apart from its background"
        )
    tasks = []
    for _, part in usable.groupby("split"):
        garments = [Garment(*pair) for pair in zip(part["key"], part["kind"], strict=True)]
        tasks += [Drawing(folder, one, _others(one, garments, recipe), recipe) for one in garments]
    run_tasks(_draw, tasks, workers, "composing photos")
    photos = pd.DataFrame(
        [
            (name, number, str(_photo(folder, key, number)))
            for name, key in zip(usable["product_id"], usable["key"], strict=True)
            for number in range(recipe.views + 1)
        ],
        columns=["product_id", "number", "path"],
    )
    notes = [note for key in usable["key"] for note in _read_notes(folder, key, recipe)]
    names = dict(zip(usable["key"], usable["product_id"], strict=True))
    of_people = photos["number"] > 0
    photos.loc[of_people, ALSO_WORN] = [names.get(note.also_worn or "") for note in notes]
    if boxes:
        photos.loc[of_people, list(BOX)] = np.array([note.box for note in notes], np.float64)
    return photos


def key_of(product_id: str, path: str, box: Box | None = None) -> str:
    """A product's name in file names: another one when its photo, or its box there, changes.

    A photo that cannot be read has a name, too; the manifest's checks report it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError:
        content = b""
    digest = hashlib.sha1(product_id.encode() + b"\0", usedforsecurity=False)
    digest.update(content)
    if box is not None:
        digest.update(repr(box).encode())
    return digest.hexdigest()[:16]


def _others(
    garment: Garment, pool: Sequence[Garment], recipe: Recipe
) -> tuple[tuple[Garment, ...], ...]:
    """For each photo of a person the garments to draw from."""
    random = _random(recipe, garment.key, 0)
    chosen = random.integers(len(pool), size=(recipe.views, OTHERS))
    return tuple(tuple(pool[place] for place in row) for row in chosen)


def _random(recipe: Recipe, key: str, number: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, int(key, 16), number])


def _claim(folder: Path, recipe: Recipe) -> None:
    """Mark the folder as drawn with this recipe, or refuse."""
    marker, parameters = folder / MARKER, {"version": VERSION, **asdict(recipe)}
    for place in ("cutouts", "backgrounds", "photos", "notes"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    try:
        found = json.loads(marker.read_text()) if marker.exists() else parameters
    except ValueError as error:
        raise ManifestError(f"{marker} is damaged ({error}): delete {folder}") from error
    if found != parameters:
        raise ManifestError(
            f"{marker} says that this folder was drawn with {found}, not {parameters}: "
            f"choose another folder or delete {folder}"
        )
    write_atomically(marker, json.dumps(parameters, indent=1).encode())


def _register(folder: Path, products: dict[str, tuple[str, str]]) -> None:
    """Note each product's split and kind, or refuse: its photos show garments of that split.

    A product that is new joins; one that changed sides would be seen on both.
    """
    listed = folder / PRODUCTS
    try:
        before = json.loads(listed.read_text()) if listed.exists() else {}
    except ValueError as error:
        raise ManifestError(f"{listed} is damaged ({error}): delete {folder}") from error
    changed = [key for key, now in products.items() if before.get(key, list(now)) != list(now)]
    if changed:
        raise ManifestError(
            f"{folder}: was drawn when {len(changed)} of its products were of another split or "
            "kind; choose another folder or delete this one"
        )
    write_atomically(listed, json.dumps(before | products).encode())


def _photo(folder: Path, key: str, number: int) -> Path:
    return folder / "photos" / f"{key}-{number}.jpg"


def _notes(folder: Path, key: str) -> Path:
    return folder / "notes" / f"{key}.json"


def _read_notes(folder: Path, key: str, recipe: Recipe) -> list[Note]:
    """Of each photo of a person."""
    path = _notes(folder, key)
    try:
        notes = [
            Note(tuple(map(float, box)), beside) for box, beside in json.loads(path.read_text())
        ]
        if len(notes) != recipe.views or any(len(note.box) != len(BOX) for note in notes):
            raise ValueError("has other photos")
        return notes
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{path}: damaged; delete it and start again") from error


def opened_part(path: str, box: Box | None, at_least: tuple[int, int] | None = None) -> Image:
    """The photo, or what lies in the box: uint8 (H, W, 3).

    Raises:
        PhotoError: It cannot be used, or the box shows nothing of it.
    """
    if box is None:
        return np.asarray(open_photo(path, at_least=at_least))
    photo = np.asarray(open_photo(path))
    x1, y1, x2, y2 = (max(0, round(side)) for side in box)
    part = photo[y1:y2, x1:x2]
    if not part.size:
        raise PhotoError(f"{path}: the box shows nothing of it")
    return part


def _cut(task: tuple[Path, str, str, Box | None]) -> bool:
    """Cut one garment out unless that is done; whether it could be."""
    folder, key, path, box = task
    target = folder / "cutouts" / f"{key}.png"
    if target.exists():
        return True
    try:
        photo = opened_part(path, box, at_least=(256, 256))
    except PhotoError:
        return False  # the manifest's checks report it
    found = cut_out(photo)
    if found is None:
        return False
    cutout, background = found
    write_atomically(folder / "backgrounds" / f"{key}.jpg", as_jpeg(background))
    layers = np.dstack([cutout.pixels[..., ::-1], cutout.alpha])
    write_atomically(target, cv2.imencode(".png", layers)[1].tobytes())
    return True


@lru_cache(maxsize=64)
def _read_cutout(path: Path) -> Cutout:
    layers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if layers is None:
        raise ManifestError(f"{path}: damaged; delete it and start again")
    return Cutout(np.ascontiguousarray(layers[..., 2::-1]), np.ascontiguousarray(layers[..., 3]))


def _draw(task: Drawing) -> None:
    """Draw the photos of one product that are missing, and note where and with what it is worn."""
    folder, (key, kind), others, recipe = task
    paths = [_photo(folder, key, number) for number in range(recipe.views + 1)]
    noted = _notes(folder, key)
    if all(path.exists() for path in (*paths, noted)):
        return
    notes = []
    for number, path in enumerate(paths):
        random = _random(recipe, key, number + 1)
        cutout = _read_cutout(folder / "cutouts" / f"{key}.png")
        if number == 0:
            image = product_photo(cutout, random)
        else:
            beside = others[number - 1]
            worn = [(_read_cutout(folder / "cutouts" / f"{k}.png"), what) for k, what in beside]
            behind = _read_background(folder / "backgrounds" / f"{beside[0].key}.jpg")
            image, box, place = person_photo(cutout, kind, worn, behind, recipe.style, random)
            also_worn = None if place is None else beside[place].key
            notes.append(Note(tuple(round(side, 1) for side in box), also_worn))
        drawn = as_jpeg(image)
        # One that was drawn before there were more products to be worn beside it is another.
        if not path.exists() or (not noted.exists() and path.read_bytes() != drawn):
            write_atomically(path, drawn)
    write_atomically(noted, json.dumps(notes).encode())


def _read_background(path: Path) -> Image:
    photo = cv2.imread(str(path))
    if photo is None:
        raise ManifestError(f"{path}: damaged; delete it and start again")
    return np.ascontiguousarray(photo[..., ::-1])
