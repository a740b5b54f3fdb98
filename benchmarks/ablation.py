"""What each ingredient of training is worth on real pairs: mean and spread over seeds.

    uv run python benchmarks/ablation.py                      # all lines, three seeds each
    uv run python benchmarks/ablation.py --lines base infonce --seeds 0 1

A small encoder and few epochs, so that a line takes minutes; what counts is the difference to
`base`. Figures are of the validation products. A run that is there already is not repeated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from siamese.errors import UserError
from siamese.runs import TARGET, read_run

ROOT = Path(__file__).parent.parent
COMMON = (
    "--config configs/real.yaml --rivals [] --wandb false --trainer.max_epochs 25 "
    "--model.encoder.widths [32,64,128]"
)
MILDER = "--model.loss infonce --data.view_strength 0.6 --data.erase 0.1"
LINES = {
    "base": "",
    "infonce": "--model.loss infonce",
    "milder views": MILDER,
    "steadier light": f"{MILDER} --data.view_light 0.2",
    "supcon": f"{MILDER} --model.loss supcon",
    "64 numbers": f"{MILDER} --model.encoder.embedding_size 64",
    "512 numbers": f"{MILDER} --model.encoder.embedding_size 512",
}


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("checkpoints/ablation"))
    choice = parser.parse_args()
    print("| line | options | top-1 | mean reciprocal rank |\n|---|---|---|---|")
    for line in choice.lines:
        rows = np.array([validation_of(line, seed, choice.folder) for seed in choice.seeds])
        figures = " | ".join(
            f"{mean:.3f} ± {spread:.3f}"
            for mean, spread in zip(rows.mean(axis=0), rows.std(axis=0, ddof=1), strict=True)
        )
        print(f"| {line} | `{LINES[line]}` | {figures} |", flush=True)


def validation_of(line: str, seed: int, folder: Path) -> tuple[float, float]:
    """Top-1 and mean reciprocal rank after the last epoch of one run."""
    place = folder.resolve() / f"{line.replace(' ', '-')}-{seed}"
    if not (place / "report.json").exists():
        words = f"{COMMON} {LINES[line]} --seed_everything {seed}".split()
        command = [sys.executable, "train.py", *words, "--trainer.default_root_dir", str(place)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr)
        if done.returncode:
            raise UserError(f"{place}: the training failed, see above")
    last = read_run(place / "report.json").history[-1]
    return last["validation/top_1"], last[TARGET]


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f"ablation.py: {error}")
