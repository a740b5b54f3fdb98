"""Photos made for tests, and their bytes."""

import io

import numpy as np
from PIL import Image


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The image as the bytes of a file of that format."""
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def photo_of_four_colours(height: int = 32, width: int = 48) -> Image.Image:
    """Quarters: red, green / blue, grey; not square, so that every wrong turn is visible."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = (200, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 180, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 190)
    pixels[height // 2 :, width // 2 :] = (120, 120, 120)
    return Image.fromarray(pixels)


def smooth_photo(height: int, width: int) -> Image.Image:
    """A photo-like gradient with waves, without noise that a smaller size could not hold."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [
        128 + 90 * np.sin(rows / 70 + phase) * np.cos(columns / 50 + phase) for phase in (0, 1, 2)
    ]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))
