"""Where a second look at a product lies in the first."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from siamese.looks import Look, looks_at, place_in
from siamese.photos import PhotoError
from siamese.preprocessing import Box, Preprocessing
from siamese.roles import Role

SIZE = Preprocessing(height=128, width=96)


def look(width: int, height: int, box: Box | None = None) -> Look:
    pixels = np.zeros((SIZE.height, SIZE.width, 3), np.uint8)
    return Look(width, height, SIZE.placement(width, height, box), pixels)


def test_a_second_look_at_the_whole_lies_upon_the_first_at_any_size() -> None:
    assert place_in(look(400, 300), look(400, 300)) == pytest.approx((0, 0, 1, 1))
    assert place_in(look(400, 300), look(200, 150)) == pytest.approx((0, 0, 1, 1))


def test_the_place_of_a_box_by_hand() -> None:
    """A photo of 96 x 64 lies in rows 32 to 96. Its box, 48 x 64 from 24 on, fills all rows and
    all columns of the second look, of which one pixel is half a pixel of the first."""
    found = place_in(look(96, 64), look(96, 64, (24.0, 0.0, 72.0, 64.0)))
    assert found == pytest.approx((24 / 96, 32 / 128, 72 / 96, 96 / 128))
    halved = place_in(look(96, 64), look(48, 32, (12.0, 0.0, 36.0, 32.0)))
    assert halved == pytest.approx(found)


def test_what_a_second_look_pads_lies_outside() -> None:
    """A box of 96 x 32 shown in rows 48 to 80 of 128; rows 0 to 48 are above the photo."""
    found = place_in(look(96, 128), look(96, 128, (0.0, 0.0, 96.0, 32.0)))
    assert found == pytest.approx((0, -48 / 128, 1, 80 / 128))


@given(
    st.tuples(st.integers(60, 300), st.integers(60, 300)),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(1, 3),
)
def test_a_point_of_the_photo_is_found_through_either_look(
    size: tuple[int, int], left: float, top: float, shrunk: int
) -> None:
    width, height = size[0] * shrunk, size[1] * shrunk
    first = look(width, height)
    box = (left * size[0], top * size[1], size[0], size[1])
    second = look(*size, box)
    x1, y1, x2, y2 = place_in(first, second)
    x, y = (0.7 * size[0], 0.6 * size[1])  # of the smaller photo
    part, target = second.placement.part, second.placement.target
    across = target[0] + (x - part[0]) * (target[2] - target[0]) / (part[2] - part[0])
    down = target[1] + (y - part[1]) * (target[3] - target[1]) / (part[3] - part[1])
    whole = first.placement.target
    expected = (
        whole[0] + x / size[0] * (whole[2] - whole[0]),
        whole[1] + y / size[1] * (whole[3] - whole[1]),
    )
    found = (96 * x1 + across * (x2 - x1), 128 * y1 + down * (y2 - y1))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_box_outside_of_the_photo_is_told_with_its_name() -> None:
    with pytest.raises(PhotoError, match=r"photo: box .* outside"):
        looks_at(SIZE, png(40, 30), (50.0, 0.0, 60.0, 9.0), Role.PRODUCT, cut_out=False)


def png(width: int, height: int) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 200)).save(encoded, "PNG")
    return encoded.getvalue()


def test_the_first_look_is_as_sharp_with_a_second_one_as_without() -> None:
    """Of a photo that is decoded at a part of its size, no less than the encoder takes."""
    noise = np.random.default_rng(0).integers(0, 256, (1024, 768, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    large = Preprocessing(height=512, width=384)
    alone, first = (
        looks_at(large, buffer.getvalue(), None, Role.PRODUCT, cut) for cut in (False, True)
    )
    assert np.array_equal(alone[0].pixels, first[0].pixels)


@pytest.mark.parametrize("levels", [0, 7])
def test_a_persons_photo_of_one_colour_is_refused_and_no_other(levels: int) -> None:
    """A blank upload would find the blankest product, and with luck be sure of it."""

    def one_pixel_off(by: int) -> bytes:
        encoded, photo = io.BytesIO(), Image.new("RGB", (40, 30), (9, 99, 200))
        photo.putpixel((0, 0), (9, 99, 200 + by))
        photo.save(encoded, "PNG")
        return encoded.getvalue()

    blank, box = one_pixel_off(levels), (10.0, 10.0, 20.0, 20.0)
    for role, part in ((Role.PERSON, None), (Role.GARMENT, box)):
        with pytest.raises(PhotoError, match="photo: is of one colour all over"):
            looks_at(SIZE, blank, part, role, cut_out=False)
    assert looks_at(SIZE, blank, None, Role.PRODUCT, cut_out=False)
    assert looks_at(SIZE, one_pixel_off(8), None, Role.PERSON, cut_out=False)
    assert looks_at(SIZE, one_pixel_off(8), box, Role.GARMENT, cut_out=False)
