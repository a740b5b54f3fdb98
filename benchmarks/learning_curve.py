"""How many pairs are worth it? The joint embedding, trained on more and more of them.

    uv run python benchmarks/learning_curve.py checkpoints/research/manifest.csv

As "train on your own pairs" of the README does it: `datasets.joint_training` from the shipped
weights, `calibrate` on the validation products, here with the first of shuffled training products;
each seed shuffles them anew. None is the shipped weights, calibrated likewise. The networks look at
all training photos once, for all of the trainings.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
from pytorch_lightning import seed_everything
from tqdm import tqdm

from datasets.joint_training import Seen, look, train
from datasets.manifest import read_manifest
from datasets.module import ProductPhotos
from siamese.checkpoint import Checkpoint
from siamese.cli import quieten
from siamese.concatenation import with_joint_head
from siamese.default_checkpoint import SHIPPED
from siamese.errors import UserError
from siamese.evaluation_commands import calibrate, evaluate
from siamese.evaluation_report import Evaluation
from siamese.extractors import extractor
from siamese.runtime import keep_freed_memory

SIZE, WEIGHT, STEPS, VIEWS, LIGHT = 256, 4.0, 600, 4, 0.2  # as in the README


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--encoder", default=str(SHIPPED), help="encoders side by side")
    parser.add_argument(
        "--counts", type=int, nargs="+", help="of products to study; by default doubling up to all"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--cache", type=Path, default=Path("data/cache"))
    arguments = parser.parse_args()
    quieten()
    keep_freed_memory()
    given = extractor(arguments.encoder)
    manifest = read_manifest(arguments.manifest)
    studied = manifest.loc[manifest["split"] == "train", "product_id"].nunique()
    planned = list(trainings(arguments.counts, studied, arguments.seeds))
    photos = ProductPhotos("manifest", str(arguments.manifest), cache=str(arguments.cache))
    photos.preprocessing = given.preprocessing
    photos.prepare_data()
    seen = look(given, *photos.part("train"), VIEWS, LIGHT, seed=0)
    lines = []
    for count, seed in tqdm(planned, desc="training", disable=None):
        started = time.perf_counter()
        encoder = trained(given, part_of(seen, count, seed), seed) if count else replace(given)
        seconds = time.perf_counter() - started
        calibrate(encoder, manifest, "validation")
        lines.append(line(count, evaluate(encoder, manifest, arguments.split), seconds))
    print(table(pd.DataFrame(lines)))


def trainings(counts: list[int] | None, everything: int, seeds: int) -> Iterator[tuple[int, int]]:
    """Number of products and seed of each training; 0 once, for nothing is drawn there.

    Raises:
        UserError: A count is neither 0 nor from 2 to `everything`.
    """
    if counts is None:
        halves = [everything >> times for times in range(5, -1, -1)]
        counts = [0, *(half for half in halves if half >= 2)]
    for count in counts:
        if count != 0 and not 2 <= count <= everything:
            raise UserError(f"--counts {count}: must be 0, or from 2 to {everything}")
        yield from ((count, seed) for seed in range(seeds if count else 1))


def part_of(seen: Seen, count: int, seed: int) -> Seen:
    """The photos of the first products, once they are shuffled."""
    products = np.random.default_rng(seed).permutation(np.unique(seen.product))[:count]
    rows = np.flatnonzero(np.isin(seen.product, products))
    return Seen(
        seen.features[:, rows], seen.beside[:, rows], seen.product[rows], seen.is_person[rows]
    )


def trained(given: Checkpoint, seen: Seen, seed: int) -> Checkpoint:
    """The encoder with its joint embedding trained further on these photos."""
    seed_everything(seed, verbose=False)
    checkpoint = with_joint_head(given, SIZE, WEIGHT)
    train(checkpoint.encoder, seen, STEPS, seed)
    checkpoint.encoder.eval()
    return checkpoint


def line(count: int, found: Evaluation, seconds: float) -> dict[str, float]:
    """What the table averages."""
    ranking, missing = found.retrieval["all"], found.open_set["half of the products"]
    return {
        "products": count,
        "top-1": ranking.top[1],
        "top-5": ranking.top[5],
        "top-20": ranking.top[20],
        "mean reciprocal rank": ranking.mean_reciprocal_rank,
        "pairs right": found.verification["at fitted threshold"].accuracy,
        "AUROC": missing.auroc,
        "seconds": seconds,
    }


def table(lines: pd.DataFrame) -> str:
    """Markdown: mean and standard deviation over the seeds of each number of products."""
    groups = lines.groupby("products")
    mean, spread = groups.mean(), groups.std(ddof=1)
    shown = pd.DataFrame(index=mean.index)
    for name in mean.columns.drop("seconds"):
        shown[name] = [
            f"{value:.3f}" + ("" if np.isnan(around) else f" ± {around:.3f}")
            for value, around in zip(mean[name], spread[name], strict=True)
        ]
    shown["seconds"] = mean["seconds"].round().astype(int)
    rows = [shown.reset_index().columns.tolist(), *shown.reset_index().to_numpy().tolist()]
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in ruled)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"learning_curve.py: {error}")
