"""Training views of a photo: what may change without changing which garment it is."""

from __future__ import annotations

import os

# Importing albumentations must never ask the network for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A  # noqa: N812
import cv2
import numpy as np

# Each worker is one of several processes on the same cores.
cv2.setNumThreads(0)


def training_views(
    strength: float = 1.0,
    erase: float = 0.25,
    light: float | None = None,
    hue: float = 0.0,
    camera: float = 0.0,
) -> A.Compose:
    """Views of one photo, uint8 (H, W, 3) → uint8 (H, W, 3).

    Position, size, tilt and light vary; the hue hardly does, because colour tells garments apart:
    a slight tone curve per channel stands for the white balance of cameras. With `hue` colours
    mean nothing, so that a network learns cut and pattern.

    Args:
        strength: 0 changes nothing but the side (and what `erase` blanks); 1 is the default amount.
        light: The same for brightness, contrast and tone alone; None: as `strength`.
        erase: Probability that rectangles are blanked out (Zhong et al. 2020), so that no single
            print or edge decides.
        hue: How far each photo's colours go astray, 0 to 1.
        camera: How many photos are blurred, grainy or compressed as those of other cameras, 0 to 1.
    """
    light = strength if light is None else light
    other_colours = [
        A.ChannelShuffle(p=0.5 * hue),
        A.HueSaturationValue(90 * hue, (-80 * hue, 40 * hue), 30 * hue, p=0.7),
        A.ToGray(p=0.4 * hue),
    ]
    other_camera = [
        A.OneOf(
            [
                A.GaussianBlur(blur_limit=(3, 5)),
                A.Downscale(scale_range=(0.5, 0.9)),
                A.MotionBlur(blur_limit=(3, 5)),
            ],
            p=0.4 * camera,
        ),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.25 * camera),
        A.ImageCompression(quality_range=(50, 95), p=0.25 * camera),
    ]
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(
                scale=(1 - 0.2 * strength, 1 + 0.25 * strength),
                translate_percent=(-0.08 * strength, 0.08 * strength),
                rotate=(-8 * strength, 8 * strength),
                shear=(-4 * strength, 4 * strength),
                border_mode=cv2.BORDER_REPLICATE,
                p=1.0 if strength else 0.0,
            ),
            *(other_colours if hue else []),
            A.RandomBrightnessContrast(0.2 * light, 0.2 * light, p=0.7),
            A.RandomToneCurve(scale=0.1 * light, per_channel=True, p=0.3 if light else 0.0),
            *(other_camera if camera else []),
            A.CoarseDropout(
                num_holes_range=(1, 3),
                hole_height_range=(0.1, 0.3),
                hole_width_range=(0.1, 0.3),
                fill="random_uniform",
                p=erase,
            ),
        ]
    )


def reseed(views: A.Compose, seed: int) -> None:
    """Make the next views depend on the seed alone, and each step on numbers of its own.

    `Compose.set_random_seed` gives all steps the same numbers: a photo would be flipped, darkened
    and erased together or not at all.
    """
    own = np.random.SeedSequence(seed).generate_state(1 + len(views.transforms))
    views.set_random_seed(int(own[0]))
    for step, number in zip(views.transforms, own[1:], strict=True):
        step.set_random_seed(int(number))
