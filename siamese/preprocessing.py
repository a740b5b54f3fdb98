"""Photo → pixels → tensor: a part of the model's contract, saved in its checkpoint.

Shapes: B batch, H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from siamese.errors import UserError
from siamese.photos import SMALLEST_SIDE, PhotoError, PhotoSource, named, open_photo

if TYPE_CHECKING:
    import torch

Box = tuple[float, float, float, float]
Sides = tuple[int, int, int, int]  # x1, y1, x2, y2 in whole pixels


@dataclass(frozen=True)
class Placement:
    """Which part of a photo the encoder sees, and where in its input.

    Args:
        part: In pixels of the photo.
        target: In pixels of the input; what lies around it is padding.
    """

    part: Sides
    target: Sides


@dataclass(frozen=True)
class Preprocessing:
    """How a photo of any size becomes the encoder's input.

    Args:
        height: Input height in pixels.
        width: Input width in pixels.
        fit: `pad` keeps the aspect ratio and centres the photo on white; `stretch` ignores it
            (the LookBook report's way).
        mean: Per-channel mean that is subtracted from pixels scaled to [0, 1]. Left at these
            defaults, mean and std become those of the published backbone, where there is one.
        std: Per-channel deviation that the result is divided by.
    """

    height: int = 128
    width: int = 96
    fit: Literal["pad", "stretch"] = "pad"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 8:
            raise UserError(f"input of {self.height}x{self.width} pixels is under 8 on a side")
        if self.fit not in ("pad", "stretch"):
            raise UserError(f"fit must be 'pad' or 'stretch', not {self.fit!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UserError(
                f"mean {self.mean} and std {self.std} need three numbers each, std above 0"
            )

    def shrink(self, photo: Image.Image, box: Box | None = None) -> np.ndarray:
        """Crop to `box` if there is one, and resize with antialiasing.

        Args:
            photo: RGB photo of any size.
            box: Optional `x1, y1, x2, y2` in pixels of `photo`; what lies outside is ignored.

        Returns:
            uint8 (H, W, 3), RGB in 0…255.

        Raises:
            PhotoError: The box has no pixel of the photo.
        """
        placement = self.placement(photo.width, photo.height, box)
        if box is not None:
            photo = photo.crop(placement.part)
        x1, y1, x2, y2 = placement.target
        resized = photo.resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC)
        canvas = Image.new("RGB", (self.width, self.height), "white")
        canvas.paste(resized, (x1, y1))
        return np.asarray(canvas)

    def placement(self, width: int, height: int, box: Box | None = None) -> Placement:
        """Where the input shows which part of a photo of width x height pixels.

        Raises:
            PhotoError: The box has no pixel of the photo.
        """
        part = (0, 0, width, height) if box is None else _inside(box, width, height)
        if self.fit == "stretch":
            return Placement(part, (0, 0, self.width, self.height))
        across, down = part[2] - part[0], part[3] - part[1]
        scale = min(self.height / down, self.width / across)
        shown = max(1, round(across * scale)), max(1, round(down * scale))
        left, top = (self.width - shown[0]) // 2, (self.height - shown[1]) // 2
        return Placement(part, (left, top, left + shown[0], top + shown[1]))

    def read(self, source: PhotoSource, box: Box | None = None) -> np.ndarray:
        """Open a photo and shrink it: uint8 (H, W, 3).

        Args:
            source: A path, encoded bytes or an open binary file.
            box: The part to look at, if not all: `x1, y1, x2, y2` in pixels of the photo.

        Raises:
            PhotoError: The photo cannot be used, or the box has no pixel of it.
        """
        photo = self.open(source, box)
        with named(source):
            return self.shrink(photo, box)

    def open(self, source: PhotoSource, box: Box | None = None) -> Image.Image:
        """A photo as `shrink` takes it, with the same box.

        Raises:
            PhotoError: The photo cannot be used; the message says why.
        """
        if box is not None:  # in pixels of the whole photo, so the decoder may not shrink it
            return open_photo(source)
        return open_photo(source, at_least=(self.height, self.width))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels of 0 to 255, uint8 or float32 (B, H, W, 3), → float32 (B, 3, H, W).

        In channels-last memory, no copy of layout.
        """
        import torch

        scale = torch.tensor([255.0 * s for s in self.std], device=pixels.device)
        shift = torch.tensor([m / s for m, s in zip(self.mean, self.std, strict=True)])
        return (pixels / scale - shift.to(pixels.device)).permute(0, 3, 1, 2)


def preprocessing_from(arguments: dict[str, Any]) -> Preprocessing:
    """A `Preprocessing` from plain JSON values, as a checkpoint keeps them."""
    return Preprocessing(**arguments | {name: tuple(arguments[name]) for name in ("mean", "std")})


def _inside(box: Box, width: int, height: int) -> Sides:
    """Whole pixels of the box that the photo has."""
    if not all(math.isfinite(side) for side in box):
        raise PhotoError(f"box {box} is not four numbers; give x1, y1, x2, y2 in pixels")
    x1, y1, x2, y2 = (round(side) for side in box)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if x1 >= x2 or y1 >= y2:
        raise PhotoError(f"box {box} lies outside of the photo, which is {width} x {height}")
    if min(x2 - x1, y2 - y1) < SMALLEST_SIDE:
        raise PhotoError(
            f"box {box} shows {x2 - x1} x {y2 - y1} pixels of the photo; draw it around the "
            f"garment, {SMALLEST_SIDE} or more each way"
        )
    return x1, y1, x2, y2
