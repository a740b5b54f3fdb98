"""The demo data set: draws products and the people who wear them, named as LookBook names files.

Every photo depends on (seed, product, photo) alone, so that counts and workers change nothing.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import PIL.Image

from datasets.drawing import as_jpeg, run_tasks, write_atomically
from datasets.rendered_brushes import Image
from datasets.rendered_photos import STYLES, Style, draw_person_photo, draw_product_photo
from siamese.errors import UserError
from siamese.files import replacing

__all__ = ["draw_person_photo", "draw_product_photo", "draw_sheet", "write_rendered_dataset"]

RENDERER_VERSION = 2
SHOP_VERSION = 3  # of the style "shop"; 2 laid its tops flat
PHOTOS_PER_PRODUCT = 100  # image numbers set aside per product; number 0 is the product photo
STARTED, FINISHED = "rendered.started.json", "rendered.json"


def write_rendered_dataset(
    folder: Path,
    products: int = 900,
    person_photos: int | tuple[int, int] = 5,
    seed: int = 0,
    workers: int = 2,
    style: Style = "demo",
) -> Path:
    """Draws the data set into `folder` and returns the folder.

    person_photos: photos of people per product, or a (low, high) range drawn per product.
    style: "shop" for mostly plain tops, most of them worn in a studio; see `rendered_shop`.
    A finished folder with the same parameters is left as it is; an interrupted one is completed.
    Raises ValueError for impossible parameters or a folder drawn with other ones; OSError (disk
    full, no permission) passes through and leaves no half-written photo under its final name.
    """
    low, high = (person_photos,) * 2 if isinstance(person_photos, int) else person_photos
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    if products < 1 or workers < 1 or seed < 0 or not 1 <= low <= high < PHOTOS_PER_PRODUCT:
        raise UserError(
            f"cannot draw products={products}, person_photos={person_photos}, seed={seed}, "
            f"workers={workers}: products and workers must be at least 1, seed at least 0, "
            f"person_photos 1 to {PHOTOS_PER_PRODUCT - 1}"
        )
    parameters: dict[str, object] = {
        "renderer": RENDERER_VERSION,
        "products": products,
        "person_photos": [low, high],
        "seed": seed,
    }
    if style != "demo":
        parameters["style"] = f"{style}, version {SHOP_VERSION}"
    folder = Path(folder)
    if _is_finished(folder, parameters):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / STARTED, json.dumps(parameters, indent=1).encode())
    tasks = zip(repeat(folder), range(products), repeat((low, high)), repeat(seed), repeat(style))
    run_tasks(_draw_product, list(tasks), workers, "drawing products")
    write_atomically(folder / FINISHED, json.dumps(parameters, indent=1).encode())
    (folder / STARTED).unlink(missing_ok=True)  # another process may have drawn the same
    return folder


def _is_finished(folder: Path, parameters: dict[str, object]) -> bool:
    """Whether the folder holds just this data set; ValueError if it holds something else."""
    for marker in (folder / FINISHED, folder / STARTED):
        if not marker.exists():
            continue
        found = _read_marker(marker)
        if found != parameters:
            raise ValueError(
                f"{marker} says that this folder was drawn with {found}, not {parameters}: "
                f"choose another folder or delete {folder}"
            )
        return marker.name == FINISHED
    if folder.is_dir() and any(folder.glob("PID*.jpg")):
        raise ValueError(
            f"{folder} holds photos that were not drawn here (it has no {FINISHED}): "
            "choose another folder"
        )
    return False


def _read_marker(marker: Path) -> object:
    try:
        return json.loads(marker.read_text())
    except ValueError as error:
        raise ValueError(f"{marker} is damaged ({error}): delete it and {marker.parent}") from error


def _draw_product(task: tuple[Path, int, tuple[int, int], int, Style]) -> None:
    """Draws the photos of one product that are still missing."""
    folder, product, (low, high), seed, style = task
    count = int(np.random.default_rng([seed, product, 4]).integers(low, high + 1))
    for photo in range(count + 1):
        path = folder / photo_name(product, photo)
        if path.exists():
            continue
        image = (
            draw_person_photo(product, photo, seed, style)
            if photo
            else draw_product_photo(product, seed, style)
        )
        write_atomically(path, as_jpeg(image))


def photo_name(product: int, photo: int) -> str:
    """LookBook's name of a photo; photo 0 is the product's own."""
    clean = 0 if photo else 1
    number = product * PHOTOS_PER_PRODUCT + photo
    return f"PID{product:06d}_CLEAN{clean}_IID{number:06d}.jpg"


def draw_sheet(
    products: int, seed: int = 0, photos: int = 5, first: int = 0, style: Style = "demo"
) -> Image:
    """A contact sheet: per product its photo and people, two products a row; uint8 RGB."""
    rows = []
    for product in range(first, first + products):
        people = [draw_person_photo(product, photo, seed, style) for photo in range(1, photos + 1)]
        rows.append(np.concatenate([draw_product_photo(product, seed, style), *people], axis=1))
    if len(rows) % 2:
        rows.append(np.full_like(rows[0], 255))
    return np.concatenate([np.concatenate(rows[i : i + 2], axis=1) for i in range(0, len(rows), 2)])


def main(words: Sequence[str]) -> int:
    """Command line: view a sheet or draw the data set. Returns the exit status."""
    parser = argparse.ArgumentParser(description="View a sheet or draw the data set.")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this picture")
    parser.add_argument("--folder", type=Path, help="draw the data set into this folder")
    parser.add_argument("--products", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="first product of the sheet")
    parser.add_argument("--photos", type=int, default=5, help="photos of people per product")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--style", choices=STYLES, default="demo")
    parser.add_argument("--workers", type=int, default=2)
    choice = parser.parse_args(words)
    if min(choice.products, choice.photos, choice.workers) < 1 or choice.first < 0:
        parser.error("--products, --photos and --workers must be at least 1, --first at least 0")
    if choice.seed < 0:
        parser.error("--seed must be from 0 on")
    if not (choice.sheet or choice.folder):
        parser.error("give --sheet or --folder")
    try:
        _draw(choice)
    except (UserError, OSError) as error:
        print(f"datasets.rendered: {error}", file=sys.stderr)
        return 1
    return 0


def _draw(choice: argparse.Namespace) -> None:
    """What was asked for."""
    if choice.sheet:
        sheet = draw_sheet(choice.products, choice.seed, choice.photos, choice.first, choice.style)
        with replacing(choice.sheet) as temporary:
            PIL.Image.fromarray(sheet).save(temporary)
    if choice.folder:
        write_rendered_dataset(
            choice.folder,
            choice.products,
            choice.photos,
            choice.seed,
            choice.workers,
            choice.style,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
