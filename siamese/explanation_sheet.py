"""Draws explanations: each photo beside its products, lit where they are alike.

What decided keeps its light and glows, the rest lies in the dark: this can be told on black and on
white garments alike, because any lit pixel is brighter than any dark one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from siamese.explanation import Explanation, Overlay
from siamese.photos import PhotoSource, open_photo
from siamese.sheet import (
    GAP,
    INK,
    LINE,
    MARGIN,
    PAPER,
    SheetMatch,
    SheetRow,
    Size,
    font,
    query_size,
    ranking_sheet,
)

PHOTO: Size = (240, 320)  # of a product; the query's is larger
FINER = 2  # overlays are drawn so many times larger and shrunk, which smooths circles
DARK = 0.31  # of a pixel's light that is left where nothing decided
GLOW = (255, 196, 40)
STRENGTH = 0.42  # of the glow where most decided
# Told apart by the colour-blind, too (Okabe & Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
RING, BADGE = 3, 10  # width of a region's ring, radius of the disc with its number
VERY_LIKELY, POSSIBLE = 0.8, 0.2  # least probabilities of the words
SCALE: Size = (120, 14)  # of the legend's strip from dark to lit
BRIGHTER = "The brighter a part, the more it decided."
NUMBERED = "The same number: alike in your photo and in the product."


@dataclass(frozen=True)
class ExplainedRow:
    """One query with its products.

    Args:
        query: Its photo.
        caption: Lines below it.
        products: Photos of the products, best first.
        captions: Lines below each of them.
        explanation: Of just these products.
    """

    query: PhotoSource
    caption: Sequence[str]
    products: Sequence[PhotoSource]
    captions: Sequence[Sequence[str]]
    explanation: Explanation


def explanation_sheet(rows: Sequence[ExplainedRow]) -> Image.Image:
    """The rows below each other, and below them how to read them.

    Args:
        rows: At least one.

    Returns:
        RGB picture.

    Raises:
        PhotoError: A query's photo cannot be opened; that of a product leaves a panel.
    """
    drawn = []
    for row in rows:
        query = overlaid(row.query, row.explanation.query, query_size(PHOTO))
        overlays = row.explanation.products
        matches = [
            SheetMatch(photo if overlay is None else overlaid(photo, overlay, PHOTO), caption)
            for photo, caption, overlay in zip(row.products, row.captions, overlays, strict=True)
        ]
        drawn.append(SheetRow(query, row.caption, matches))
    return _with_legend(ranking_sheet(drawn, photo=PHOTO))


def in_words(probability: float) -> str:
    """How likely it is that this is the product, for people."""
    if probability >= VERY_LIKELY:
        return "very likely this one"
    return "maybe" if probability >= POSSIBLE else "unlikely"


def overlaid(source: PhotoSource, overlay: Overlay, size: Size) -> Image.Image:
    """The part of a photo that was looked at with its heat and regions.

    It comes `FINER` times as large as fits into (width, height).
    """
    whole = overlay.part == (0, 0, 1, 1)
    photo = open_photo(source, at_least=(FINER * size[1], FINER * size[0]) if whole else None)
    x1, y1, x2, y2 = overlay.part
    sides = (x1 * photo.width, y1 * photo.height, x2 * photo.width, y2 * photo.height)
    scale = FINER * min(size[0] / (sides[2] - sides[0]), size[1] / (sides[3] - sides[1]))
    across, down = scale * (sides[2] - sides[0]), scale * (sides[3] - sides[1])
    fitted = max(1, round(across)), max(1, round(down))
    rows, columns = overlay.heat.shape
    shown = (x1 * columns, y1 * rows, x2 * columns, y2 * rows)
    heat = Image.fromarray((overlay.heat * 255).round().astype(np.uint8))
    picture = lit(
        photo.resize(fitted, Image.Resampling.BICUBIC, box=sides),
        heat.resize(fitted, Image.Resampling.BILINEAR, box=shown),
    )
    for region in overlay.regions:
        place = ((region.x - x1) / (x2 - x1), (region.y - y1) / (y2 - y1))
        _circle(picture, region.number, place, region.radius / (x2 - x1))
    return picture


def lit(photo: Image.Image, heat: Image.Image) -> Image.Image:
    """The RGB photo in the dark, but for where there is heat, a grey picture of its size."""
    dark = photo.point(lambda value: round(value * DARK))
    glowing = Image.blend(photo, Image.new("RGB", photo.size, GLOW), STRENGTH)
    return Image.composite(glowing, dark, heat)


def _circle(picture: Image.Image, number: int, place: tuple[float, float], radius: float) -> None:
    """A ring with a number, in place; place and radius are shares of width, height and width."""
    draw = ImageDraw.Draw(picture)
    x, y = place[0] * picture.width, place[1] * picture.height
    for reach, colour, width in ((1, "white", RING + 2), (0, _colour(number), RING)):
        outer = radius * picture.width + reach * FINER
        box = (x - outer, y - outer, x + outer, y + outer)
        draw.ellipse(box, outline=colour, width=width * FINER)
    top = y - radius * picture.width
    inside = BADGE * FINER + FINER  # a number is not cut off where its ring is
    x = min(max(x, inside), picture.width - inside)
    _badge(draw, (x, min(max(top, inside), picture.height - inside)), number, FINER)


def _badge(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], number: int, scale: int = 1
) -> None:
    """A region's number on a disc of its colour."""
    (x, y), radius = centre, BADGE * scale
    disc = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(disc, fill=_colour(number), outline="white", width=scale)
    draw.text(centre, str(number), "white", font(14 * scale), anchor="mm")


def _colour(number: int) -> str:
    """Of a region."""
    return COLOURS[(number - 1) % len(COLOURS)]


def _with_legend(sheet: Image.Image) -> Image.Image:
    """The sheet with a line below that says how to read it."""
    long = sum(round(font().getlength(text)) for text in (BRIGHTER, NUMBERED))
    width = max(sheet.width, 2 * MARGIN + SCALE[0] + long + 8 * GAP)
    whole = Image.new("RGB", (width, sheet.height + LINE + GAP), PAPER)
    whole.paste(sheet)
    draw = ImageDraw.Draw(whole)
    x, middle = MARGIN, sheet.height - GAP + LINE // 2
    rising = Image.linear_gradient("L").rotate(90).resize(SCALE)
    scale = lit(Image.new("RGB", SCALE, "#a0a0a0"), rising)
    whole.paste(scale, (x, middle - SCALE[1] // 2))
    x += SCALE[0] + GAP
    draw.text((x, middle), BRIGHTER, INK, font(), anchor="lm")
    x += round(font().getlength(BRIGHTER)) + 3 * GAP
    for number in (1, 2):
        _badge(draw, (x, middle), number)
        x += 2 * GAP
    draw.text((x - GAP // 2, middle), NUMBERED, INK, font(), anchor="lm")
    return whole
