"""Saving matplotlib's figures, names of their files, and colours for labels."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf"),
    *("#bcbd22", "#000075", "#f032e6", "#808000", "#3cb44b", "#9a6324", "#469990", "#e6194b"),
    *("#4363d8", "#b8860b"),
)
OTHERS = "#c2c7cd"
LONGEST = 50  # letters of a file's name, of 4 bytes at most: file systems take 255 bytes


def save_figure(figure: Figure, path: str | Path, dpi: int = 110) -> None:
    """Write a PNG whole, or not at all; letters that the font lacks become boxes.

    A `$` of a label is a `$`: matplotlib would take what follows for a formula.

    Raises:
        OSError: It cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    plain = rc_context({"text.parse_math": False})  # of what is only made while it is drawn
    with warnings.catch_warnings(), plain, replacing(path) as temporary:
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(temporary, dpi=dpi)


def file_names(columns: Sequence[str]) -> dict[str, str]:
    """Each column as part of a file's name, of which no two are equal, in any case of letters.

    What is no letter or digit becomes `_`; of those that are equal then, all but one get a
    number. A column that can be a file's name as it is stays that, whatever the others are.
    """
    safe = {
        column: "".join(letter if letter.isalnum() else "_" for letter in column)[:LONGEST]
        for column in columns
    }
    names: dict[str, str] = {}
    taken: set[str] = set()
    for column in sorted(safe, key=lambda column: safe[column] != column):
        tries = (f"{safe[column]}_{number}" for number in itertools.count(2))
        names[column] = next(
            name for name in itertools.chain([safe[column]], tries) if name.lower() not in taken
        )
        taken.add(names[column].lower())
    return names


def label_colours(labels: Sequence[str], most: int) -> list[str]:
    """A colour for each label, `#rrggbb`.

    Args:
        labels: The most common first.
        most: How many get a colour of their own; the others are grey. Where most of them name a
            colour, as `Navy Blue` does, every label has the one that it names.
    """
    named = [_named(label) for label in labels]
    first = named[:most]
    if 2 * sum(colour is not None for colour in first) > len(first):
        return [colour or OTHERS for colour in named]
    return [*PALETTE[:most], *[OTHERS] * len(labels)][: len(labels)]


def _named(label: str) -> str | None:
    """`Navy Blue` → that of navy, `Off White` → that of white."""
    from matplotlib.colors import CSS4_COLORS, to_hex

    words = label.lower().split()
    tried = ("".join(words), *words[:1], *words[-1:])
    return next((to_hex(CSS4_COLORS[name]) for name in tried if name in CSS4_COLORS), None)
