"""Finds the garments in a person's photo, and cuts out the one that is meant.

Shapes: B batch, H height, W width, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image, ImageFilter
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from siamese.errors import UserError
from siamese.preprocessing import Box, Preprocessing
from siamese.segmentation import GARMENTS, GROUPS, SegmentationNetwork

LARGEST = "largest"
CHOICES = ("upper", "lower", "full", "shoes", "bag", LARGEST)
FINEST = 512  # longest side, in pixels, of the grid that labels are decided on
SMALLEST_SHARE = 0.001  # of the photo; less is no garment
SMALLEST_PIECE = 0.1  # of a group's largest piece; less is a mistake
SEEN = Preprocessing(192, 128, "stretch")  # how training views are shown
MARGIN = 0.06  # of the box's longer side


class IsolationError(UserError):
    """An isolation file that cannot be used, or a photo in which nothing was found."""


@dataclass(frozen=True)
class Garment:
    """A garment that was found in a photo; a pair of shoes is one.

    Args:
        group: One of `siamese.segmentation.GARMENTS`.
        box: x1, y1, x2, y2 around it, in the photo's own pixels.
        share: Of the photo's pixels.
        confidence: Mean probability of the group on its pixels, in (0, 1].
        mask: bool (H, W), the pixels of the photo that show it.
    """

    group: str
    box: Box
    share: float
    confidence: float
    mask: np.ndarray = field(repr=False, compare=False)


@dataclass
class Isolation:
    """A trained segmentation network with all that decides what it finds.

    Args:
        network: In evaluation mode.
        preprocessing: Its height and width are those of the training views; a photo is shrunk to
            about as many pixels in its own form.
        trained_on: Label of the data, for people.
        figures: Measured on photos that it was not trained on, by name.
        beside: Others whose answers count as much as its own; what they find by themselves and
            their scales do not matter.
        scales: The photo is shown to each network once for each, this many times as large.
    """

    network: SegmentationNetwork
    preprocessing: Preprocessing = SEEN
    trained_on: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    beside: Sequence[Isolation] = ()
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        self.network.eval().to(memory_format=torch.channels_last)

    def find(self, photo: Image.Image) -> list[Garment]:
        """The garments of an RGB photo, largest first; the same photo gives the same answer."""
        return self.survey(photo)[0]

    def survey(self, photo: Image.Image) -> tuple[list[Garment], np.ndarray]:
        """What `find` finds, and the group of each pixel as a place in `GROUPS`: uint8 (H, W)."""
        labels, confidence = self._decide(photo)
        found = []
        for group in GARMENTS:
            mask = without_specks(labels == GROUPS.index(group))
            if mask.mean() < SMALLEST_SHARE:
                continue
            sure = float(confidence[mask].mean())
            share = float(mask.mean())
            box = _scaled(box_of(mask), mask.shape, photo.size)
            found.append(Garment(group, box, share, sure, _resized(mask, photo.size)))
        found.sort(key=lambda garment: -garment.share)
        return found, _resized(labels, photo.size)

    def _decide(self, photo: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """uint8 groups and float32 probabilities on a grid of at most `FINEST`, (h, w) each.

        A first look at the whole photo finds the person, a second one at the person alone labels
        it, as large as people are in the training views.
        """
        scale = min(1.0, FINEST / max(photo.size))
        size = (max(1, round(photo.height * scale)), max(1, round(photo.width * scale)))
        groups, sure = self._look(photo, size)
        person = without_specks(groups > 0)
        if not person.any():
            return groups, sure
        around = with_margin(box_of(person), (size[1], size[0]))
        x1, y1, x2, y2 = (round(side) for side in around)
        part = photo.crop(_whole(_scaled((x1, y1, x2, y2), size, photo.size)))
        groups = np.zeros_like(groups)
        groups[y1:y2, x1:x2], sure[y1:y2, x1:x2] = self._look(part, (y2 - y1, x2 - x1))
        return groups, sure

    def _look(self, photo: Image.Image, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Each position's most probable group and that probability, on a grid of (h, w)."""
        answers = [
            functional.interpolate(
                each.probabilities(photo, scale)[None], size=size, mode="bilinear"
            )[0]
            for each in (self, *self.beside)
            for scale in self.scales
        ]
        best = torch.stack(answers).mean(dim=0).max(dim=0)
        return best.indices.to(torch.uint8).numpy(), best.values.numpy()

    @torch.inference_mode()
    def probabilities(self, photo: Image.Image, scale: float = 1.0) -> Tensor:
        """Its own network's answer: float32 (G, h, w) on a coarse grid.

        It is the mean of the photo and its mirror.

        Args:
            photo: RGB, of any size.
            scale: Of the photo's sides as the network sees them; above 0.
        """
        height, width = self._input_size(photo, scale)
        pixels = replace(self.preprocessing, height=height, width=width).shrink(photo)
        both = torch.from_numpy(np.stack([pixels, pixels[:, ::-1]]))
        output = self.network(self.preprocessing.normalise(both)).float().softmax(dim=1)
        return (output[0] + output[1].flip(-1)) / 2

    def _input_size(self, photo: Image.Image, scale: float) -> tuple[int, int]:
        """(height, width) of about the area of the training views, in whole multiples."""
        multiple = self.network.config.multiple
        area = self.preprocessing.height * self.preprocessing.width
        share = scale * math.sqrt(area / (photo.width * photo.height)) / multiple
        height, width = (max(1, round(side * share)) for side in (photo.height, photo.width))
        return height * multiple, width * multiple


