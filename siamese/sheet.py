"""A contact sheet: each query photo with its ranked products, as one picture.

Drawn with Pillow alone, so that a search and a training log can both afford it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from siamese.errors import UserError
from siamese.photos import PhotoError, PhotoSource, open_photo

Size = tuple[int, int]  # width and height in pixels

PHOTO: Size = (150, 200)  # of the box that a product's photo is fitted into
GAP, MARGIN = 14, 28  # pixels between cells, and around the sheet
LINE, TEXT = 19, 14  # height of a caption's line, and of its letters
FRAME = 4
COLUMNS = 10
HIGHEST = 65_500  # pixels; more than a JPEG holds, and hundreds of MiB in memory
PAPER, PANEL, INK, FAINT = "#ffffff", "#f3f3f1", "#22252a", "#6d737b"
RIGHT, RULE = "#1f9d55", "#dfe2e5"


@dataclass(frozen=True)
class SheetMatch:
    """One product in a row.

    Args:
        photo: Its photo; one that cannot be opened leaves an empty panel.
        caption: Lines below it, the first in the darkest ink; too long ones get an ellipsis.
        right: Whether it is the product asked for; framed where true, `None` where unknown.
    """

    photo: PhotoSource | Image.Image
    caption: Sequence[str]
    right: bool | None = None


@dataclass(frozen=True)
class SheetRow:
    """One query with its products, best first."""

    photo: PhotoSource | Image.Image
    caption: Sequence[str]
    matches: Sequence[SheetMatch]


def ranking_sheet(
    rows: Sequence[SheetRow], columns: int = COLUMNS, photo: Size = PHOTO
) -> Image.Image:
    """The rows below each other, the query of each at the left of its products.

    Args:
        rows: At least one.
        columns: Products beside each other; more go on in the next line.
        photo: Of the box that a product's photo is fitted into; the query's is larger.

    Returns:
        RGB picture.

    Raises:
        UserError: It would be higher than pictures can be.
    """
    if not rows:
        raise ValueError("a sheet needs at least one row")
    most = max(len(row.matches) for row in rows)
    across = max(1, min(columns, most))
    heights = [_row_height(row, across, photo) for row in rows]
    width = 2 * MARGIN + query_size(photo)[0] + 2 * GAP + across * (photo[0] + GAP)
    height = 2 * MARGIN + sum(heights) + (len(rows) - 1) * 2 * GAP
    if height > HIGHEST:
        raise UserError(
            f"the picture would be {height} pixels high; ask for fewer photos or with a lower --top"
        )
    sheet = Image.new("RGB", (width, height), PAPER)
    top = MARGIN
    for number, (row, row_height) in enumerate(zip(rows, heights, strict=True)):
        if number:
            rule = top - GAP
            ImageDraw.Draw(sheet).line((MARGIN, rule, width - MARGIN, rule), fill=RULE)
        _draw_row(sheet, row, across, top, photo)
        top += row_height + 2 * GAP
    return sheet


def _draw_row(sheet: Image.Image, row: SheetRow, across: int, top: int, photo: Size) -> None:
    """The query and its products, from the height `top` on."""
    query = query_size(photo)
    _draw_cell(sheet, row.photo, row.caption, (MARGIN, top), query, None)
    left = MARGIN + query[0] + 3 * GAP
    for place, match in enumerate(row.matches):
        line, column = divmod(place, across)
        corner = (left + column * (photo[0] + GAP), top + line * _cell_height(row, photo))
        _draw_cell(sheet, match.photo, match.caption, corner, photo, match.right)


def _draw_cell(
    sheet: Image.Image,
    photo: PhotoSource | Image.Image,
    caption: Sequence[str],
    corner: tuple[int, int],
    size: Size,
    right: bool | None,
) -> None:
    """One photo on its panel with the caption below."""
    draw = ImageDraw.Draw(sheet)
    (x, y), (width, height) = corner, size
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=PANEL)
    image = _opened(photo, size)
    if image is None:
        draw.text((x + width / 2, y + height / 2), "no photo", FAINT, font(), anchor="mm")
    else:
        sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    colour, thickness = (RIGHT, FRAME) if right else (RULE, 1)
    draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=thickness)
    for number, line in enumerate(caption):
        colour = RIGHT if right and number == 0 else INK if number == 0 else FAINT
        place = (x, y + height + 6 + number * LINE)
        draw.text(place, shortened(line, width), colour, font())


def shortened(text: str, width: int) -> str:
    """The text, or as much of its beginning as fits into `width` pixels with an ellipsis."""
    letters = font()
    if len(text) <= width and letters.getlength(text) <= width:
        return text
    lengths = range(min(len(text), width) + 1)  # no letter is narrower than a pixel
    fits = bisect_left(lengths, True, key=lambda n: letters.getlength(text[:n] + "…") > width)
    return text[: max(fits - 1, 0)].rstrip() + "…"


def _opened(photo: PhotoSource | Image.Image, size: Size) -> Image.Image | None:
    """The photo fitted into (width, height), `None` if it cannot be used."""
    try:
        image = photo if isinstance(photo, Image.Image) else open_photo(photo, at_least=size[::-1])
    except PhotoError:
        return None
    scale = min(size[0] / image.width, size[1] / image.height)
    fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(fitted, Image.Resampling.LANCZOS)


def query_size(photo: Size) -> Size:
    """The query is shown larger than the products."""
    return photo[0] * 3 // 2, photo[1] * 3 // 2


def _cell_height(row: SheetRow, photo: Size) -> int:
    """Photo, caption and gap of one line of products."""
    lines = max((len(match.caption) for match in row.matches), default=0)
    return photo[1] + 6 + lines * LINE + GAP


def _row_height(row: SheetRow, across: int, photo: Size) -> int:
    """The higher of the query and its lines of products."""
    query = query_size(photo)[1] + 6 + len(row.caption) * LINE
    return max(query, -(-len(row.matches) // across) * _cell_height(row, photo) - GAP)


@lru_cache(maxsize=4)
def font(size: int = TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which knows Latin letters; others become boxes."""
    return ImageFont.load_default(size)
