"""Opens any photo as an upright 8-bit RGB image, or says in one line why it cannot be used.

Every photo of the project comes in here: training, catalogs and queries see the same pixels.
Only Pillow and the standard library are imported, so that a search starts quickly.
"""

import math
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageStat

from siamese.errors import UserError

# A header may promise more pixels than the memory can hold. Pillow itself warns above 89 million,
# which is left out here; where warnings are turned into errors, that is the limit.
PIXEL_LIMIT = 100_000_000
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)
SMALLEST_SIDE = 8  # pixels; nothing can be recognised below this
FAINTEST = 8  # levels of 255 between the darkest and the lightest of a photo of something
# Formats of photos. Pillow reads many more, some through other programs (EPS runs Ghostscript):
# a service must not open those for strangers.
PHOTO_FORMATS = frozenset(
    {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"}
)
HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"})

EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = frozenset({5, 6, 7, 8})  # orientations that exchange height and width


PhotoSource = str | Path | bytes | BinaryIO  # a path, the encoded bytes, or an open binary file


class PhotoError(UserError):
    """A photo that cannot be used; the message names the file, the fault and the remedy."""


def open_photo(
    source: PhotoSource,
    *,
    at_least: tuple[int, int] | None = None,
    name: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
) -> Image.Image:
    """Read one photo as it should be seen: upright, 8 bits, RGB, transparent parts white.

    Args:
        source: path, the encoded bytes, or a binary file that is read from where it stands.
        at_least: (height, width) of the upright photo that the caller needs. A JPEG may then be
            decoded at 1/2, 1/4 or 1/8 of its size, which is several times faster; neither side
            comes out below `at_least` unless the photo itself is smaller, and the aspect ratio
            is kept. Other formats are decoded in full.
        name: what error messages call the photo; by default its path.
        pixel_limit: photos with more pixels are refused before they are decoded.

    Returns:
        A loaded RGB image without a tie to its file. Of an animation it is the first frame.

    Raises:
        PhotoError: missing, a folder, empty, no photo, truncated, too large or too small.
    """
    with _opened(source, name, pixel_limit) as (image, called):
        try:
            if at_least is not None and image.format in ("JPEG", "MPO"):
                height, width = at_least
                lying = _orientation(image) in LYING
                image.draft(None, (height, width) if lying else (width, height))
            image.load()
            image = _to_rgb(image)
            method = UPRIGHT.get(_orientation(image))
            image = image.transpose(method) if method is not None else image
            image.info = {}  # no later step shall turn an upright photo by its old tags
            return image
        except PhotoError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly every built-in error
            raise PhotoError(
                f"{called}: damaged or cut off ({_brief(error)}); copy or download it again"
            ) from error


def photo_size(
    source: PhotoSource,
    *,
    name: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
) -> tuple[int, int]:
    """Check a photo's header without decoding it; (height, width) of the upright photo.

    Args and errors as in `open_photo`, but damage behind the header stays unseen.
    """
    with _opened(source, name, pixel_limit) as (image, _):
        width, height = image.size
        # Pillow turns TIFFs itself; a PNG's late EXIF block would need a full decode to reach.
        known = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        lying = known and _orientation(image) in LYING
        return (width, height) if lying else (height, width)


def check_not_blank(photo: Image.Image) -> None:
    """Refuse an RGB photo with nothing in it: a search could be sure of what it finds for it.

    Raises:
        PhotoError: It is of one colour all over, or nearly.
    """
    if all(high - low < FAINTEST for low, high in ImageStat.Stat(photo).extrema):
        raise PhotoError("is of one colour all over; there is nothing in it to find")


@contextmanager
def named(source: PhotoSource) -> Iterator[None]:
    """Faults found later in a photo that could be opened say which one it is."""
    try:
        yield
    except PhotoError as error:
        raise PhotoError(f"{_name_of(source)}: {error}") from error


@contextmanager
def _opened(
    source: PhotoSource, name: str | None, pixel_limit: int
) -> Iterator[tuple[Image.Image, str]]:
    """The photo with its header read and checked, and what to call it in errors."""
    called = name or _name_of(source)
    stream = _readable(source, called)
    try:
        image: Image.Image = Image.open(stream)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(_too_large(called, pixel_limit)) from error
    except Exception as error:  # see open_photo
        raise PhotoError(_not_a_photo(called, stream, error)) from error
    with image:
        if image.format not in PHOTO_FORMATS:
            raise PhotoError(
                f"{called}: is a file of type {image.format}, not a photo; save it as JPEG or PNG"
            )
        width, height = image.size
        if width * height > pixel_limit:
            raise PhotoError(_too_large(called, pixel_limit, f"{width} x {height} "))
        if min(width, height) < SMALLEST_SIDE:
            raise PhotoError(
                f"{called}: only {width} x {height} pixels; "
                f"use a photo with sides of at least {SMALLEST_SIDE}"
            )
        yield image, called


def _readable(source: PhotoSource, called: str) -> Path | BytesIO:
    """What Pillow shall open: a path that is a non-empty file, or non-empty bytes in memory."""
    if isinstance(source, (str, Path)):
        path = Path(source)
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            raise PhotoError(f"{called}: no such file; check the path") from error
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise PhotoError(f"{called}: cannot be read ({_brief(error)})") from error
        if stat.S_ISDIR(status.st_mode):
            raise PhotoError(f"{called}: is a folder; give one photo")
        empty = status.st_size == 0
        readable: Path | BytesIO = path
    else:
        content = source if isinstance(source, bytes) else source.read()
        empty = not content
        readable = BytesIO(content)
    if empty:
        raise PhotoError(f"{called}: is empty (0 bytes); copy or download it again")
    return readable


def _name_of(source: PhotoSource) -> str:
    """The path of a file, or "photo" where there is none."""
    if isinstance(source, (str, Path)):
        return str(source).replace("\0", "\\0") or "photo"
    own_name = getattr(source, "name", None)
    return own_name if isinstance(own_name, str) and own_name else "photo"


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's → RGB; keeps `image.info` and with it the orientation."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        white.info = image.info
        return Image.alpha_composite(white, seen).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit or floating-point grey → 8-bit grey by scaling; Pillow itself would clip.

    The full scale is 65,535 for whole numbers, 1 or 255 for fractions, as these are written by
    cameras and scanners. Values outside of it have no known scale: their range is stretched.
    """
    whole_numbers = image.mode != "F"
    values = image.convert("I").convert("F") if whole_numbers else image
    lowest, highest = (float(extreme) for extreme in values.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise ValueError("holds values that are not finite")
    scales = (65_535.0,) if whole_numbers else (1.0, 255.0, 65_535.0)
    full = next((scale for scale in scales if lowest >= 0.0 and highest <= scale), None)
    black, span = (0.0, full) if full is not None else (lowest, (highest - lowest) or 1.0)
    factor = 255.0 / span
    # + 0.5: the conversion to 8 bits cuts the fraction off
    grey = values.point(lambda value: value * factor + (0.5 - black * factor)).convert("L")
    grey.info = image.info
    return grey


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; damaged tags count as upright, for the pixels are fine."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 (damaged tags raise nearly every built-in error)
        return 1


def _too_large(called: str, pixel_limit: int, size: str = "") -> str:
    return (
        f"{called}: its header promises {size or 'too many '}pixels, "
        f"over the limit of {pixel_limit:,}; scale it down first"
    )


def _not_a_photo(called: str, stream: Path | BytesIO, error: Exception) -> str:
    """Why Pillow could not open it, with the remedy for iPhone photos where it is one."""
    if isinstance(error, PermissionError):
        return f"{called}: may not be read; change its permissions"
    try:
        with BytesIO(stream.getvalue()) if isinstance(stream, BytesIO) else stream.open("rb") as it:
            beginning = it.read(12)
    except OSError as unreadable:
        return f"{called}: cannot be read ({_brief(unreadable)})"
    if beginning[4:8] == b"ftyp" and beginning[8:12] in HEIF_BRANDS:
        return f"{called}: is a HEIC photo, which is not supported; save it as JPEG"
    return f"{called}: not a photo or damaged at its beginning; use a JPEG, PNG or WebP"


def _brief(error: Exception) -> str:
    """One line of an error's text; the file's name is in the message already."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:120] or type(error).__name__
