"""What `infer.py compare` leaves behind: a CSV, curves as a PNG, component pictures, a W&B run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from siamese.attributes.comparison import Compared
from siamese.attributes.figures import save_figure
from siamese.cli import wandb_mode
from siamese.eigenfaces import Eigenfaces
from siamese.encoder import Encoder
from siamese.files import replacing
from siamese.sheet import GAP, INK, LINE, MARGIN, PAPER, font

CURVE = np.linspace(0, 1, 101)  # tolerances of the curves
SHOWN = 31  # the mean photo and the first 30 components, as system 5 shows them
COLUMNS, SIDE = 8, 120
LEGEND_COLUMNS = 5


def save_comparison(
    folder: Path, compared: Sequence[Compared], tolerances: Sequence[float]
) -> None:
    """Write comparison.csv and precision.png into a folder that is there.

    Raises:
        OSError: They cannot be written.
    """
    with replacing(folder / "comparison.csv") as temporary:
        rows_of(compared, tolerances).to_csv(temporary, index=False)
    draw_curves(compared, folder / "precision.png")


def rows_of(compared: Sequence[Compared], tolerances: Sequence[float]) -> pd.DataFrame:
    """A row for each encoder."""
    return pd.DataFrame([each.row(tolerances) for each in compared])


def draw_curves(compared: Sequence[Compared], path: Path) -> None:
    """Share of products over the tolerance, a panel per column, a line per encoder."""
    from matplotlib.figure import Figure

    count = len(compared[0].precisions)
    figure = Figure(figsize=(4.6 * count, 4.4), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for number, axes in enumerate(panels):
        for each in compared:
            shares = [each.precisions[number].at(tolerance) for tolerance in CURVE]
            axes.step(CURVE, shares, where="post", linewidth=1.8)
        most = [compared[0].precisions[number].possible_at(tolerance) for tolerance in CURVE]
        axes.step(CURVE, most, ":", where="post", color="0.4", linewidth=1.4)
        axes.set(title=compared[0].precisions[number].column, xlabel="tolerance")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of products")
    # Named here: by itself a legend leaves out what begins with `_`.
    names = [*(each.name for each in compared), "possible"]
    lines = panels[0].get_lines()
    figure.legend(lines, names, loc="outside lower center", ncols=LEGEND_COLUMNS, frameon=False)
    save_figure(figure, path)


def component_sheet(encoder: Encoder) -> Image.Image | None:
    """The mean photo and the first components of Eigenfaces; `None` of other encoders."""
    from PIL import ImageDraw

    network = encoder.backbone
    if not isinstance(network, Eigenfaces):
        return None
    pictures = network.pictures()[:SHOWN]
    across, lines = min(COLUMNS, len(pictures)), -(-len(pictures) // COLUMNS)
    size = 2 * MARGIN + across * (SIDE + GAP) - GAP, 2 * MARGIN + lines * (SIDE + LINE + GAP) - GAP
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        corner = MARGIN + column * (SIDE + GAP), MARGIN + row * (SIDE + LINE + GAP)
        resized = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        sheet.paste(resized, corner)
        caption = f"component {number}" if number else "mean"
        draw.text((corner[0], corner[1] + SIDE + 3), caption, INK, font())
    return sheet


def log_comparison(folder: Path, compared: Sequence[Compared], tolerances: Sequence[float]) -> None:
    """A run with the table and the curves, which lie in the folder; offline unless logged in."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    os.environ.setdefault("WANDB_MODE", wandb_mode())
    with wandb.init(project="siamese", job_type="compare", dir=folder) as run:
        table = wandb.Table(dataframe=rows_of(compared, tolerances))
        picture = wandb.Image(str(folder / "precision.png"))
        run.log({"comparison": table, "precision": picture})
