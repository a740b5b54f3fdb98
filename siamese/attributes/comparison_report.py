"""What `infer.py compare` leaves behind: a CSV, curves as a PNG, component pictures, a W&B run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from siamese.attributes.comparison import Compared
from siamese.cli import wandb_mode
from siamese.eigenfaces import Eigenfaces
from siamese.encoder import Encoder
from siamese.sheet import GAP, INK, LINE, MARGIN, PAPER, font

CURVE = np.linspace(0, 1, 101)  # tolerances of the curves
SHOWN = 31  # the mean photo and the first 30 components, as system 5 shows them
COLUMNS, SIDE = 8, 120


def save_comparison(
    folder: Path, compared: Sequence[Compared], tolerances: Sequence[float], log: bool
) -> None:
    """Write comparison.csv and precision.png, and a W&B run where `log` asks for one.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame([each.row(tolerances) for each in compared])
    table.to_csv(folder / "comparison.csv", index=False)
    draw_curves(compared, folder / "precision.png")
    if log:
        _log(folder, table)


def draw_curves(compared: Sequence[Compared], path: Path) -> None:
    """Share of products over the tolerance, a panel per column, a line per encoder."""
    from matplotlib.figure import Figure

    count = len(compared[0].precisions)
    figure = Figure(figsize=(4.6 * count, 4.4), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for number, axes in enumerate(panels):
        for each in compared:
            shares = [each.precisions[number].at(tolerance) for tolerance in CURVE]
            axes.step(CURVE, shares, where="post", label=each.name, linewidth=1.8)
        most = [compared[0].precisions[number].possible_at(tolerance) for tolerance in CURVE]
        axes.step(CURVE, most, ":", where="post", label="possible", color="0.4", linewidth=1.4)
        axes.set(title=compared[0].precisions[number].column, xlabel="tolerance")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of products")
    panels[-1].legend(loc="lower right", fontsize="small")
    figure.savefig(path, dpi=110)


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


def _log(folder: Path, table: pd.DataFrame) -> None:
    """A run with the table and the curves; offline unless the user has logged in."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    os.environ.setdefault("WANDB_MODE", wandb_mode())
    with wandb.init(project="siamese", job_type="compare", dir=folder) as run:
        picture = wandb.Image(str(folder / "precision.png"))
        run.log({"comparison": wandb.Table(dataframe=table), "precision": picture})
