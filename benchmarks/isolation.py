"""Does it help to say where the garment is, and to take away what is around it?

    uv run python benchmarks/isolation.py checkpoints/real/manifest.csv [--split validation]

Photos of people are asked as they are, cropped to the garment that the isolation network finds
(`search --garment upper`), and with all but that garment painted white (`--remove-background`).
Where it finds none, the whole photo is asked in all three.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import pandas as pd

from datasets.manifest import read_manifest
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import SHIPPED
from siamese.embedding import embed_all
from siamese.errors import UserError
from siamese.evaluation import evaluate
from siamese.evaluation_report import Evaluation, side_by_side
from siamese.garment_choice import GarmentChoice
from siamese.isolation import CHOICES
from siamese.isolation_file import load_isolation
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Box


def main() -> None:
    """Print the reports of the three ways, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--isolation", type=Path, default=Path("checkpoints/isolation.safetensors"))
    parser.add_argument("--garment", default="upper", choices=CHOICES)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.checkpoint)
    isolation = load_isolation(arguments.isolation)
    manifest = read_manifest(arguments.manifest)
    frame = manifest[manifest["split"] == arguments.split].reset_index(drop=True)
    ways = {
        "whole": None,
        "cropped": GarmentChoice(isolation, arguments.garment),
        "cut out": GarmentChoice(isolation, arguments.garment, remove_background=True),
    }
    print(side_by_side({way: report(checkpoint, frame, choice) for way, choice in ways.items()}))


def report(checkpoint: Checkpoint, frame: pd.DataFrame, choice: GarmentChoice | None) -> Evaluation:
    """The reports of one way to ask; says how many photos are asked as a whole nevertheless."""
    people = (frame["role"] == "person").tolist()
    photos: list[PhotoSource] = frame["path"].tolist()
    boxes: list[Box | None] = [None] * len(photos)
    if choice is not None:
        rows = [row for row, person in enumerate(people) if person]
        parts = choice.parts_of([photos[row] for row in rows])
        for row, part in zip(rows, parts, strict=True):
            if not isinstance(part, PhotoError):
                photos[row], boxes[row] = part
        lost = sum(isinstance(part, PhotoError) for part in parts)
        print(f"{lost} of {len(rows)} photos without such a garment", file=sys.stderr)
    found = embed_all(checkpoint, photos, boxes, people=people)
    if found.broken:
        raise SystemExit(next(iter(found.broken.values())))
    return evaluate(found.embeddings, frame, checkpoint.calibration, cohort=checkpoint.cohort)


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"isolation.py: {error}")
