"""Two recipes on the same test pairs, at the recall that the second has at the threshold .5.

    uv run python benchmarks/equal_recall.py checkpoints/real checkpoints/real/baseline

Recall alone can be had by saying yes to everything; at equal recall, precision tells them apart.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from datasets.manifest import read_manifest
from siamese.boxes import boxes_of
from siamese.checkpoint_file import load_checkpoint
from siamese.commands import embed_with_bar
from siamese.errors import UserError
from siamese.evaluation import PAIRS_PER_PRODUCT, codes
from siamese.verification import draw_pairs, verify


def probabilities(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of the test pairs of a run's own report, and whether each is of one product."""
    manifest = read_manifest(run / "manifest.csv")
    frame = manifest[manifest["split"] == "test"].reset_index(drop=True)
    checkpoint = load_checkpoint(run / "model.safetensors")
    people = (frame["role"] == "person").tolist()
    found = embed_with_bar(checkpoint, frame["path"].tolist(), boxes_of(frame), people)
    if found.broken:
        raise next(iter(found.broken.values()))
    embedding = found.embeddings
    pairs = draw_pairs(*codes(frame), PAIRS_PER_PRODUCT)
    cosine = (embedding[pairs.product_photo] * embedding[pairs.person_photo]).sum(dim=1)
    return checkpoint.calibration.probability(cosine.double()).numpy(), pairs.same


def main() -> None:
    """One line per run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("first", type=Path, help="folder of a training")
    parser.add_argument("second", type=Path, help="the one whose recall is taken")
    arguments = parser.parse_args()
    first, second = arguments.first, arguments.second
    theirs = verify(*probabilities(second))
    probability, same = probabilities(first)
    threshold = float(np.sort(probability[same])[theirs.false_negatives])  # as many are missed
    for run, report in ((first, verify(probability, same, threshold)), (second, theirs)):
        print(f"{run}: recall {report.recall:.3f}, precision {report.precision:.3f}")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"equal_recall.py: {error}")