def choose(garments: Sequence[Garment], choice: str) -> Garment | None:
    """The garment of that group, or the `largest` (which is never an accessory).

    Args:
        garments: Of one photo.
        choice: One of `CHOICES`.
    """
    fitting = [g for g in garments if g.group in (CHOICES if choice == LARGEST else (choice,))]
    return max(fitting, key=lambda garment: garment.share, default=None)


def with_margin(box: Box, size: tuple[int, int], margin: float = MARGIN) -> Box:
    """The box, wider by a share of its longer side all around, within the photo.

    Args:
        box: x1, y1, x2, y2.
        size: (width, height) of the photo.
        margin: At least 0.
    """
    x1, y1, x2, y2 = box
    more = margin * max(x2 - x1, y2 - y1)
    return (
        max(0.0, x1 - more),
        max(0.0, y1 - more),
        min(float(size[0]), x2 + more),
        min(float(size[1]), y2 + more),
    )


def cut_out(photo: Image.Image, garment: Garment) -> Image.Image:
    """The garment alone on white, as product photos show it, with a margin: RGB.

    Its edge is soft by about a pixel in 200, for a network's edge is never quite right.
    """
    soft = Image.fromarray(garment.mask.astype(np.uint8) * 255)
    soft = soft.filter(ImageFilter.GaussianBlur(max(photo.size) / 400))
    white = Image.new("RGB", photo.size, "white")
    alone = Image.composite(photo, white, soft)
    return alone.crop(_whole(with_margin(garment.box, photo.size)))


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box around the true pixels of bool (H, W), of which there is one at least."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def without_specks(mask: np.ndarray) -> np.ndarray:
    """bool (H, W) without pieces that are small beside the largest one."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())[1:]
    kept = np.concatenate([[False], sizes >= SMALLEST_PIECE * sizes.max()])
    return kept[pieces]


def _scaled(box: Sequence[int], grid: tuple[int, ...], size: tuple[int, int]) -> Box:
    """A box of a grid (h, w) in the pixels of a photo of (width, height)."""
    across, down = size[0] / grid[1], size[1] / grid[0]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _whole(box: Box) -> tuple[int, int, int, int]:
    """The box in whole pixels, of which it has one at least."""
    x1, y1, x2, y2 = (round(side) for side in box)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _resized(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) → (height, width) of a photo, by the nearest neighbour; the dtype is kept."""
    if grid.shape == size[::-1]:
        return grid
    resized = Image.fromarray(grid.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(resized).astype(grid.dtype)
