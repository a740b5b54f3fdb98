"""The camera of composed photos: what it frames, its lens, and where it shows the garment.

A matrix says where a point (x, y, 1) of the picture before is in the one after it: float64 (3, 3).
"""

from __future__ import annotations

import cv2
import numpy as np

from datasets.composed_wear import Box
from datasets.rendered_brushes import Image
from siamese.preprocessing import Box as BoxOfPhoto


def close_up(canvas: Image, box: Box, random: np.random.Generator) -> tuple[Image, np.ndarray]:
    """The part around a box, as if it had been cropped or isolated: canvas size; its matrix."""
    left, top, right, bottom = box
    height, width = canvas.shape[:2]
    rows = max(bottom - top, (right - left) * height / width) * random.uniform(0.95, 1.5)
    rows = min(rows, height)
    columns = rows * width / height
    room = np.array((width - columns, height - rows))
    middle = np.array(((left + right) / 2, (top + bottom) / 2))
    corner = middle + random.normal(0, 0.05, 2) * rows - (columns / 2, rows / 2)
    x, y = np.clip(corner, 0, room).astype(int).tolist()
    part = canvas[y : y + int(rows), x : x + int(columns)]
    enlarged = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    across, down = width / part.shape[1], height / part.shape[0]
    matrix = np.array(((across, 0, -x * across), (0, down, -y * down), (0, 0, 1)))
    return np.asarray(enlarged, np.uint8), matrix


def other_camera(photo: Image, random: np.random.Generator) -> tuple[Image, np.ndarray]:
    """A tilted, blurred, coarser and differently lit photo than training shows; its matrix."""
    height, width = photo.shape[:2]
    corners = np.array(((0, 0), (width, 0), (0, height), (width, height)), np.float32)
    moved = corners + random.uniform(-0.07, 0.07, (4, 2)).astype(np.float32) * (width, height)
    tilt = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    photo = np.asarray(
        cv2.warpPerspective(photo, tilt, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    share = random.uniform(0.45, 0.8)
    small = cv2.resize(photo, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    length = int(random.integers(1, 4))
    small = cv2.blur(small, (length, 1) if random.random() < 0.5 else (1, length))
    gamma = random.uniform(0.8, 1.25) * (1 + random.normal(0, 0.04, 3))
    levels = np.arange(256)[:, None] / 255.0
    curve = (255 * levels**gamma).clip(0, 255).astype(np.uint8)[None]
    coarse = cv2.LUT(small, curve)
    shown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(shown, np.uint8), np.asarray(tilt, np.float64)


def seen(box: Box, matrix: np.ndarray, size: tuple[int, int]) -> BoxOfPhoto:
    """The box around where a box of the canvas went, within a photo of (height, width)."""
    left, top, right, bottom = box
    corners = np.array(((left, top), (right, top), (left, bottom), (right, bottom)), np.float64)
    moved = cv2.perspectiveTransform(corners[None], matrix)[0]
    limits = (size[1], size[0])
    x1, y1 = np.clip(moved.min(axis=0), 0, limits).tolist()
    x2, y2 = np.clip(moved.max(axis=0), 0, limits).tolist()
    return x1, y1, x2, y2
