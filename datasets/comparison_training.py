"""Trains a comparison: is this the product that the person wears, both photos seen together?

python -m datasets.comparison_training MANIFEST --encoder "a.safetensors + b.safetensors"
python -m datasets.comparison_training MANIFEST --start-from checkpoints/shipped/model.safetensors
python -m datasets.comparison_training MANIFEST --start-from … --fine-tune

Networks that stay as they are look at each photo a few times, in views that differ; what all of
their levels see at each position is what the head (`siamese.comparison_head`) learns to compare,
among products that look alike; with `--fine-tune` they learn, too (`datasets.comparison_tuning`).
`infer.py calibrate --comparison` puts it beside an encoder.

Shapes: R photos, V views of each, P products in a batch, N positions, C channels of all levels.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import seed_everything
from torch import Tensor
from torch.nn import functional

from datasets.cache import CachedPhotos, cache_photos
from datasets.comparison_tuning import TuningModule, pixels_of
from datasets.head_training import (
    HeadModule,
    fit_head,
    head_parser,
    parse_head,
    studied_photos,
)
from datasets.joint_batches import Batch, ProductBatches, Seen
from datasets.manifest import BOX
from datasets.module import ProductPhotos
from datasets.views import CHUNK, views_of_ways
from siamese.boxes import has_box
from siamese.checkpoint import Checkpoint
from siamese.cli import quieten
from siamese.comparison import Comparison, levels_of, maps_of
from siamese.comparison_file import comparison_at, save_comparison
from siamese.comparison_head import ComparisonHead, HeadConfig
from siamese.concatenation import concatenated, with_levels
from siamese.encoder import ConcatenationConfig
from siamese.errors import UserError
from siamese.evaluation import codes
from siamese.extractors import extractor
from siamese.files import check_writable
from siamese.runtime import available_cores, keep_freed_memory, training_precision

GROUPS, ALIKE = 8, 4  # of a batch, and products of each that look alike
LARGEST = 65504.0  # of float16

Photos = tuple[pd.DataFrame, CachedPhotos]  # rows of a manifest, and their pixels


class ComparisonModule(HeadModule):
    """InfoNCE both ways: the right product among the batch's, and the right person.

    Args:
        head: Trained in place.
        steps: Of the whole training.
    """

    def __init__(self, head: ComparisonHead, steps: int) -> None:
        super().__init__(steps)
        self.head = head

    def training_step(self, batch: Batch, _: int) -> Tensor:
        people, things = (self.head.seen(side) for side in (batch.person, batch.thing))
        return self.loss_of(self.head(people, things))


def comparison_of(networks: Checkpoint) -> Comparison:
    """Networks, their levels shown, and a head that is to be trained.

    Raises:
        UserError: None of them shows any, or they are adapted.
    """
    if networks.adaptation is not None:
        raise UserError("a comparison needs an encoder that is not adapted to a shop")
    if not isinstance(networks.encoder.config, ConcatenationConfig):
        networks = concatenated([networks])
    config = networks.encoder.config
    assert isinstance(config, ConcatenationConfig)
    if any(part.encoder.backbone == "small_resnet" for part in config.parts):
        networks = with_levels(networks)
    size = networks.preprocessing
    photo = networks.normalised(torch.zeros(1, size.height, size.width, 3, dtype=torch.uint8))
    with torch.inference_mode():
        levels = levels_of(networks.encoder, photo)
    sizes = HeadConfig(channels=sum(level.shape[1] for each in levels for level in each))
    return Comparison(networks.encoder, size, ComparisonHead(sizes), networks.trained_on)


def as_without_boxes(photos: ProductPhotos) -> Photos:
    """The training photos, those of people as a search that is told no box sees them.

    Raises:
        UserError: None of these has one.
    """
    frame, _ = photos.part("train")
    boxed = (frame["role"] == "person") & has_box(frame)
    if not boxed.any():
        raise UserError(
            f"{photos.path}: no training photo of a person has a box, so --whole shows nothing new"
        )
    frame.loc[boxed, list(BOX)] = np.nan
    return frame, cache_photos(frame, photos.preprocessing, photos.cache, available_cores())


@torch.inference_mode()
def look(
    comparison: Comparison,
    ways: Sequence[Photos],
    views: int,
    light: float,
    seed: int,
    file: Path,
    keep_standardisation: bool = False,
) -> Seen:
    """What the networks see in all photos, and the head's standardisation fitted to it.

    Args:
        comparison: Its head's standardisation is fitted.
        ways: R photos in one or several ways.
        views: Of each photo in each way.
        light, seed: As of `views_of`.
        file: Where it is kept, for it can be larger than the memory.
        keep_standardisation: Whether the head has learned with its own, which then stays.

    Returns:
        Standardised features, float16 (V, R, N, C); what is beside them are means and deviations
        over positions.
    """
    config = comparison.head.config
    photos = len(ways[0][0])
    shape = (len(ways) * views, photos, config.rows * config.columns, config.channels)
    maps = np.memmap(file, np.float16, "w+", shape=shape)
    fast = training_precision("cpu") == "bf16-mixed"
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        for view, rows, pixels in views_of_ways(ways, views, light, seed, comparison.focus):
            shown = comparison.normalised(torch.from_numpy(pixels))
            seen = maps_of(comparison.encoder, shown, config).clamp(-LARGEST, LARGEST)
            maps[view, rows] = seen.half().cpu().numpy()
    if not keep_standardisation:
        _fit_standardisation(maps[0], comparison.head)
    return _standardised(maps, comparison.head, ways[0][0])


def _fit_standardisation(maps: np.ndarray, head: ComparisonHead) -> None:
    """That of a head to maps, (R, N, C), a few photos at a time."""
    total = torch.zeros(2, maps.shape[2], dtype=torch.double)
    for start in range(0, len(maps), CHUNK):
        photos = torch.from_numpy(maps[start : start + CHUNK]).double().flatten(0, 1)
        total += torch.stack([photos.sum(dim=0), photos.square().sum(dim=0)])
    mean, square = total / (maps.shape[0] * maps.shape[1])
    head.standardisation.set(mean, (square - mean.square()).clamp(min=0).sqrt())


def _standardised(maps: np.ndarray, head: ComparisonHead, frame: pd.DataFrame) -> Seen:
    """Maps, changed in place, and what tells which products look alike."""
    chunks = [slice(start, start + CHUNK) for start in range(0, maps.shape[1], CHUNK)]
    alike = []
    for view in range(len(maps)):
        for rows in chunks:
            normal = head.standardised(torch.from_numpy(maps[view, rows]))
            if view == 0:
                alike.append(torch.cat([normal.mean(dim=1), normal.std(dim=1)], dim=1))
            maps[view, rows] = normal.half().numpy()
    seen = torch.cat(alike)
    beside = functional.normalize(seen - seen.mean(dim=0), dim=1)
    return Seen(maps, beside.expand(len(maps), -1, -1), *codes(frame))


def train(module: ComparisonModule | TuningModule, seen: Seen, seed: int, dropout: float) -> None:
    """Train a head, or a whole comparison, in place.

    Args:
        module: Its head's standardisation is fitted.
        seen: What it takes of all photos.
        seed: Of the batches.
        dropout: Share of the channels that each photo goes without, drawn anew for each batch.

    Raises:
        UserError: As of `ProductBatches`.
    """
    module.head.dropout.p = dropout
    batches = ProductBatches(seen, module.steps, seed, groups=(GROUPS, ALIKE))
    fit_head(module, batches)
    module.eval()


def learn(comparison: Comparison, ways: Sequence[Photos], choice: argparse.Namespace) -> None:
    """Look at the training photos as the command line says, and train in place.

    Raises:
        UserError: As of `ProductBatches`.
        OSError: What is looked at cannot be kept.
    """
    known = choice.start_from is not None
    choice.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="comparison-", dir=choice.cache) as folder:
        maps, drawn = Path(folder, "maps"), (choice.light, choice.seed)
        if choice.fine_tune:
            alike = look(comparison, ways[:1], 1, *drawn, maps, known)
            photos = pixels_of(comparison, ways, choice.views, *drawn, Path(folder, "pixels"))
            beside = alike.beside.expand(len(photos), -1, -1)
            seen = alike._replace(features=photos, beside=beside)
            module: ComparisonModule | TuningModule = TuningModule(comparison, choice.steps)
        else:
            seen = look(comparison, ways, choice.views, *drawn, maps, known)
            module = ComparisonModule(comparison.head, choice.steps)
        train(module, seen, choice.seed, choice.dropout)


def main(words: Sequence[str]) -> int:
    """Command line: look at the training photos, train, save."""
    parser = head_parser("datasets.comparison_training", __doc__, 4, 0.2, 600, 0.5)
    networks = parser.add_mutually_exclusive_group(required=True)
    networks.add_argument(
        "--start-from",
        metavar="FILE",
        help="go on with that comparison, or with that of that checkpoint: a few steps on a few "
        "hundred pairs do",
    )
    networks.add_argument(
        "--encoder",
        help="networks side by side, as of infer.py, of weight 0 where they show their levels "
        "alone; those that were not trained on the manifest say more",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="as many views again, in which photos of people with a box are seen as without it",
    )
    parser.add_argument(
        "--fine-tune",
        action="store_true",
        help="train the networks, too: several times as long, and finds far more of a shop's "
        "products",
    )
    choice = parse_head(parser, words)
    quieten()
    keep_freed_memory()
    started = time.perf_counter()
    try:
        check_writable(choice.out)
        seed_everything(choice.seed, verbose=False)
        if choice.start_from is None:
            comparison = comparison_of(extractor(choice.encoder, studied=True))
        else:
            comparison = comparison_at(choice.start_from)
        photos = studied_photos(choice, comparison.preprocessing)
        ways = [photos.part("train")]
        if choice.whole:
            ways.append(as_without_boxes(photos))
        learn(comparison, ways, choice)
        save_comparison(comparison, choice.out)
    except (UserError, OSError) as error:
        print(f"datasets.comparison_training: {error}", file=sys.stderr)
        return 1
    print(f"{choice.out}: written, {time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
