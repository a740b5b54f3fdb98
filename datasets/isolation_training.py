"""Trains the isolation network on street photos, and measures it on photos kept aside.

python -m datasets.isolation_training --folder ../shared/data/street

Shapes: B batch, H height, W width, G groups.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from datasets.street import StreetPhoto, read_street, split_street
from datasets.street_views import StreetViews
from siamese.checkpoint_file import load_checkpoint
from siamese.cli import failing_when_stopped, quieten
from siamese.errors import UserError
from siamese.files import check_writable
from siamese.isolation import SEEN, Isolation
from siamese.isolation_file import load_isolation, save_isolation
from siamese.runtime import keep_freed_memory, training_precision
from siamese.segmentation import (
    GARMENTS,
    GROUPS,
    SegmentationConfig,
    SegmentationNetwork,
    network_of,
)

BATCH = 16
AVERAGED = 0.1  # share of the training that the averaged weights look back on
EPOCHS = 200  # with 70, garments are found worse by .03 to .07
HELD_OUT = {"validation": 70, "test": 130}  # photos
MEAN_SEARCHED = "mean without other"


class Views(Dataset[tuple[Tensor, Tensor]]):
    """The views of a whole training, each epoch in an order of its own: uint8 (H, W, 3), (H, W).

    View number n depends on the seed and n alone, whichever worker makes it.
    """

    def __init__(
        self, photos: list[StreetPhoto], views: StreetViews, epochs: int, seed: int
    ) -> None:
        self.photos, self.views, self.epochs, self.seed = photos, views, epochs, seed

    def __len__(self) -> int:
        return self.epochs * len(self.photos)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(number, len(self.photos))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.photos))
        photo = self.photos[order[place]]
        seed = np.random.SeedSequence([self.seed, epoch, place]).generate_state(1)[0]
        pixels, groups = self.views(photo.pixels, photo.groups, int(seed))
        return torch.from_numpy(pixels), torch.from_numpy(groups)


class IsolationModule(LightningModule):
    """Cross-entropy and Dice loss under a cosine schedule with warm-up."""

    def __init__(self, isolation: Isolation, steps: int, rate: float = 3e-3) -> None:
        super().__init__()
        self.network = isolation.network
        self.preprocessing = isolation.preprocessing
        self.steps, self.rate = steps, rate

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        pixels, groups = batch
        logits = self.network(self.preprocessing.normalise(pixels)).float()
        # One pixel of each 2x2, another one each time: the logits have half of the resolution.
        down, right = torch.randint(2, (2,)).tolist()
        target = groups[:, down::2, right::2].long()
        loss = functional.cross_entropy(logits, target) + dice_loss(logits, target)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimiser = torch.optim.AdamW(self.network.parameters(), self.rate, weight_decay=0.02)
        rise = 0.1 if self.steps != 10 else 0.2  # a rise of one step would divide by zero
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            self.rate,
            total_steps=self.steps,
            pct_start=rise,
            cycle_momentum=False,
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 − mean over the batch's groups of 2·|P∩T| / (|P| + |T|) (Milletari et al. 2016).

    Each group counts the same, however few its pixels are.

    Args:
        logits: float (B, G, H, W).
        target: int64 (B, H, W), groups.
    """
    predicted = logits.softmax(dim=1)
    truth = functional.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2)
    common = (predicted * truth).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3))
    both = predicted.sum(dim=(0, 2, 3)) + present
    dice = (2 * common + 1) / (both + 1)
    return 1 - dice[present > 0].mean()


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """IoU of each group, float64 (G,), from pixel counts; NaN for a group that is nowhere.

    Args:
        confusion: int64 (G, G), rows are the truth and columns the prediction.
    """
    common = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - common
    with np.errstate(invalid="ignore"):
        return common / union


def confusion_of(isolation: Isolation, photos: Sequence[StreetPhoto]) -> np.ndarray:
    """Pixel counts over all photos in their own resolution: int64 (G, G), truth by prediction."""
    count = len(GROUPS)
    confusion = np.zeros((count, count), np.int64)
    for photo in photos:
        labels = isolation.survey(Image.fromarray(photo.pixels))[1]
        pairs = photo.groups.astype(np.int64).ravel() * count + labels.ravel()
        confusion += np.bincount(pairs, minlength=count**2).reshape(count, count)
    return confusion


def figures_of(isolation: Isolation, photos: Sequence[StreetPhoto]) -> dict[str, float]:
    """IoU by group, and the mean over all six garment groups and over the five of a search.

    A group that neither the photos nor the answers show has no figure.
    """
    values = intersection_over_union(confusion_of(isolation, photos)).tolist()
    known = {group: iou for group, iou in zip(GROUPS, values, strict=True) if not np.isnan(iou)}
    garments = [known[group] for group in GARMENTS if group in known]
    searched = [known[group] for group in GARMENTS if group in known and group != "other"]
    figures = known | {"mean": np.mean(garments), MEAN_SEARCHED: np.mean(searched)}
    return {f"iou/{name}": round(float(value), 4) for name, value in figures.items()}


