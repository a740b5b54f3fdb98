"""Photos of strangers: refused by bytes, kind and pixels before anything is decoded."""

from __future__ import annotations

import re
from io import BytesIO

from PIL import Image

from siamese.photos import PhotoError, open_photo, photo_size

CALLED = "photo"  # in messages; the name that a stranger gave it is never used
# How files of each kind begin. Pillow reads more kinds; a browser's camera and shops send these.
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
JPEG = BEGINNINGS[0]
# What a decoded photo takes, measured: JPEG up to 8 bytes a pixel, others, which cannot be decoded
# at a smaller size, up to 28 (WebP with transparency). So both may take the same memory.
OF_JPEGS_PIXELS = 1 / 4
MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])")  # of a JPEG's segment; the rest is data
END, SCAN = 0xD9, 0xDA
MOST_SCANS = 50  # cameras and programs write 1 to 20; one may be 100 bytes and .06 s of work
KEPT_SIDE = 1600  # pixels of the longer side of photos that are stored
KEPT_QUALITY = 90


class NotAPhotoError(PhotoError):
    """Content that is no photo of a kind that is taken, whatever its name or type says."""


def check_upload(content: bytes, max_pixels: int) -> tuple[int, int]:
    """Look at kind and header of an upload; (height, width) of the upright photo.

    Args:
        content: The upload.
        max_pixels: Of a JPEG; other kinds may have `OF_JPEGS_PIXELS` of it.

    Raises:
        NotAPhotoError: It is of no kind that is taken.
        PhotoError: Empty, too many pixels or scans, too few, or damaged at its beginning.
    """
    if not content:
        raise PhotoError(f"{CALLED}: is empty (0 bytes); choose another one")
    if not is_photo(content):
        raise NotAPhotoError(f"{CALLED}: is no JPEG, PNG, WebP, AVIF or GIF; save it as one")
    if not content.startswith(JPEG):
        max_pixels = int(max_pixels * OF_JPEGS_PIXELS)
    elif _scans(content) > MOST_SCANS:
        raise PhotoError(f"{CALLED}: has over {MOST_SCANS} scans; save it anew")
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


def _scans(content: bytes) -> int:
    """Passes over a JPEG's whole picture, at most one more than allowed.

    From segment to segment as decoders go, for what lies within them or behind the end (a film,
    where the photo is a moving one) may look like a marker.
    """
    place, scans = 2, 0
    while scans <= MOST_SCANS and (marker := MARKER.search(content, place)):
        kind, start = marker[1][0], marker.end()
        if kind == END:
            break
        place = start + int.from_bytes(content[start : start + 2], "big")
        scans += kind == SCAN
    return scans
