"""Backgrounds behind people, and the camera that turns a canvas into a photo."""

import cv2
import numpy as np

from datasets.rendered_brushes import Colour, Image, as_colour, grain, shade

SCENES = ("studio", "white", "indoor", "street", "foliage", "shop", "colours")
STUDIO_SCENES = SCENES[:2]
SCENE_WEIGHTS = (0.22, 0.1, 0.18, 0.22, 0.14, 0.1, 0.04)


def draw_scene(
    random: np.random.Generator, canvas: tuple[int, int], scenes: tuple[str, ...] = SCENES
) -> Image:
    """A background, uint8 RGB of (height, width); drawn at half size and enlarged: out of focus."""
    height, width = canvas[0] // 2, canvas[1] // 2
    weights = np.array([SCENE_WEIGHTS[SCENES.index(scene)] for scene in scenes])
    scene = str(random.choice(scenes, p=weights / weights.sum()))
    image = SCENE_DRAWERS[scene](random, height, width)
    if scene in ("indoor", "street", "foliage", "shop", "colours"):
        size = int(random.choice((1, 3, 5, 9)))
        image = np.asarray(cv2.blur(image, (size, size)), np.uint8)
    return _enlarged(image, canvas[0], canvas[1])


def _colour(random: np.random.Generator, low: int = 40, high: int = 230) -> Colour:
    """A random, not too loud colour."""
    grey = random.uniform(low, high)
    return as_colour(grey + random.normal(0, 17, 3))


def _enlarged(image: Image, height: int, width: int) -> Image:
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _filled(height: int, width: int, colour: Colour) -> Image:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colour
    return image


def _studio(random: np.random.Generator, height: int, width: int) -> Image:
    corners = np.array([_colour(random, 110, 245)], np.float32).repeat(4, 0).reshape(2, 2, 3)
    corners += random.normal(0, 14, (2, 2, 1)).astype(np.float32)
    return _enlarged(np.clip(corners, 0, 255).astype(np.uint8), height, width)


def _white(random: np.random.Generator, height: int, width: int) -> Image:
    return _filled(height, width, (int(random.uniform(232, 255)),) * 3)


def _indoor(random: np.random.Generator, height: int, width: int) -> Image:
    image = _filled(height, width, _colour(random, 120, 240))
    floor = int(height * random.uniform(0.7, 0.95))
    image[floor:] = _colour(random, 50, 180)
    cv2.line(image, (0, floor), (width, floor), _colour(random, 150, 250), 3)
    for _ in range(int(random.integers(1, 5))):
        x, y = int(random.integers(-20, width)), int(random.integers(-10, floor))
        w, h = random.integers(20, 90, 2)
        cv2.rectangle(image, (x, y), (x + int(w), y + int(h)), _colour(random, 60, 250), -1)
        cv2.rectangle(image, (x, y), (x + int(w), y + int(h)), _colour(random, 30, 120), 2)
    return image