def train(
    parts: dict[str, list[StreetPhoto]],
    epochs: int,
    seed: int,
    start: Isolation | None = None,
    workers: int = 1,
) -> Isolation:
    """A network trained on `parts["train"]`, its weights averaged over the last steps.

    Args:
        parts: Of `split_street`.
        epochs: How often each photo is seen; with 0, `start` is returned as it is.
        seed: Of weights and views.
        start: Trained further, in place; without it a new network is made.
        workers: Processes that make views; 0 for none.
    """
    seed_everything(seed, verbose=False)
    isolation = start or Isolation(SegmentationNetwork(SegmentationConfig()))
    if epochs == 0:
        return isolation
    size = isolation.preprocessing
    views = Views(parts["train"], StreetViews(size.height, size.width), epochs, seed)
    loader = DataLoader(views, BATCH, num_workers=workers)
    module = IsolationModule(isolation, len(loader))
    trainer = Trainer(
        max_epochs=1,  # the data set is the whole training
        accelerator="cpu",
        precision=training_precision("cpu"),
        callbacks=[EMAWeightAveraging(decay=max(0.0, 1 - 1 / (AVERAGED * len(loader))))],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
    )
    with failing_when_stopped():
        trainer.fit(module.train(), loader)
    return Isolation(module.network, isolation.preprocessing)


def table_of(figures: dict[str, float]) -> str:
    """IoU by group, a column for validation and one for test, as text."""
    parts = ("validation", "test")
    rows = [f"{'IoU':<20}" + "".join(f"{part:>12}" for part in parts)]
    for name in (*GROUPS, "mean", MEAN_SEARCHED):
        cells = (figures.get(f"{part}/iou/{name}") for part in parts)
        rows.append(
            f"{name:<20}" + "".join(f"{'-' if c is None else format(c, '.3f'):>12}" for c in cells)
        )
    return "\n".join(rows)


def scale(text: str) -> float:
    """One of --scales, as argparse reads it."""
    value = float(text)
    if not 0.25 <= value <= 4:
        raise argparse.ArgumentTypeError(f"{text} is no scale from 0.25 to 4")
    return value


def start_of(arguments: argparse.Namespace) -> Isolation | None:
    """What the training begins with, `None` for a new network.

    Raises:
        UserError: The file named cannot be used.
    """
    if arguments.start is not None:
        return networks_of([arguments.start])[0]
    if arguments.encoder is None:
        return None
    known = load_checkpoint(arguments.encoder)
    colours = known.preprocessing
    seen = replace(SEEN, mean=colours.mean, std=colours.std)
    seed_everything(arguments.seed, verbose=False)  # of the way up
    return Isolation(network_of(known.encoder), seen)


def networks_of(files: Sequence[str]) -> list[Isolation]:
    """The isolations of files, of one network each.

    Raises:
        UserError: A file cannot be used, or holds several networks.
    """
    isolations = [load_isolation(file) for file in files]
    for file, isolation in zip(files, isolations, strict=True):
        if isolation.beside:
            raise UserError(
                f"{file}: holds {1 + len(isolation.beside)} networks; name files of one each"
            )
    return isolations


def main(words: Sequence[str]) -> int:
    """Command line: train, measure, save."""
    parser = argparse.ArgumentParser(prog="datasets.isolation_training", description=__doc__)
    parser.add_argument("--folder", default="../shared/data/street", help="street photos")
    parser.add_argument("--out", default="checkpoints/isolation.safetensors")
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help="0 with --start: measure that file only"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training; the split is fixed")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start", help="a file of this program to train further, same split")
    parser.add_argument(
        "--beside",
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of this program whose networks answer together with this one, same split",
    )
    parser.add_argument(
        "--scales",
        nargs="+",
        type=scale,
        default=[1.0],
        help="each network sees a photo once for each, this many times as large as in training",
    )
    start.add_argument(
        "--encoder",
        help="model.safetensors of a training: the network begins with what its small_resnet knows",
    )
    arguments = parser.parse_args(words)
    if arguments.epochs < (1 if arguments.start is None else 0):
        parser.error("--epochs must be at least 1, or 0 with --start")
    if not 0 <= arguments.seed < 2**32:
        parser.error("--seed must be from 0 to 4294967295")
    quieten()
    keep_freed_memory()
    started = time.perf_counter()
    try:
        check_writable(arguments.out)
        parts = split_street(read_street(arguments.folder), **HELD_OUT)
        first, beside = start_of(arguments), networks_of(arguments.beside)
        isolation = train(parts, arguments.epochs, arguments.seed, first)
        isolation.beside, isolation.scales = beside, tuple(arguments.scales)
        isolation.trained_on = f"{len(parts['train'])} photos of {arguments.folder}"
        for part in HELD_OUT:
            measured = figures_of(isolation, parts[part])
            isolation.figures |= {f"{part}/{name}": value for name, value in measured.items()}
        save_isolation(isolation, arguments.out)
    except (UserError, OSError) as error:
        print(f"datasets.isolation_training: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - started
    print(f"{table_of(isolation.figures)}\n{arguments.out}: written, {seconds:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
