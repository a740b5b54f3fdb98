"""The pictures of `infer.py explore`: bars of labels, sample sheets, and the map as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from siamese.attributes.exploration import Floats, Integers, texts
from siamese.attributes.figures import OTHERS, label_colours, save_figure
from siamese.photos import PhotoError, open_photo
from siamese.sheet import FAINT, GAP, INK, LINE, MARGIN, PANEL, PAPER, font, shortened

BARS = 15  # labels of a column that are drawn; one more where it is the last
SAMPLES, ROWS = 10, 100  # photos beside each other, and rows of a sheet
SIDE, NAME = 96, 190  # pixels of a photo, and of the text before a row
COLOURS = 10  # labels with a colour of their own on the map


def draw_bars(counts: pd.DataFrame, missing: Mapping[str, int], path: Path) -> None:
    """Horizontal bars of each column's most common labels; the rest is one grey bar.

    Args:
        counts: Of `exploration.label_counts`.
        missing: Products without a label, by column.
        path: PNG.
    """
    from matplotlib.figure import Figure

    columns = list(dict.fromkeys(counts["column"]))
    across = min(3, len(columns))
    lines = -(-len(columns) // across)
    figure = Figure(figsize=(5.2 * across, 4.2 * lines), layout="constrained")
    panels = list(figure.subplots(lines, across, squeeze=False).flat)
    for axes in panels[len(columns) :]:
        axes.axis("off")
    for axes, column in zip(panels, columns, strict=False):
        part = counts[counts["column"] == column]
        most = BARS + (len(part) == BARS + 1)  # "1 others" would be a bar, too
        shown, rest = part.head(most), part.iloc[most:]
        names = [_clipped(str(label)) for label in shown["label"]]
        values = shown["products"].tolist()
        colours = ["tab:blue"] * len(values)
        if len(rest):
            names.append(f"{len(rest)} others")
            values.append(int(rest["products"].sum()))
            colours.append("0.7")
        bars = axes.barh(range(len(values)), values, color=colours)
        axes.bar_label(bars, padding=3, fontsize="small")
        axes.set_yticks(range(len(values)), names)
        axes.invert_yaxis()
        without = f", {missing[column]} missing" if missing[column] else ""
        axes.set(title=f"{column} ({len(part)} labels{without})", xlabel="products")
        axes.margins(x=0.14)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=100)


def draw_map(places: Floats, table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """The map once for each column, its most common labels in colours."""
    from matplotlib.figure import Figure

    across = min(3, len(columns))
    lines = -(-len(columns) // across)
    figure = Figure(figsize=(6.2 * across, 5.2 * lines), layout="constrained")
    panels = list(figure.subplots(lines, across, squeeze=False).flat)
    for axes in panels:
        axes.axis("off")
    size = 400 / np.sqrt(len(places))
    scale = float(np.sqrt(60 / size))
    edges: dict[str, Any] = {"edgecolors": "0.6", "linewidths": 0.2}  # so that white is seen
    for axes, column in zip(panels, columns, strict=False):
        labels = texts(table[column])
        common = labels.value_counts().head(COLOURS).index
        other = ~labels.isin(common)
        axes.scatter(*places[other].T, s=size, color=OTHERS, **edges)
        drawn = []
        for label, colour in zip(common, label_colours(list(common), COLOURS), strict=True):
            here = (labels == label).to_numpy()
            drawn.append(axes.scatter(*places[here].T, s=size, color=colour, **edges))
        axes.set_title(column)
        legend = axes.legend(  # named here: by itself it leaves out what begins with `_`
            drawn,
            [_clipped(str(label)) for label in common],
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            markerscale=scale,
            frameon=False,
        )
        for handle in legend.legend_handles:
            handle.set_linewidth(0.8)
    save_figure(figure, path)


def sample_sheet(rows: Mapping[str, Sequence[str]], notes: Mapping[str, str]) -> Image.Image:
    """A line of photos for each name, with a note below the name.

    Args:
        rows: Name → paths; at most `SAMPLES` of each are drawn.
        notes: Name → note.
    """
    shown = list(rows.items())
    across = max((min(SAMPLES, len(paths)) for _, paths in shown), default=1)
    width = 2 * MARGIN + NAME + across * (SIDE + GAP // 2)
    sheet = Image.new("RGB", (width, 2 * MARGIN + len(shown) * (SIDE + GAP) - GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, paths) in enumerate(shown):
        top = MARGIN + number * (SIDE + GAP)
        draw.text((MARGIN, top + SIDE // 2 - LINE), shortened(name, NAME - GAP), INK, font())
        draw.text((MARGIN, top + SIDE // 2), shortened(notes[name], NAME - GAP), FAINT, font())
        for column, path in enumerate(paths[:SAMPLES]):
            left = MARGIN + NAME + column * (SIDE + GAP // 2)
            draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=PANEL)
            photo = thumbnail(path, SIDE)
            corner = left + (SIDE - photo.width) // 2, top + (SIDE - photo.height) // 2
            sheet.paste(photo, corner)
    return sheet


def thumbnail(path: str, side: int) -> Image.Image:
    """The photo fitted into a square; an empty panel where it cannot be opened."""
    try:
        photo = open_photo(path, at_least=(side, side))
    except PhotoError:
        return Image.new("RGB", (side, side), PANEL)
    scale = side / max(photo.size)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    return photo.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def samples_of(
    table: pd.DataFrame, groups: pd.Series | Integers, names: Sequence[object], seed: int
) -> dict[str, list[str]]:
    """Paths of some products of the first `ROWS` groups, drawn by chance."""
    random = np.random.default_rng(seed)
    paths = table["path"].to_numpy()
    chosen = {}
    for name in names[:ROWS]:
        members = np.flatnonzero(np.asarray(groups == name))
        drawn = random.permutation(members)[:SAMPLES]
        chosen[str(name)] = [str(path) for path in paths[drawn]]
    return chosen


def _clipped(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
