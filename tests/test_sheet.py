"""A contact sheet shows every photo in its place, legibly, and marks the right product."""

import io
import time
from pathlib import Path

import pytest
from helpers_catalog import draw_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from siamese.catalog import CatalogError
from siamese.errors import UserError
from siamese.photos import PhotoSource
from siamese.pictures import save_picture
from siamese.sheet import (
    FRAME,
    PHOTO,
    RIGHT,
    SheetMatch,
    SheetRow,
    font,
    ranking_sheet,
    shortened,
)

GREEN = ImageColor.getrgb(RIGHT)[:3]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain_photo(colour: tuple[int, int, int], size: tuple[int, int] = (30, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def count(sheet: Image.Image, colour: tuple[int, ...]) -> int:
    """Pixels of just this colour."""
    colours = sheet.getcolors(sheet.width * sheet.height) or []
    return next((number for number, found in colours if found == colour), 0)


def row(matches: int, right: int | None = None) -> SheetRow:
    """A red query and blue products, of which one may be the right one."""
    return SheetRow(
        plain_photo(RED),
        ("query",),
        [
            SheetMatch(plain_photo(BLUE), (f"{i}", "p"), None if right is None else i == right)
            for i in range(matches)
        ],
    )


def test_every_photo_fills_its_box_but_for_the_border() -> None:
    """Photos have the box's aspect here, so that each of three covers it but a line around."""
    sheet = ranking_sheet([row(3)])
    assert count(sheet, BLUE) == 3 * (PHOTO[0] - 2) * (PHOTO[1] - 2)
    assert count(sheet, RED) > 2 * PHOTO[0] * PHOTO[1]
    assert count(sheet, GREEN) == 0


def test_only_the_right_product_is_framed() -> None:
    sheet = ranking_sheet([row(3, right=1)])
    frame = PHOTO[0] * PHOTO[1] - (PHOTO[0] - 2 * FRAME) * (PHOTO[1] - 2 * FRAME)
    inked = count(sheet, GREEN) - frame
    assert 0 <= inked < 100  # and its caption in the same green


def test_rows_and_lines_of_products_make_the_sheet_higher_not_wider() -> None:
    one, wrapped, two = (
        ranking_sheet([row(4)], columns=4),
        ranking_sheet([row(8)], columns=4),
        ranking_sheet([row(4), row(4)], columns=4),
    )
    assert one.width == wrapped.width == two.width
    assert one.height < wrapped.height < two.height
    assert count(wrapped, BLUE) == 2 * count(one, BLUE) == count(two, BLUE)
    assert count(two, RED) == 2 * count(one, RED)


def test_photos_of_every_shape_and_source_stay_inside_their_box(tmp_path: Path) -> None:
    path = draw_photo(tmp_path / "drawn.png", 80)
    stream = io.BytesIO()
    plain_photo(BLUE, (400, 20)).save(stream, "PNG")
    sources: list[PhotoSource | Image.Image] = [
        path,
        str(path),
        stream.getvalue(),
        plain_photo(BLUE, (8, 900)),
        path.open("rb"),
    ]
    sheet = ranking_sheet([SheetRow(path, (), [SheetMatch(source, ()) for source in sources])])
    assert 0 < count(sheet, BLUE) < PHOTO[0] * PHOTO[1] // 3


def test_a_missing_photo_leaves_a_panel_that_says_so(tmp_path: Path) -> None:
    missing = [SheetMatch(tmp_path / "missing.jpg", ("1",)), SheetMatch(b"broken", ("2",))]
    sheet = ranking_sheet([SheetRow(plain_photo(RED), ("query",), missing)])
    assert count(sheet, RED) > 0


def test_a_sheet_without_products_shows_the_query_and_one_without_rows_is_an_error() -> None:
    assert count(ranking_sheet([SheetRow(plain_photo(RED), ("q",), [])]), RED) > 0
    with pytest.raises(ValueError, match="at least one row"):
        ranking_sheet([])


def test_long_texts_end_in_an_ellipsis_and_short_ones_stay() -> None:
    assert shortened("4711", PHOTO[0]) == "4711"
    short = shortened("SKU-" + "0123456789" * 10, PHOTO[0])
    assert short.startswith("SKU-0123")
    assert short.endswith("…")
    assert len(short) < 30
    assert shortened("anything", 0) == "…"


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_a_picture_beyond_its_format_names_one_that_takes_it(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"too large for this format; name a \.png"):
        save_picture(str(tmp_path / f"found{suffix}"), Image.new("L", (1, 65501)))
    assert not list(tmp_path.iterdir())


def test_a_sheet_that_no_memory_would_hold_is_refused() -> None:
    rows = [SheetRow(plain_photo(RED), (), [SheetMatch(plain_photo(BLUE), ())] * 1000)] * 50
    with pytest.raises(UserError, match="pixels high; ask for fewer photos or with a lower --top"):
        ranking_sheet(rows)


@given(text=st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=80))
def test_a_shortened_text_is_the_longest_beginning_that_fits(text: str) -> None:
    """Letter by letter from the end."""
    shown, letters = shortened(text, 100), font()
    kept = len(text)
    while kept and letters.getlength(text[:kept] + "…") > 100:
        kept -= 1
    whole = letters.getlength(text) <= 100
    assert shown == (text if whole else text[:kept].rstrip() + "…")


def test_very_long_texts_are_shortened_at_once() -> None:
    started = time.perf_counter()
    shortened("x" * 10**6, 200)
    assert time.perf_counter() - started < 5
