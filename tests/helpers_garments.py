"""A garment and a floor to photograph it on."""

from __future__ import annotations

import cv2
import numpy as np

from datasets.rendered_brushes import Image

RED = (200, 30, 40)


def flat_shirt(background: int | Image = 255, size: tuple[int, int] = (240, 200)) -> Image:
    """A red shirt with short sleeves on a background; its torso spans x 60..139, y 40..219."""
    photo = np.empty((*size, 3), np.uint8)
    photo[:] = background
    photo[40:220, 60:140] = RED
    for outline in (
        ((60, 45), (20, 85), (35, 105), (60, 85)),
        ((139, 45), (179, 85), (164, 105), (139, 85)),
    ):
        cv2.fillPoly(photo, [np.array(outline, np.int32)], RED)
    return photo


def wooden_floor() -> Image:
    random = np.random.default_rng(0)
    planks = random.integers(110, 170, (240, 10, 1)).repeat(20, axis=1)
    return (planks * np.array((1.0, 0.8, 0.6)) + random.normal(0, 4, (240, 200, 3))).astype(
        np.uint8
    )