def _street(random: np.random.Generator, height: int, width: int) -> Image:
    image = _filled(height, width, _colour(random, 150, 240))
    ground = int(height * random.uniform(0.6, 0.9))
    x = -int(random.integers(0, 40))
    while x < width:
        w, top = int(random.integers(35, 90)), int(random.integers(-40, ground // 2 + 10))
        wall = _colour(random, 60, 210)
        cv2.rectangle(image, (x, top), (x + w, ground), wall, -1)
        glass = shade(wall, random.uniform(0.4, 0.7))
        step = int(random.integers(12, 24))
        for wx in range(x + 5, x + w - 6, step):
            for wy in range(top + 6, ground - 10, step + 6):
                cv2.rectangle(image, (wx, wy), (wx + step // 2, wy + step // 2 + 4), glass, -1)
        x += w
    image[ground:] = _colour(random, 70, 170)
    for _ in range(int(random.integers(0, 4))):  # cars and passers-by
        x, size = int(random.integers(0, width)), int(random.integers(8, 26))
        cv2.ellipse(image, (x, ground), (size, size // 2), 0, 0, 360, _colour(random, 20, 220), -1)
    return image


def _foliage(random: np.random.Generator, height: int, width: int) -> Image:
    coarse = random.random((9, 7, 1)).astype(np.float32)
    fine = random.random((48, 36, 1)).astype(np.float32)
    size = (width, height)
    field = 0.6 * cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) + 0.4 * cv2.resize(
        fine, size, interpolation=cv2.INTER_LINEAR
    )
    leaf = random.uniform(110, 190)
    green = np.array((leaf * random.uniform(0.45, 0.95), leaf, leaf * random.uniform(0.3, 0.6)))
    image = np.clip(field[..., None] * green * 1.5, 0, 255).astype(np.uint8)
    if random.random() < 0.5:
        image[int(height * random.uniform(0.7, 0.95)) :] = _colour(random, 80, 180)
    return image


def _shop(random: np.random.Generator, height: int, width: int) -> Image:
    image = _filled(height, width, _colour(random, 140, 240))
    for top in (int(height * 0.12), int(height * 0.56)):
        x = int(random.integers(0, 10))
        while x < width:
            w = int(random.integers(4, 11))
            bottom = top + int(height * random.uniform(0.22, 0.36))
            cv2.rectangle(image, (x, top), (x + w, bottom), _colour(random, 20, 240), -1)
            x += w + 1
        cv2.line(image, (0, top - 2), (width, top - 2), (90, 90, 92), 2)
    return image


def _colours(random: np.random.Generator, height: int, width: int) -> Image:
    image = _filled(height, width, _colour(random))
    for _ in range(int(random.integers(4, 12))):
        points = random.uniform((-20, -20), (width + 20, height + 20), (4, 2)).astype(np.int32)
        cv2.fillPoly(image, [points], as_colour(random.integers(30, 235, 3)))
    return image


SCENE_DRAWERS = {
    "studio": _studio,
    "white": _white,
    "indoor": _indoor,
    "street": _street,
    "foliage": _foliage,
    "shop": _shop,
    "colours": _colours,
}


def develop(
    random: np.random.Generator, canvas: Image, size: tuple[int, int], studio: bool
) -> Image:
    """The photo: roll of the camera, half size, light, white balance and grain; uint8 RGB.

    size: height and width of the photo; studio: even light and a steady camera.
    """
    return expose(random, canvas, aim(random, canvas, size, studio), size, studio)


def aim(
    random: np.random.Generator, canvas: Image, size: tuple[int, int], studio: bool
) -> np.ndarray:
    """Where a point of the canvas is in the photo: roll, and half size; float64 (2, 3)."""
    height, width = size
    roll = float(random.normal(0, 2.0 if studio else 1.5))
    zoom = 0.5 * (1.0 if studio else random.uniform(1.0, 1.06))
    centre = (canvas.shape[1] / 2, canvas.shape[0] / 2)
    matrix = np.array(cv2.getRotationMatrix2D(centre, roll, zoom), np.float64)
    matrix[:, 2] += np.array((width - canvas.shape[1], height - canvas.shape[0])) / 2
    return matrix


def expose(
    random: np.random.Generator,
    canvas: Image,
    matrix: np.ndarray,
    size: tuple[int, int],
    studio: bool,
) -> Image:
    """The photo as `aim` placed it, with light, white balance and grain; uint8 RGB."""
    height, width = size
    photo = cv2.warpAffine(canvas, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    corners = np.ones((2, 2, 1))
    if studio:
        gain = random.uniform(0.97, 1.03) * (1 + random.normal(0, 0.01, 3))
        noise, lifted = 1.0, 0.0
    else:
        gain = random.uniform(0.74, 1.14) * (1 + random.normal(0, 0.055, 3))
        corners = random.uniform(0.84, 1.14, (2, 2, 1))
        noise, lifted = random.uniform(1.0, 6.0), random.uniform(-4, 22)
    light = cv2.resize((corners * gain).astype(np.float32), (width, height))
    lit = cv2.multiply(photo, light, dtype=cv2.CV_32F)
    noisy = cv2.addWeighted(lit, 1.0, grain(random, height, width), noise, lifted)
    return noisy.clip(0, 255).astype(np.uint8)
