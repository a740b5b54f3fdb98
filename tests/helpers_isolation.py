"""Isolations whose answers are known, and a small folder of labelled people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from siamese.isolation import Isolation
from siamese.preprocessing import Preprocessing
from siamese.segmentation import GROUPS, SegmentationConfig, SegmentationNetwork

SMALL = SegmentationConfig((8, 8), (1, 1))


def isolation_of(group: str = "upper") -> Isolation:
    """Takes every pixel for this group, with a probability of e^5 / (e^5 + 8) = .9488."""
    torch.manual_seed(0)
    network = SegmentationNetwork(SMALL)
    last = network.classify[0]
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.zeros_(last.weight)
    bias = torch.zeros(len(GROUPS), 4)  # PixelShuffle: four labels of a group lie side by side
    bias[GROUPS.index(group)] = 5
    last.bias = torch.nn.Parameter(bias.flatten())
    return Isolation(network, Preprocessing(32, 24, "stretch"), "nothing", {"iou/mean": 0.5})


class KnownIsolation(Isolation):
    """Sees what it is given, uint8 (H, W) of groups, in every photo, and is sure of it."""

    def __init__(self, groups: np.ndarray) -> None:
        super().__init__(SegmentationNetwork(SMALL))
        self.groups = groups

    def _decide(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        return self.groups, np.ones(self.groups.shape, np.float32)


def groups_with(size: tuple[int, int], **boxes: tuple[int, int, int, int]) -> np.ndarray:
    """uint8 (H, W) of background with a filled box x1, y1, x2, y2 for each group."""
    groups = np.zeros(size, np.uint8)
    for group, (x1, y1, x2, y2) in boxes.items():
        groups[y1:y2, x1:x2] = GROUPS.index(group)
    return groups


def write_street(folder: Path, count: int = 6) -> Path:
    """People of boxes: a red top over blue trousers, with skin above and shoes below."""
    (folder / "photos").mkdir(parents=True)
    (folder / "masks").mkdir()
    (folder / "labels.csv").write_text(
        "value,label\n0,null\n5,shoes\n7,skin\n9,t-shirt\n11,jeans\n"
    )
    colours = {7: (220, 180, 150), 9: (200, 30, 30), 11: (30, 30, 160), 5: (20, 20, 20)}
    for number in range(count):
        mask = np.zeros((96, 64), np.uint8)
        left = 16 + 2 * number
        for value, top, bottom in ((7, 8, 20), (9, 20, 48), (11, 48, 80), (5, 80, 88)):
            mask[top:bottom, left : left + 20] = value
        pixels = np.full((96, 64, 3), 120 + 10 * number, np.uint8)
        for value, colour in colours.items():
            pixels[mask == value] = colour
        Image.fromarray(mask).save(folder / "masks" / f"{number:04d}.png")
        Image.fromarray(pixels).save(folder / "photos" / f"{number:04d}.jpg", quality=95)
    return folder
