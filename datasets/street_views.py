"""Training views of labelled people: cut as photos of people are cut, in the street or a studio.

Shapes: H height, W width.
"""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import cv2
import numpy as np

cv2.setNumThreads(0)


class StreetViews:
    """A photo and the groups of its pixels → a view of fixed size.

    Street photos show whole people before streets; those of shops are cut at the thighs, in a
    bright studio. So part of the views are cut like that, and part get a plain background.

    Args:
        height: Of the views.
        width: Of the views.
        studio: Share of views whose background is replaced.
        part: Share of views that show a part of the person.
    """

    def __init__(
        self, height: int = 192, width: int = 128, studio: float = 0.35, part: float = 0.5
    ) -> None:
        self.height, self.width, self.studio, self.part = height, width, studio, part
        self._changes = A.Compose(
            [
                A.Resize(height, width, interpolation=cv2.INTER_AREA),
                A.HorizontalFlip(p=0.5),
                A.Affine(
                    scale=(0.8, 1.1),
                    rotate=(-10, 10),
                    shear=(-5, 5),
                    border_mode=cv2.BORDER_REFLECT_101,
                    p=0.6,
                ),
                # What is worn is told by its form: colours may change freely.
                A.HueSaturationValue(12, 40, 15, p=0.5),
                A.RandomBrightnessContrast(0.3, 0.3, p=0.7),
                A.RandomToneCurve(scale=0.15, per_channel=True, p=0.3),
                A.ToGray(p=0.05),
                A.OneOf(
                    [
                        A.GaussianBlur(sigma_limit=(0.3, 1.0), blur_limit=0),
                        A.ImageCompression(quality_range=(30, 80)),
                        A.GaussNoise(std_range=(0.01, 0.05)),
                    ],
                    p=0.35,
                ),
            ]
        )

    def __call__(
        self, pixels: np.ndarray, groups: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """One view; the seed alone decides which.

        Args:
            pixels: uint8 (H, W, 3).
            groups: uint8 (H, W); 0 is the background.
            seed: From 0.

        Returns:
            uint8 (height, width, 3) and uint8 (height, width).
        """
        random = np.random.default_rng(seed)
        if random.random() < self.studio:
            pixels = before_studio(pixels, groups, random)
        x1, y1, x2, y2 = self._window(groups, random)
        self._changes.set_random_seed(int(random.integers(2**31)))
        view = self._changes(image=pixels[y1:y2, x1:x2], mask=groups[y1:y2, x1:x2])
        return view["image"], view["mask"]

    def _window(self, groups: np.ndarray, random: np.random.Generator) -> tuple[int, int, int, int]:
        """Whole pixels around the person or a part of it: x1, y1, x2, y2."""
        height, width = groups.shape
        rows, columns = np.flatnonzero(groups.any(axis=1)), np.flatnonzero(groups.any(axis=0))
        if not len(rows):
            return 0, 0, width, height
        top, bottom = float(rows[0]), float(rows[-1] + 1)
        tall = bottom - top
        above, below = random.uniform(-0.02, 0.2) * tall, random.uniform(0, 0.15) * tall
        y1, y2 = top - above, bottom + below
        if random.random() < self.part:
            if random.random() < 0.75:  # head to waist, thighs or knees; sometimes no head
                y1 += random.uniform(0, 0.2) * tall * (random.random() < 0.3)
                y2 = top + random.uniform(0.35, 0.85) * tall
            else:
                y1 = top + random.uniform(0.2, 0.6) * tall
        y1, y2 = max(0.0, y1), min(float(height), y2)
        wide = (y2 - y1) * self.width / self.height * np.exp(random.uniform(-0.25, 0.25))
        wide = min(wide, width)
        centre = (columns[0] + columns[-1] + 1) / 2 + random.uniform(-0.15, 0.15) * wide
        x1 = min(max(0.0, centre - wide / 2), width - wide)
        return int(x1), int(y1), max(int(x1 + wide), int(x1) + 8), max(int(y2), int(y1) + 8)


def before_studio(
    pixels: np.ndarray, groups: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """The person before a plain wall, mostly a bright one: uint8 (H, W, 3)."""
    height, width = groups.shape
    if random.random() < 0.75:
        wall = np.full(3, random.uniform(190, 255)) + random.normal(0, 4, 3)
    else:
        wall = random.uniform(0, 255, 3)
    slope = random.normal(0, 12, 2)
    light = (
        slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)[None]
    )
    plain = wall + light[:, :, None] + random.normal(0, 2, (height, width, 1))
    # Labels are rough at their edges: a little erosion keeps the street out.
    person = cv2.erode((groups > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    soft = cv2.GaussianBlur(person.astype(np.float32), (0, 0), random.uniform(0.5, 1.2))[..., None]
    return np.clip(soft * pixels + (1 - soft) * plain, 0, 255).astype(np.uint8)
