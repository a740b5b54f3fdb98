"""Hostile uploads: each is refused by its own problem, soon, without much memory, and never 500."""

from __future__ import annotations

import os
import resource
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from helpers_serving import client_of, make_shop, picture, put, search
from PIL import Image

from siamese.photos import PhotoError
from siamese.serving.uploads import NotAPhotoError, as_stored, check_upload

LIMIT = 50_000_000
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def png_that_promises(width: int, height: int) -> bytes:
    """A header of that size with hardly any content."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_bomb(side: int) -> bytes:
    """Many pixels of two colours: some kB, and decoded in full."""
    return picture(side, side, "PNG", compress_level=1)


def webp_that_promises(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is that large."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    simple = picture(16, 16, "WEBP")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides + simple[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of_scans(count: int, side: int = 64) -> bytes:
    """A progressive JPEG that goes over its picture so many times, at 100 bytes each."""
    stream = BytesIO()
    photo = Image.new("L", (side, side), 128)
    photo.paste(64, (0, 0, side // 2, side))
    photo.save(stream, "JPEG", progressive=True)
    whole = stream.getvalue()
    begin = whole.rfind(b"\xff\xda")
    last, scans = whole[begin:-2], whole.count(b"\xff\xda")
    return whole[:-2] + last * (count - scans) + b"\xff\xd9"


def jpeg_that_hides_its_scans() -> bytes:
    """Between them lie markers without content, behind which no length of a segment comes."""
    few = jpeg_of_scans(10)
    last = few[few.rfind(b"\xff\xda") : -2]
    return few[:-2] + (b"\xff\x01\xff\xd0" + last) * 60 + b"\xff\xd9"


def moving_photo() -> bytes:
    """A JPEG with metadata and a film behind its end, both full of what looks like scans."""
    photo = picture(400, 300)
    inside = b"\xff\xe1" + struct.pack(">H", 60_002) + b"\xff\xda" * 30_000
    return photo[:2] + inside + photo[2:] + b"\xff\xda\x00\x02" * 10_000


def gif_of_many_frames() -> bytes:
    stream = BytesIO()
    frames = [Image.new("P", (500, 500), n % 256) for n in range(200)]
    frames[0].putpalette([0, 0, 0, 255, 255, 255])
    frames[0].paste(1, (0, 0, 250, 500))
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


def png_with_a_text_bomb() -> bytes:
    """A compressed comment that grows a thousandfold."""
    text = b"Comment\0\0" + zlib.compress(b"A" * 80_000_000)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + text))
    whole = picture(16, 16, "PNG")
    return whole[:33] + chunk + whole[33:]


HOSTILE: dict[str, tuple[Callable[[], bytes], int]] = {
    "nothing": (lambda: b"", 422),
    "a byte": (lambda: b"\xff", 415),
    "a beginning alone": (lambda: b"\xff\xd8\xff", 422),
    "text": (lambda: b"hello", 415),
    "a page": (lambda: b"<!doctype html><script>alert(1)</script>", 415),
    "SVG with a script": (lambda: SVG, 415),
    "a PDF": (lambda: b"%PDF-1.7 " + b"x" * 100, 415),
    "PostScript, which would run another program": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", 415),
    "a TIFF": (lambda: picture(16, 16, "TIFF"), 415),
    "a HEIC": (lambda: b"\0\0\0\x18ftypheic" + b"\0" * 100, 415),
    "an ELF program": (lambda: b"\x7fELF" + b"\0" * 100, 415),
    "a zip": (lambda: b"PK\x03\x04" + b"\0" * 100, 415),
    "200 megapixels": (lambda: png_that_promises(20_000, 10_000), 422),
    "4 gigapixels": (lambda: png_that_promises(65_535, 65_535), 422),
    "a WebP of 268 megapixels": (lambda: webp_that_promises(16_383, 16_383), 422),
    "a WebP of 280 terapixels": (lambda: webp_that_promises(2**24, 2**24), 422),
    "a PNG of as many pixels as a JPEG may have": (lambda: png_bomb(4000), 422),
    "a JPEG of 100,000 scans": (lambda: jpeg_of_scans(100_000), 422),
    "a JPEG that hides its scans": (jpeg_that_hides_its_scans, 422),
    "a truncated JPEG": (lambda: picture(400, 400)[:300], 422),
    "a truncated PNG": (lambda: png_that_promises(400, 400)[:60], 422),
    "a JPEG with a damaged middle": (lambda: picture(400, 400)[:200] + b"\0" * 500, 422),
    "too small": (lambda: picture(7, 7), 422),
    "a comment that explodes": (png_with_a_text_bomb, 422),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(make_shop(tmp_path_factory.mktemp("shop"))) as client:
        yield client


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads_are_refused_by_search_and_by_the_catalog(
    client: TestClient, name: str
) -> None:
    make, status = HOSTILE[name]
    content = make()
    began, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for answer in (search(client, content), put(client, "hostile", content)):
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"].startswith("photo: ")
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 * 1024  # KiB
    assert client.get("/v1/products/hostile").status_code == 404


@pytest.mark.parametrize(
    "content",
    [
        picture() + b"<script>alert(1)</script>",
        picture(kind="PNG") + b"PK\x03\x04" + b"\0" * 50,
        picture(kind="GIF") + SVG,
        picture(kind="JPEG", comment=b"<?php system($_GET[0]); ?>"),
    ],
)
def test_of_a_file_that_is_two_things_only_the_picture_is_stored(content: bytes) -> None:
    stored = as_stored(content, LIMIT)
    with Image.open(BytesIO(stored)) as image:
        assert image.format == "JPEG"
        assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    for part in (b"script", b"PK\x03\x04", b"php", b"svg"):
        assert part not in stored


def test_a_photo_of_many_pixels_and_few_bytes_is_shrunk_before_it_is_kept() -> None:
    with Image.open(BytesIO(as_stored(picture(4000, 3000), LIMIT))) as image:
        assert image.size == (1600, 1200)


def test_a_photo_of_few_bytes_and_many_pixels_is_answered(client: TestClient) -> None:
    assert search(client, png_bomb(3500)).status_code == 200


def test_of_kinds_that_are_decoded_in_full_fewer_pixels_are_taken() -> None:
    """They take up to 28 bytes of memory a pixel, a JPEG at most 8."""
    assert check_upload(picture(200, 100), 20_000) == (100, 200)
    assert check_upload(picture(100, 50, "PNG"), 20_000) == (50, 100)
    with pytest.raises(PhotoError, match="over the limit of 5,000"):
        check_upload(picture(200, 100, "PNG"), 20_000)


def test_photos_of_few_scans_are_taken_whatever_else_they_hold(client: TestClient) -> None:
    for content in (jpeg_of_scans(50), moving_photo(), picture(400, 300, progressive=True)):
        assert search(client, content).status_code == 200
    with pytest.raises(PhotoError, match="over 50 scans"):
        check_upload(jpeg_of_scans(51), LIMIT)


def test_an_animation_is_its_first_frame(client: TestClient) -> None:
    assert search(client, gif_of_many_frames()).status_code == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_photos_of_browsers_and_cameras_are_taken(client: TestClient, kind: str) -> None:
    assert check_upload(picture(40, 60, kind), LIMIT) == (60, 40)
    assert search(client, picture(40, 60, kind)).status_code == 200


def test_neither_name_nor_declared_type_of_an_upload_matter(client: TestClient) -> None:
    for name in ("../../../etc/passwd", "a\0b.php", "x" * 3000, "CON", "photo.svg"):
        files = {"photo": (name, picture(), "image/svg+xml")}
        assert client.post("/v1/search", files=files).status_code == 200
        files = {"photo": (name, SVG, "image/jpeg")}
        assert client.post("/v1/search", files=files).status_code == 415


def test_the_reason_is_told_by_class() -> None:
    with pytest.raises(NotAPhotoError, match="is no JPEG"):
        check_upload(SVG, LIMIT)
    with pytest.raises(PhotoError, match="over the limit of 1,000"):
        check_upload(picture(), 1000)


def test_a_disk_that_cannot_keep_uploads_stops_no_search(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make_shop(tmp_path)
    (shop / "serving").mkdir()
    (shop / "serving" / "uploads").write_text("no folder")
    with client_of(shop, keep_uploads_hours=1.0) as client:
        assert [search(client, picture()).status_code for _ in range(2)] == [200, 200]
    assert [line.message for line in caplog.records].count("cannot keep uploads") == 1


def test_uploads_are_never_written_unless_the_shop_keeps_them(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    with client_of(shop) as client:
        assert search(client, picture()).status_code == 200
    assert not (shop / "serving").exists()
    with client_of(shop, keep_uploads_hours=1.0) as client:
        assert search(client, picture()).status_code == 200
    (kept,) = (shop / "serving" / "uploads").iterdir()
    assert kept.suffix == ".jpg"
    assert kept.parent.stat().st_mode & 0o077 == 0  # other users of the machine see none
    os.utime(kept, (0, time.time() - 3601))
    with client_of(shop, keep_uploads_hours=1.0):
        deadline = time.monotonic() + 5
        while kept.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not kept.exists()
