"""The demo data set: draws products and the people who wear them, named as LookBook names files.

Every photo depends on (seed, product, photo) alone, so that counts and workers change nothing.
"""

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from datasets.rendered_figures import SIDES, Figure, flat_figure, posed_figure
from datasets.rendered_garments import BOTTOMS, TOPS, Garment, design_garment, random_garment
from datasets.rendered_people import (
    draw_arm,
    draw_back_hair,
    draw_body,
    draw_front_hair,
    draw_hand_bag,
    draw_head,
    draw_person,
    draw_phone,
    draw_strap,
)
from datasets.rendered_scenes import develop, draw_scene
from datasets.rendered_textures import Image
from datasets.rendered_wear import draw_front, draw_legs, draw_sleeve, wear

RENDERER_VERSION = 1
HEIGHT, WIDTH = 256, 192
CANVAS = (2 * HEIGHT, 2 * WIDTH)
PHOTOS_PER_PRODUCT = 100  # image numbers set aside per product; number 0 is the product photo
JPEG_QUALITY = 90
STARTED, FINISHED = "rendered.started.json", "rendered.json"


def draw_product_photo(product: int, seed: int = 0) -> Image:
    """The garment alone, laid flat on near-white: uint8 (256, 192, 3) RGB.

    Raises ValueError for a negative product or seed.
    """
    garment = design_garment(product, seed)
    random = np.random.default_rng([seed, product, 2])
    canvas = np.full((*CANVAS, 3), int(random.uniform(240, 255)), np.uint8)
    figure = _lay(random, garment)
    wear(canvas, figure, garment, random)
    return develop(random, canvas, (HEIGHT, WIDTH), studio=True)


def _lay(random: np.random.Generator, garment: Garment) -> Figure:
    """The flat figure that fills the picture with this garment."""
    top = 66.0 if garment.kind in BOTTOMS else -9.0
    reach = 32 + garment.flare + 26 * garment.sleeve
    bottom = max(garment.hem, 78 if garment.sleeve > 0.7 else 0) + 5
    return flat_figure(random, CANVAS, top, bottom, reach)


def draw_person_photo(product: int, photo: int, seed: int = 0) -> Image:
    """Photo number `photo` (>= 1) of a person wearing the garment: uint8 (256, 192, 3) RGB.

    Raises ValueError for a negative product, photo or seed.
    """
    garment = design_garment(product, seed)
    random = np.random.default_rng([seed, product, 3, photo])
    canvas = draw_scene(random, CANVAS)
    figure = posed_figure(random, CANVAS, lower=garment.kind in BOTTOMS)
    person = draw_person(random)
    outfit = _dress_up(random, garment)
    draw_back_hair(canvas, figure, person)
    for side in SIDES:
        if side not in figure.arms_in_front:
            draw_arm(canvas, figure, person, side)
    draw_body(canvas, figure, person)
    for worn in outfit:
        if worn.kind in ("trousers", "shorts"):
            draw_legs(canvas, figure, worn)
        for side in SIDES:
            if side not in figure.arms_in_front and worn.sleeve:
                draw_sleeve(canvas, figure, worn, side)
        draw_front(canvas, figure, worn, random)
    for side in figure.arms_in_front:
        draw_arm(canvas, figure, person, side)
        for worn in outfit:
            if worn.sleeve:
                draw_sleeve(canvas, figure, worn, side)
    draw_head(canvas, figure, person)
    draw_front_hair(canvas, figure, person, random)
    if figure.pose == "shoulder bag":
        draw_strap(canvas, figure, person)
    elif figure.pose == "bag in hand":
        draw_hand_bag(canvas, figure, person)
    elif figure.pose == "phone":
        draw_phone(canvas, figure)
    return develop(random, canvas, (HEIGHT, WIDTH), studio=False)


def _dress_up(random: np.random.Generator, garment: Garment) -> list[Garment]:
    """The garment and what else the person wears, inner layers first."""
    if garment.kind == "dress":
        return [garment]
    kinds = TOPS[:6] if garment.kind in BOTTOMS else BOTTOMS
    other = random_garment(random, str(random.choice(kinds)))
    if random.random() < 0.7:
        other = replace(other, pattern="solid", print_kind="none")
    if garment.kind in BOTTOMS:
        return [replace(other, hem=min(other.hem, 78.0), flare=0.0), garment]
    return [other, garment]


