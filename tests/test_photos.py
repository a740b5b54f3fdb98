"""Every kind of photo that can be used comes out upright, RGB and with the right pixels."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers_photos import encoded, photo_of_four_colours, smooth_photo
from PIL import Image, ImageOps

from siamese.photos import PhotoError, open_photo, photo_size

ROOT = Path(__file__).parent.parent


def pixels_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int64)


# ---- sources


def test_a_path_its_text_its_bytes_and_an_open_file_give_the_same_pixels(tmp_path: Path) -> None:
    image = photo_of_four_colours()
    path = tmp_path / "photo.png"
    image.save(path)
    expected = pixels_of(image)
    with path.open("rb") as stream:
        opened = [open_photo(path), open_photo(str(path)), open_photo(path.read_bytes())]
        opened.append(open_photo(stream))
    for photo in opened:
        assert photo.mode == "RGB"
        assert (pixels_of(photo) == expected).all()


def test_a_stream_that_cannot_seek_is_read() -> None:
    content = encoded(photo_of_four_colours(), "PNG")
    reading_end, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb") as writer:
        writer.write(content)
    with os.fdopen(reading_end, "rb") as reader:
        assert open_photo(reader).size == (48, 32)


def test_the_photo_lives_on_after_its_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    photo_of_four_colours().save(path)
    photo = open_photo(path)
    path.unlink()
    assert photo.getpixel((0, 0)) is not None


# ---- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_upright(orientation: int, file_format: str) -> None:
    upright = photo_of_four_colours()
    # What a camera stores: the photo turned the other way, and the tag that undoes it.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if file_format in ("JPEG", "WEBP") else {}
    content = encoded(stored, file_format, exif=exif, **options)

    photo = open_photo(content)

    assert photo.size == upright.size
    assert np.abs(pixels_of(photo)[4::8, 4::8] - pixels_of(upright)[4::8, 4::8]).max() <= 8
    assert photo_size(content) == (32, 48)
    assert not ImageOps.exif_transpose(photo).getexif()  # a second turn finds nothing to do
    assert ImageOps.exif_transpose(photo).size == photo.size


def test_damaged_tags_leave_the_photo_usable() -> None:
    content = encoded(photo_of_four_colours(), "JPEG", exif=b"Exif\0\0no tags at all")
    assert open_photo(content).size == (48, 32)
    assert photo_size(content) == (32, 48)


# ---- modes


def test_a_cmyk_jpeg_has_the_colours_it_was_made_from() -> None:
    cmyk = photo_of_four_colours().convert("CMYK")
    photo = open_photo(encoded(cmyk, "JPEG", quality=95))
    expected = pixels_of(cmyk.convert("RGB"))
    assert np.abs(pixels_of(photo)[4::8, 4::8] - expected[4::8, 4::8]).max() <= 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "HSV", "LAB", "RGBX"])
def test_opaque_modes_keep_their_colours(mode: str, tmp_path: Path) -> None:
    image = photo_of_four_colours()
    image = image.convert("RGB") if mode == "LAB" else image.convert(mode)
    file_format = {"HSV": "PNG", "LAB": "PNG", "YCbCr": "TIFF", "RGBX": "TIFF"}.get(mode, "PNG")
    expected = image.convert("RGB")
    content = encoded(expected if mode in ("HSV", "LAB") else image, file_format)
    assert np.abs(pixels_of(open_photo(content)) - pixels_of(expected)).max() <= 1


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040).astype(np.uint16)
    for file_format in ("PNG", "TIFF", "PPM"):
        photo = open_photo(encoded(Image.fromarray(grey), file_format))
        assert photo.mode == "RGB"
        expected = np.floor(grey / 257 + 0.5).astype(np.int64)
        assert (pixels_of(photo) == expected[..., None]).all(), file_format


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32), np.linspace(0, 255, 64)),
        (np.linspace(0, 255, 64, dtype=np.float32), np.linspace(0, 255, 64)),
        (np.linspace(0, 65535, 64, dtype=np.float32), np.linspace(0, 255, 64)),
        (np.linspace(-1, 3, 64, dtype=np.float32), np.linspace(0, 255, 64)),
        (np.linspace(0, 65535, 64).astype(np.int32), np.linspace(0, 255, 64)),
        (np.linspace(0, 2_000_000, 64).astype(np.int32), np.linspace(0, 255, 64)),
        (np.full(64, 3e9, dtype=np.float32), np.zeros(64)),
    ],
)
def test_fractions_and_wide_integers_fill_the_range(
    values: np.ndarray, expected: np.ndarray
) -> None:
    photo = open_photo(encoded(Image.fromarray(values.reshape(8, 8)), "TIFF"))
    assert np.abs(pixels_of(photo)[..., 0].ravel() - expected).max() <= 0.51


def test_values_that_are_not_finite_are_refused() -> None:
    values = np.full((8, 8), np.nan, dtype=np.float32)
    with pytest.raises(PhotoError, match="not finite"):
        open_photo(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_transparent_parts_are_white_and_half_transparent_ones_mixed(
    mode: str, file_format: str
) -> None:
    image = Image.new(mode, (16, 16), (100, 100, 100, 255) if mode == "RGBA" else (100, 255))
    opacity = np.array([[0, 128, 255, 255]], dtype=np.uint8).repeat(16, 0).repeat(4, 1)
    image.putalpha(Image.fromarray(opacity))
    options = {"lossless": True} if file_format == "WEBP" else {}
    photo = pixels_of(open_photo(encoded(image, file_format, **options)))
    assert (photo[:, :4] == 255).all()
    assert np.abs(photo[:, 4:8] - (100 * 128 + 255 * 127) / 255).max() <= 1
    assert (photo[:, 8:] == 100).all()


def test_a_palette_with_transparency_is_laid_on_white() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (8, 0, 16, 16))
    photo = pixels_of(open_photo(encoded(image, "PNG", transparency=0)))
    assert (photo[:, :8] == 255).all()
    assert (photo[:, 8:] == (200, 100, 50)).all()


def test_an_rgb_png_with_a_transparent_colour_is_laid_on_white() -> None:
    content = encoded(photo_of_four_colours(), "PNG", transparency=(120, 120, 120))
    photo = pixels_of(open_photo(content))
    assert (photo[16:, 24:] == 255).all()
    assert (photo[:16, :24] == (200, 30, 30)).all()


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert (pixels_of(open_photo(content)) == (255, 0, 0)).all()


# ---- shrunk decoding


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [  # (height, width) throughout; a side that does not divide is rounded up
        ((800, 600), (100, 100), (134, 100)),  # 600 // 100 = 6: the largest step is 1/4
        ((800, 600), (75, 75), (100, 75)),
        ((800, 600), (400, 300), (400, 300)),
        ((800, 600), (401, 300), (800, 600)),
        ((800, 600), (2000, 2000), (800, 600)),
        ((1601, 803), (100, 100), (201, 101)),
    ],
)
def test_a_jpeg_is_decoded_shrunk_but_never_below_the_size_asked_for(
    size: tuple[int, int], at_least: tuple[int, int], expected: tuple[int, int]
) -> None:
    step = next(step for step in (8, 4, 2, 1) if step == 1 or fits(size, at_least, step))
    expected = (-(-size[0] // step), -(-size[1] // step))
    photo = open_photo(encoded(smooth_photo(*size), "JPEG"), at_least=at_least)
    assert (photo.height, photo.width) == expected


def fits(size: tuple[int, int], at_least: tuple[int, int], step: int) -> bool:
    return all(side // need >= step for side, need in zip(size, at_least, strict=True))


def test_a_photo_lying_on_its_side_is_shrunk_by_its_upright_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 400 x 1600 (height x width), upright 1600 x 400
    content = encoded(smooth_photo(400, 1600), "JPEG", exif=exif)
    photo = open_photo(content, at_least=(800, 200))
    assert (photo.height, photo.width) == (800, 200)


def test_decoding_shrunk_and_resizing_is_nearly_the_same_as_resizing_the_whole() -> None:
    content = encoded(smooth_photo(1600, 1200), "JPEG", quality=95)
    small = open_photo(content, at_least=(200, 150)).resize((150, 200), Image.Resampling.LANCZOS)
    whole = open_photo(content).resize((150, 200), Image.Resampling.LANCZOS)
    difference = np.abs(pixels_of(small) - pixels_of(whole))
    assert difference.mean() < 1
    assert difference.max() <= 6


# ---- the module


def test_many_threads_open_photos_at_once() -> None:
    contents = [encoded(Image.new("RGB", (64, 64), (shade, 0, 0)), "PNG") for shade in range(64)]
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(open_photo, contents))
    assert [photo.getpixel((0, 0)) for photo in photos] == [(shade, 0, 0) for shade in range(64)]


def test_importing_it_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, siamese.photos; print({'torch', 'numpy', 'pandas'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "set()"
