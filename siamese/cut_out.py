"""The garment of a product photo, found without training, and the photo without its background.

On a shop's white background the garment is what is not white; elsewhere GrabCut (Rother et al.
2004) finds it, told that garments lie in the middle and backgrounds at the border.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from siamese.preprocessing import Box

Pixels = npt.NDArray[np.uint8]

SIDE = 256  # longest side of what is cut out, pixels
CUTTING_SIDE = 160  # of the copy that is segmented: finer ones take longer and gain nothing
PLAIN = 249  # a channel below this is no shop's white background
LIGHT, EVEN = 200, 6  # least channel of a studio's background, and by how much it may differ
PLAIN_SHARE = 0.75  # of the border, from which a background counts as plain or even
SMALLEST, LARGEST = 0.08, 0.85  # shares of the photo that a garment may fill
SOLID = 0.45  # least share of its convex hull that it fills; torn masks fill less
MARGIN = 0.05  # of the garment's sides, left around it


def without_background(photo: Image.Image) -> tuple[Image.Image, Box] | None:
    """A product photo with white around its garment, and the garment's box.

    Args:
        photo: RGB, of one garment.

    Returns:
        The photo, its longest side at most 256 pixels, and in its pixels the box with a little
        white around. None where there is nothing to do or to see: before a studio's light and even
        background, and where what was found does not look like a garment.
    """
    pixels = at_most(np.asarray(photo), SIDE)
    if is_studio(pixels):
        return None
    mask = garment_mask(pixels)
    if mask is None:
        return None
    share = edge_of(mask)[..., None] / np.float32(255)
    painted = pixels * share + 255 * (1 - share)
    x, y, width, height = cv2.boundingRect(mask)
    across, down = MARGIN * width, MARGIN * height
    box = x - across, y - down, x + width + across, y + height + down
    return Image.fromarray(painted.round().astype(np.uint8)), box


def garment_mask(photo: Pixels) -> Pixels | None:
    """255 on the garment, uint8 (H, W), of a photo (H, W, 3) RGB that shows one.

    None where the outcome does not look like a garment.
    """
    mask = largest_parts(not_white(photo) if is_plain(photo) else _grab_cut(photo))
    return mask if _looks_like_a_garment(mask) else None


def edge_of(mask: Pixels, rim: int = 3) -> Pixels:
    """How much of each pixel is garment, 0 to 255: a little less, as the rim shows what is behind.

    rim: odd, pixels.
    """
    eroded = cv2.erode(mask, np.ones((rim, rim), np.uint8))
    return np.asarray(cv2.GaussianBlur(eroded, (3, 3), 0), np.uint8)


def at_most(photo: Pixels, side: int) -> Pixels:
    """A photo (H, W, 3) whose longest side is not longer."""
    scale = side / max(photo.shape[:2])
    return resized(photo, scale) if scale < 1 else photo


def resized(photo: Pixels, scale: float) -> Pixels:
    """A photo at a share of its size."""
    size = (max(8, round(photo.shape[1] * scale)), max(8, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def is_plain(photo: Pixels) -> bool:
    """Whether the background is a shop's white."""
    return bool((_border(photo).min(axis=1) >= PLAIN).mean() >= PLAIN_SHARE)


def is_studio(photo: Pixels) -> bool:
    """Whether the background is light and of one colour, as encoders see it in training."""
    border = _border(photo).astype(np.int16)
    middle = np.median(border, axis=0)
    even = (np.abs(border - middle).max(axis=1) <= EVEN).mean() >= PLAIN_SHARE
    return bool(even and middle.min() >= LIGHT)


def _border(photo: Pixels) -> Pixels:
    """Its outermost pixels, uint8 (any, 3)."""
    return np.concatenate([photo[0], photo[-1], photo[:, 0], photo[:, -1]])


def not_white(photo: Pixels) -> Pixels:
    """255 where a photo on a shop's white background shows something: uint8 (H, W)."""
    mask = (photo.min(axis=2) < PLAIN).astype(np.uint8) * 255
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


def _grab_cut(photo: Pixels) -> Pixels:
    scale = min(1.0, CUTTING_SIDE / max(photo.shape[:2]))
    small = resized(photo, scale)
    height, width = small.shape[:2]
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    y, x = np.mgrid[:height, :width]
    radius = ((x - width / 2) / (0.40 * width)) ** 2 + ((y - height / 2) / (0.42 * height)) ** 2
    mask[radius < 1] = cv2.GC_PR_FGD
    border = max(2, round(0.03 * max(height, width)))
    mask[:border] = mask[-border:] = mask[:, :border] = mask[:, -border:] = cv2.GC_BGD
    if not (mask == cv2.GC_PR_FGD).any():  # a strip that is all border
        return np.zeros(photo.shape[:2], np.uint8)
    cv2.setRNGSeed(0)  # its mixture models start from random centres
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, mask, (0, 0, 0, 0), *models, 5, cv2.GC_INIT_WITH_MASK)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    opened = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    size = (photo.shape[1], photo.shape[0])
    enlarged = cv2.resize(opened, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray((enlarged > 127).astype(np.uint8) * 255)


def largest_parts(mask: Pixels) -> Pixels:
    """The largest part, and others of a tenth of its size (a pair of shoes), without holes."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    kept = [o for o, area in zip(outlines, areas, strict=True) if area >= 0.1 * max(areas)]
    return np.asarray(cv2.drawContours(np.zeros_like(mask), kept, -1, 255, cv2.FILLED), np.uint8)


def _looks_like_a_garment(mask: Pixels) -> bool:
    area = float((mask > 0).mean())
    if not SMALLEST <= area <= LARGEST:
        return False
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.contourArea(cv2.convexHull(np.concatenate(outlines)))
    return sum(map(cv2.contourArea, outlines)) >= SOLID * hull
