"""A photo of any size becomes the encoder's input in one way, whoever asks."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from siamese.errors import UserError
from siamese.photos import PhotoError
from siamese.preprocessing import Preprocessing

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_halves(width: int, height: int) -> Image.Image:
    """Red at the left, blue at the right."""
    photo = Image.new("RGB", (width, height), RED)
    photo.paste(BLUE, (width // 2, 0, width, height))
    return photo


def test_padding_keeps_the_aspect_ratio_and_centres_on_white() -> None:
    """A square photo in a 40 x 20 frame: 20 x 20 of photo between two white strips of 10 rows."""
    pixels = Preprocessing(height=40, width=20).shrink(Image.new("RGB", (100, 100), RED))
    assert pixels.shape == (40, 20, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[:10] == 255).all()
    assert (pixels[30:] == 255).all()
    assert (pixels[10:30] == RED).all()


def test_stretching_fills_the_frame() -> None:
    pixels = Preprocessing(height=40, width=20, fit="stretch").shrink(two_halves(100, 100))
    assert pixels.shape == (40, 20, 3)
    assert (pixels[:, :8] == RED).all()
    assert (pixels[:, 12:] == BLUE).all()


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    """Columns of black and white, one pixel wide, become grey; picked pixels would stay black."""
    stripes = np.zeros((160, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = Preprocessing(height=16, width=16).shrink(Image.fromarray(stripes))
    assert np.abs(pixels.astype(int) - 127).max() <= 10


def test_a_box_cuts_out_its_part() -> None:
    preprocessing = Preprocessing(height=16, width=16)
    assert (preprocessing.shrink(two_halves(80, 40), (40, 0, 80, 40)) == BLUE).all()


def test_a_box_over_the_edge_is_cut_there() -> None:
    """Pillow itself would fill the outside with black."""
    pixels = Preprocessing(height=16, width=16, fit="stretch").shrink(
        Image.new("RGB", (40, 40), RED), (-20, -20, 60, 60)
    )
    assert (pixels == RED).all()


@pytest.mark.parametrize("box", [(50, 0, 60, 10), (0, -9, 9, -1), (0, 0, float("nan"), 5)])
def test_a_box_without_a_pixel_is_an_error_that_names_the_photo(
    box: tuple[float, float, float, float], tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (40, 40), RED).save(path)
    with pytest.raises(PhotoError, match=r"photo\.png: box .*") as caught:
        Preprocessing().read(path, box)
    assert "\n" not in str(caught.value)


def test_a_box_is_in_pixels_of_the_whole_photo_although_jpegs_are_decoded_smaller() -> None:
    encoded = BytesIO()
    two_halves(1600, 800).save(encoded, "JPEG", quality=95)
    pixels = Preprocessing(height=16, width=16).read(encoded.getvalue(), (800, 0, 1600, 800))
    assert np.abs(pixels.astype(int) - BLUE).max() < 12


def test_reading_equals_shrinking_the_decoded_photo() -> None:
    """PNG: nothing but the resize may differ, and it is the same."""
    generator = np.random.default_rng(0)
    photo = Image.fromarray(generator.integers(0, 256, (90, 50, 3), dtype=np.uint8))
    encoded = BytesIO()
    photo.save(encoded, "PNG")
    preprocessing = Preprocessing()
    assert (preprocessing.read(encoded.getvalue()) == preprocessing.shrink(photo)).all()


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(8, 900), st.integers(8, 900)),
    height=st.integers(8, 60),
    width=st.integers(8, 60),
    fit=st.sampled_from(["pad", "stretch"]),
)
def test_every_photo_comes_out_in_the_same_shape(
    size: tuple[int, int], height: int, width: int, fit: str
) -> None:
    preprocessing = Preprocessing(height, width, "pad" if fit == "pad" else "stretch")
    pixels = preprocessing.shrink(Image.new("RGB", size, RED))
    assert pixels.shape == (height, width, 3)
    assert (pixels == RED).all(axis=2).any()


def test_normalising_is_subtraction_of_the_mean_and_division_by_the_deviation() -> None:
    preprocessing = Preprocessing(8, 9, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    pixels = torch.randint(0, 256, (2, 8, 9, 3), dtype=torch.uint8)
    result = preprocessing.normalise(pixels)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    for channel, (mean, std) in enumerate(zip(preprocessing.mean, preprocessing.std, strict=True)):
        expected = (pixels[..., channel].double() / 255 - mean) / std
        assert torch.allclose(result[:, channel].double(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"height": 7},
        {"width": 0},
        {"fit": "crop"},
        {"std": (0.25, 0.0, 0.25)},
        {"mean": (0.5,)},
    ],
)
def test_impossible_settings_are_refused_in_one_line(arguments: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        Preprocessing(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_placement_says_where_the_input_shows_the_photo() -> None:
    """A red photo on white padding: the placed pixels are red, all others white."""
    random = np.random.default_rng(0)
    for _ in range(20):
        width, height, rows, columns = (int(side) for side in random.integers(8, 400, 4))
        preprocessing = Preprocessing(rows, columns)
        pixels = preprocessing.shrink(Image.new("RGB", (width, height), "red"))
        x1, y1, x2, y2 = preprocessing.placement(width, height).target
        red = (pixels == (255, 0, 0)).all(axis=2)
        assert red[y1:y2, x1:x2].all()
        assert red.sum() == (x2 - x1) * (y2 - y1)


def test_the_placement_of_a_box_is_the_part_of_it_that_the_photo_has() -> None:
    preprocessing = Preprocessing(64, 64)
    placement = preprocessing.placement(100, 80, (60.4, -5, 999, 40))
    assert placement.part == (60, 0, 100, 40)
    assert placement.target == (0, 0, 64, 64)
    stretched = Preprocessing(64, 64, fit="stretch").placement(100, 80)
    assert (stretched.part, stretched.target) == ((0, 0, 100, 80), (0, 0, 64, 64))
