"""Garments cut out of product photos, and what was behind them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.rendered_brushes import Image
from siamese.cut_out import SIDE, at_most, edge_of, garment_mask, is_plain, resized


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

    Args:
        photo: uint8 (H, W, 3) RGB of one garment.

    Returns:
        Cut-out and background, uint8 (h, w, 3) of half the size; None where the outcome does not
        look like a garment.
    """
    photo = at_most(photo, SIDE)
    mask = garment_mask(photo)
    if mask is None:
        return None
    x, y, width, height = cv2.boundingRect(mask)
    inside = np.s_[y : y + height, x : x + width]
    # On white the rim is mixed with the background by a pixel more.
    alpha = edge_of(mask, 5 if is_plain(photo) else 3)
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


def _background(photo: Image, mask: Image) -> Image:
    """The photo at half its size, the garment painted over with what surrounds it."""
    small = resized(photo, 0.5)
    hole = cv2.resize(mask, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
    hole = cv2.dilate((hole > 0).astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(cv2.inpaint(small, hole, 3, cv2.INPAINT_TELEA), np.uint8)
