"""Garments cut out of product photos, and what was behind them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.rendered_brushes import Image

SIDE = 256  # longest side of a cut-out, pixels
CUTTING_SIDE = 160  # of the copy that is segmented: finer ones take longer and gain nothing
PLAIN = 249  # a channel below this is no shop's white background
PLAIN_SHARE = 0.75  # of the border, from which a background counts as plain
SMALLEST, LARGEST = 0.08, 0.85  # shares of the photo that a garment may fill
SOLID = 0.45  # least share of its convex hull that it fills; torn masks fill less


@dataclass(frozen=True)
class Cutout:
    """A garment without its background.

    Args:
        pixels: uint8 (H, W, 3) RGB, cropped to the garment.
        alpha: uint8 (H, W), 255 on the garment.
    """

    pixels: Image
    alpha: Image


def cut_out(photo: Image) -> tuple[Cutout, Image] | None:
    """The garment of a product photo, and the background with the garment painted over.

    On a shop's white background the garment is what is not white; elsewhere GrabCut (Rother et
    al. 2004) finds it, told that garments lie in the middle and backgrounds at the border.

    Args:
        photo: uint8 (H, W, 3) RGB of one garment.

    Returns:
        Cut-out and background, uint8 (h, w, 3) of half the size; None where the outcome does not
        look like a garment.
    """
    scale = SIDE / max(photo.shape[:2])
    if scale < 1:
        photo = _resized(photo, scale)
    plain = _is_plain(photo)
    mask = largest_parts(not_white(photo) if plain else _grab_cut(photo))
    if not _looks_like_a_garment(mask):
        return None
    x, y, width, height = cv2.boundingRect(mask)
    inside = np.s_[y : y + height, x : x + width]
    # A little less: the rim is mixed with the background, on white by a pixel more.
    rim = np.ones((5, 5) if plain else (3, 3), np.uint8)
    alpha = cv2.GaussianBlur(cv2.erode(mask, rim), (3, 3), 0)
    cutout = Cutout(np.ascontiguousarray(photo[inside]), np.ascontiguousarray(alpha[inside]))
    return cutout, _background(photo, mask)


def smoothed(cutout: Cutout, random: np.random.Generator) -> Cutout:
    """The garment with some of its shades and wrinkles taken off, how many is random.

    Two photos of one garment never show the same wrinkles; where they did, a network would learn
    to find wrinkles instead of garments.

    Broad shades are evened out by dividing by the blurred brightness (Land and McCann 1971), at
    most by a third, so that prints stay; fine wrinkles by a bilateral filter (Tomasi and
    Manduchi 1998).
    """
    pixels = cutout.pixels
    if random.random() < 0.5:
        pixels = np.asarray(cv2.bilateralFilter(pixels, 7, random.uniform(10, 35), 3.0), np.uint8)
    height, width = cutout.alpha.shape
    sigma = max(1.0, random.uniform(0.02, 0.1) * max(height, width))
    weight = cutout.alpha.astype(np.float32) / 255 + 1e-3
    brightness = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) + 4
    summed = np.asarray(cv2.GaussianBlur(brightness * weight, (0, 0), sigma))
    blurred = summed / np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma))
    level = float((brightness * weight).sum() / weight.sum())
    gain = (level / blurred).clip(0.75, 1.33) ** random.uniform(0, 1)
    even = pixels.astype(np.float32) * gain[..., None]
    return Cutout(even.clip(0, 255).astype(np.uint8), cutout.alpha)


def _resized(photo: Image, scale: float) -> Image:
    size = (max(8, round(photo.shape[1] * scale)), max(8, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _is_plain(photo: Image) -> bool:
    border = np.concatenate([photo[0], photo[-1], photo[:, 0], photo[:, -1]])
    return bool((border.min(axis=1) >= PLAIN).mean() >= PLAIN_SHARE)


def not_white(photo: Image) -> Image:
    """255 where a photo on a shop's white background shows something: uint8 (H, W)."""
    mask = (photo.min(axis=2) < PLAIN).astype(np.uint8) * 255
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def _grab_cut(photo: Image) -> Image:
    scale = min(1.0, CUTTING_SIDE / max(photo.shape[:2]))
    small = _resized(photo, scale)
    height, width = small.shape[:2]
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    y, x = np.mgrid[:height, :width]
    radius = ((x - width / 2) / (0.40 * width)) ** 2 + ((y - height / 2) / (0.42 * height)) ** 2
    mask[radius < 1] = cv2.GC_PR_FGD
    border = max(2, round(0.03 * max(height, width)))
    mask[:border] = mask[-border:] = mask[:, :border] = mask[:, -border:] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its mixture models start from random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, mask, (0, 0, 0, 0), *models, 5, cv2.GC_INIT_WITH_MASK)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    opened = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    size = (photo.shape[1], photo.shape[0])
    enlarged = cv2.resize(opened, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray((enlarged > 127).astype(np.uint8) * 255)


def largest_parts(mask: Image) -> Image:
    """The largest part, and others of a tenth of its size (a pair of shoes), without holes."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    kept = [o for o, area in zip(outlines, areas, strict=True) if area >= 0.1 * max(areas)]
    return np.asarray(cv2.drawContours(np.zeros_like(mask), kept, -1, 255, cv2.FILLED), np.uint8)


def _looks_like_a_garment(mask: Image) -> bool:
    area = float((mask > 0).mean())
    if not SMALLEST <= area <= LARGEST:
        return False
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.contourArea(cv2.convexHull(np.concatenate(outlines)))
    return sum(map(cv2.contourArea, outlines)) >= SOLID * hull


def _background(photo: Image, mask: Image) -> Image:
    """The photo at half its size, the garment painted over with what surrounds it."""
    small = _resized(photo, 0.5)
    hole = cv2.resize(mask, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    hole = cv2.dilate((hole > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(cv2.inpaint(small, hole, 3, cv2.INPAINT_TELEA), np.uint8)
