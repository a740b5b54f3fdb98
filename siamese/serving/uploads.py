"""Photos of strangers: refused by bytes, kind and pixels before anything is decoded."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from siamese.photos import PhotoError, open_photo, photo_size

CALLED = "photo"  # in messages; the name that a stranger gave it is never used
# How files of each kind begin. Pillow reads more kinds; a browser's camera and shops send these.
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
KEPT_SIDE = 1600  # pixels of the longer side of photos that are stored
KEPT_QUALITY = 90


class NotAPhotoError(PhotoError):
    """Content that is no photo of a kind that is taken, whatever its name or type says."""


def check_upload(content: bytes, max_pixels: int) -> tuple[int, int]:
    """Look at kind and header of an upload; (height, width) of the upright photo.

    Raises:
        NotAPhotoError: It is of no kind that is taken.
        PhotoError: Empty, too many pixels, too few, or damaged at its beginning.
    """
    if not content:
        raise PhotoError(f"{CALLED}: is empty (0 bytes); choose another one")
    if not is_photo(content):
        raise NotAPhotoError(f"{CALLED}: is no JPEG, PNG, WebP, AVIF or GIF; save it as one")
    if content[:4] == b"RIFF" and _webp_pixels(content) > max_pixels:  # Pillow decodes on opening
        raise PhotoError(f"{CALLED}: has over {max_pixels:,} pixels; scale it down first")
    return photo_size(content, name=CALLED, pixel_limit=max_pixels)


def is_photo(content: bytes) -> bool:
    """Whether the content begins like a photo."""
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    avif = content[4:8] == b"ftyp" and content[8:12] in (b"avif", b"avis", b"mif1")
    return content.startswith(BEGINNINGS) or webp or avif


def as_stored(content: bytes, max_pixels: int) -> bytes:
    """An upload as it may be stored and served: decoded, shrunk and encoded anew as JPEG.

    Nothing of the upload but its picture is left: no tags, no place, no code hidden in it.

    Raises:
        PhotoError: As `check_upload`, or damaged.
    """
    check_upload(content, max_pixels)
    photo = open_photo(
        content, at_least=(KEPT_SIDE, KEPT_SIDE), name=CALLED, pixel_limit=max_pixels
    )
    photo.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.LANCZOS)
    return encoded(photo, KEPT_QUALITY)


def encoded(photo: Image.Image, quality: int) -> bytes:
    """An RGB picture as JPEG."""
    stream = BytesIO()
    photo.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def _webp_pixels(content: bytes) -> int:
    """Pixels that a WebP's extended header promises, 0 for the simple kinds (at most 268 M)."""
    if content[12:16] != b"VP8X":
        return 0
    width = int.from_bytes(content[24:27], "little") + 1
    height = int.from_bytes(content[27:30], "little") + 1
    return width * height
