"""How an encoder looks at a photo: once, or at a product twice, as it is and without background.

Shapes: H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from siamese.photos import PhotoSource, check_not_blank, named, open_photo
from siamese.preprocessing import Box, Placement, Preprocessing
from siamese.roles import Role


@dataclass(frozen=True)
class Look:
    """A photo as the encoder sees it.

    Args:
        width, height: Of the photo, in pixels.
        placement: Which part of it, and where in the encoder's input.
        pixels: The input, uint8 (H, W, 3).
    """

    width: int
    height: int
    placement: Placement
    pixels: np.ndarray


def looks_at(
    preprocessing: Preprocessing, source: PhotoSource, box: Box | None, role: Role, cut_out: bool
) -> list[Look]:
    """The looks whose mean is the photo's embedding: one, or two.

    Args:
        preprocessing: Of the encoder.
        source: A path, encoded bytes or an open binary file.
        box: The part to look at, if somebody said so: `x1, y1, x2, y2` in pixels of the photo.
        role: What the photo shows; a person's shows more than one colour.
        cut_out: At a product without a box, look a second time at the garment on white, see
            `siamese.cut_out`, where it can be cut out.

    Raises:
        PhotoError: The photo cannot be used; the message says why.
    """
    if box is not None or not cut_out or role is not Role.PRODUCT:
        photo = preprocessing.open(source, box)
        with named(source):
            if role is not Role.PRODUCT:
                check_not_blank(photo)
            return [_look(preprocessing, photo, box)]
    from siamese.cut_out import SIDE, without_background  # OpenCV takes a while

    sides = max(SIDE, preprocessing.height), max(SIDE, preprocessing.width)
    photo = open_photo(source, at_least=sides)
    looks = [_look(preprocessing, photo, None)]
    found = without_background(photo)
    return looks if found is None else [*looks, _look(preprocessing, *found)]


def _look(preprocessing: Preprocessing, photo: Image.Image, box: Box | None) -> Look:
    placement = preprocessing.placement(*photo.size, box)
    return Look(*photo.size, placement, preprocessing.shrink(photo, box))


def place_in(first: Look, later: Look) -> Box:
    """Where the input of a later look at the same photo lies in that of the first.

    Returns:
        `x1, y1, x2, y2` as shares of the first input's width and height; what the later look pads
        may lie outside.
    """
    height, width = first.pixels.shape[:2]
    left, right = _edges(first, later, 0, width)
    top, bottom = _edges(first, later, 1, height)
    return left, top, right, bottom


def _edges(first: Look, later: Look, axis: int, length: int) -> tuple[float, float]:
    """Both ends of the later input, `length` long, as shares of the first; axis 0 is across."""
    size = first.width if axis == 0 else first.height
    shrunk = (later.width if axis == 0 else later.height) / size
    (start, end), (low, high) = _along(later.placement, axis)
    (whole_start, whole_end), (whole_low, whole_high) = _along(first.placement, axis)
    scale = (whole_high - whole_low) / (whole_end - whole_start)
    shares = []
    for edge in (0, length):
        on_photo = (start + (edge - low) * (end - start) / (high - low)) / shrunk
        shares.append((whole_low + (on_photo - whole_start) * scale) / length)
    return shares[0], shares[1]


def _along(placement: Placement, axis: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The part and the target along one axis."""
    part, target = placement.part, placement.target
    return (part[axis], part[axis + 2]), (target[axis], target[axis + 2])
