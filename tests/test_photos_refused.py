"""Photos that cannot be used: each is one clear line, whatever is wrong with it."""

import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers_photos import encoded, photo_of_four_colours, smooth_photo
from PIL import Image

from siamese.photos import PhotoError, open_photo, photo_size

ROOT = Path(__file__).parent.parent


def big_png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises width x height pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + content + chunk(b"IEND", b"")


def message_of(source: object, **options: object) -> str:
    """The one line of the error that both opening and checking the header give."""
    with pytest.raises(PhotoError) as caught:
        open_photo(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.jpg"
    assert message_of(path) == f"{path}: no such file; check the path"


def test_a_folder_is_named(tmp_path: Path) -> None:
    assert message_of(tmp_path) == f"{tmp_path}: is a folder; give one photo"


def test_a_name_with_a_zero_byte_is_refused() -> None:
    assert "cannot be read" in message_of("a\0b.jpg")


def test_an_empty_file_and_empty_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert message_of(path).startswith(f"{path}: is empty (0 bytes)")
    assert message_of(b"") == "photo: is empty (0 bytes); copy or download it again"


def test_text_named_as_a_photo_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    path.write_text("<html>404</html>")
    assert message_of(path).startswith(f"{path}: not a photo")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_cut_off_is_refused(file_format: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    path = tmp_path / "cut.jpg"
    for part in (0.5, 0.9):
        path.write_bytes(content[: int(len(content) * part)])
        message = message_of(path)
        assert message.startswith(f"{path}: ")
        assert "damaged" in message


def test_damage_at_every_place_never_escapes_as_another_error() -> None:
    content = bytearray(encoded(photo_of_four_colours(), "PNG"))
    for place in range(len(content)):
        damaged = bytes(content[:place]) + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        with suppress(PhotoError):
            open_photo(bytes(damaged))


def test_a_file_that_promises_too_many_pixels_is_refused_before_decoding() -> None:
    for sides in ((12_000, 12_000), (60_000, 60_000)):  # below and above Pillow's own limit
        message = message_of(big_png_header(*sides), name="bomb.png")
        assert message.startswith("bomb.png: its header promises ")
        assert "over the limit of 100,000,000" in message


def test_the_refusal_of_too_many_pixels_depends_on_no_warning_filter() -> None:
    bomb = big_png_header(12_000, 12_000)
    for action in ("error", "ignore", "always"):
        code = (
            f"import sys, warnings; warnings.simplefilter({action!r})\n"
            "from siamese.photos import open_photo, PhotoError\n"
            "try: open_photo(sys.stdin.buffer.read())\n"
            "except PhotoError: print('refused')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], input=bomb, capture_output=True, cwd=ROOT, check=True
        )
        assert done.stdout.strip() == b"refused"


def test_of_large_photos_that_are_allowed_nobody_is_warned() -> None:
    code = "import sys; from siamese.photos import photo_size; photo_size(sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=big_png_header(9_900, 9_900),
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stderr == b""


def test_the_limit_of_pixels_can_be_lowered() -> None:
    assert "over the limit of 1,000" in message_of(
        encoded(photo_of_four_colours(), "PNG"), pixel_limit=1000
    )


def test_a_photo_of_under_eight_pixels_is_refused() -> None:
    message = message_of(encoded(Image.new("RGB", (100, 7)), "PNG"), name="sliver.png")
    assert message == "sliver.png: only 100 x 7 pixels; use a photo with sides of at least 8"
    assert open_photo(encoded(Image.new("RGB", (8, 8)), "PNG")).size == (8, 8)


def test_an_iphone_photo_gets_its_own_remedy() -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100
    assert "HEIC" in message_of(heic)
    assert "save it as JPEG" in message_of(heic)


def test_formats_that_are_no_photos_are_not_opened() -> None:
    postscript = encoded(Image.new("RGB", (16, 16)), "EPS")
    assert "is a file of type EPS" in message_of(postscript)


def test_the_header_check_finds_the_same_faults_but_for_damage_behind_it(tmp_path: Path) -> None:
    for bad in (b"", b"no photo", big_png_header(12_000, 12_000)):
        with pytest.raises(PhotoError):
            photo_size(bad)
    content = encoded(smooth_photo(64, 64), "JPEG")
    assert photo_size(content[: len(content) - 20]) == (64, 64)