def write_rendered_dataset(
    folder: Path,
    products: int = 900,
    person_photos: int | tuple[int, int] = 5,
    seed: int = 0,
    workers: int = 2,
) -> Path:
    """Draws the data set into `folder` and returns the folder.

    person_photos: photos of people per product, or a (low, high) range drawn per product.
    A finished folder with the same parameters is left as it is; an interrupted one is completed.
    Raises ValueError for impossible parameters or a folder drawn with other ones; OSError (disk
    full, no permission) passes through and leaves no half-written photo under its final name.
    """
    low, high = (person_photos,) * 2 if isinstance(person_photos, int) else person_photos
    if products < 1 or workers < 1 or seed < 0 or not 1 <= low <= high < PHOTOS_PER_PRODUCT:
        raise ValueError(
            f"cannot draw products={products}, person_photos={person_photos}, seed={seed}, "
            f"workers={workers}: products and workers must be at least 1, seed at least 0, "
            f"person_photos 1 to {PHOTOS_PER_PRODUCT - 1}"
        )
    parameters = {
        "renderer": RENDERER_VERSION,
        "products": products,
        "person_photos": [low, high],
        "seed": seed,
    }
    folder = Path(folder)
    if _is_finished(folder, parameters):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _write_atomically(folder / STARTED, json.dumps(parameters, indent=1).encode())
    tasks = zip(repeat(folder), range(products), repeat((low, high)), repeat(seed))
    with tqdm(total=products, desc="drawing products", unit="product") as bar:
        for _ in _run(list(tasks), workers):
            bar.update()
    os.replace(folder / STARTED, folder / FINISHED)
    return folder


def _is_finished(folder: Path, parameters: dict[str, object]) -> bool:
    """Whether the folder holds just this data set; ValueError if it holds another one."""
    for marker in (folder / FINISHED, folder / STARTED):
        if not marker.exists():
            continue
        found = json.loads(marker.read_text())
        if found != parameters:
            raise ValueError(
                f"{marker} says that this folder was drawn with {found}, not {parameters}: "
                f"choose another folder or delete {folder}"
            )
        return marker.name == FINISHED
    return False


def _run(tasks: list[tuple[Path, int, tuple[int, int], int]], workers: int) -> Iterator[None]:
    if workers == 1:
        yield from map(_draw_product, tasks)
        return
    # spawn: forking a process that already runs torch threads can deadlock
    with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        yield from pool.map(_draw_product, tasks, chunksize=8)


def _draw_product(task: tuple[Path, int, tuple[int, int], int]) -> None:
    """Draws the photos of one product that are still missing."""
    folder, product, (low, high), seed = task
    count = int(np.random.default_rng([seed, product, 4]).integers(low, high + 1))
    for photo in range(count + 1):
        path = folder / photo_name(product, photo)
        if path.exists():
            continue
        image = (
            draw_person_photo(product, photo, seed) if photo else draw_product_photo(product, seed)
        )
        _write_atomically(path, _encode(image))


def photo_name(product: int, photo: int) -> str:
    """LookBook's name of a photo; photo 0 is the product's own."""
    clean = 0 if photo else 1
    number = product * PHOTOS_PER_PRODUCT + photo
    return f"PID{product:06d}_CLEAN{clean}_IID{number:06d}.jpg"


def _encode(image: Image) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def _write_atomically(path: Path, data: bytes) -> None:
    """A file under its final name is always whole; leftovers of a failed write are removed."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def draw_sheet(products: int, seed: int = 0, photos: int = 5, first: int = 0) -> Image:
    """A contact sheet: per product its photo and people, two products a row; uint8 RGB."""
    rows = []
    for product in range(first, first + products):
        people = [draw_person_photo(product, photo, seed) for photo in range(1, photos + 1)]
        rows.append(np.concatenate([draw_product_photo(product, seed), *people], axis=1))
    pairs = [np.concatenate(rows[i : i + 2], axis=1) for i in range(0, len(rows) - 1, 2)]
    return np.concatenate(pairs)


def main() -> None:
    """Command line: view a sheet or draw the data set."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this picture")
    parser.add_argument("--folder", type=Path, help="draw the data set into this folder")
    parser.add_argument("--products", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="first product of the sheet")
    parser.add_argument("--photos", type=int, default=5, help="photos of people per product")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    choice = parser.parse_args()
    if choice.sheet:
        sheet = draw_sheet(choice.products, choice.seed, choice.photos, choice.first)
        cv2.imwrite(str(choice.sheet), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if choice.folder:
        write_rendered_dataset(
            choice.folder, choice.products, choice.photos, choice.seed, choice.workers
        )


if __name__ == "__main__":
    main()
