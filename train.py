"""Train on a manifest of product and person photos, then print both reports.

    uv run train.py                                  # the demo, configs/default.yaml
    uv run train.py --config configs/baseline.yaml   # the LookBook report's recipe
    uv run train.py --config configs/real.yaml --trainer.max_epochs 60
    uv run train.py --ckpt_path last                 # go on after a kill

The run's folder (`trainer.default_root_dir`) then holds model.safetensors and manifest.csv for
infer.py, best.ckpt and last.ckpt, config.yaml, report.json, learning_curves.png,
hits_and_misses.png, and in log/ the metrics as CSV.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import wandb
from jsonargparse import Namespace
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from datasets.cache import CachedPhotos
from datasets.manifest import write_manifest
from datasets.module import ProductPhotos
from siamese.callbacks import Speed
from siamese.checkpoint import Checkpoint
from siamese.cli import TrainingCLI, failing_when_stopped, quieten, wandb_mode
from siamese.cohort import cohort_of, sample
from siamese.errors import UserError
from siamese.evaluation import evaluate, fit
from siamese.evaluation_report import Evaluation
from siamese.module import SiameseModule
from siamese.pair_score import Calibration
from siamese.runs import Cost, Run, compare_runs, read_run
from siamese.runtime import available_cores, keep_freed_memory

# What tells a process its place among those of a training on several devices.
OF_A_GROUP = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.yaml"


def finish(module: SiameseModule, data: ProductPhotos, label: str) -> tuple[Checkpoint, Evaluation]:
    """Fit the score on validation products, and report on the test products.

    Those of the training, which no photo of the other splits shows, are the cohort.
    """
    encoder = module.encoder.cpu()
    checkpoint = Checkpoint(encoder, module.preprocessing, Calibration(), label)

    def embedded(cached: CachedPhotos, slots: np.ndarray) -> Tensor:
        chunks = np.array_split(slots, range(128, len(slots), 128))
        return torch.cat([checkpoint.embed_pixels(cached.pixels[chunk]) for chunk in chunks])

    def of_split(split: str) -> tuple[Tensor, pd.DataFrame]:
        frame, cached = data.part(split)
        return embedded(cached, cached.slot), frame

    frame, cached = data.part("train")
    known = np.flatnonzero(frame["role"] == "product")
    known = known[sample(len(known))]
    checkpoint.own_cohort = cohort_of(
        embedded(cached, cached.slot[known]), frame["product_id"].iloc[known].tolist()
    )
    raw = Calibration() if module.loss == "bare_sigmoid" else None
    cohort = checkpoint.cohort
    checkpoint.calibration = fit(*of_split("validation"), raw, cohort=cohort)
    report = evaluate(*of_split("test"), checkpoint.calibration, cohort=cohort)
    return checkpoint, report


def train(arguments: list[str]) -> None:
    """One run from settings to reports."""
    cli = TrainingCLI(ProductPhotos, DEFAULT_CONFIG, arguments)
    trainer, module, data = cli.trainer, cli.model, cli.datamodule
    folder = Path(trainer.default_root_dir)
    data.preprocessing = module.preprocessing
    torch.set_num_threads(max(1, available_cores() - data.workers))  # they wait for each other
    check_rivals(cli.config["rivals"], folder)
    try:
        with failing_when_stopped():
            trainer.fit(module, data, ckpt_path=resume_from(cli.config["ckpt_path"], folder))
    except SystemExit:  # Lightning's answer to Control-C, and to SIGTERM
        if trainer.interrupted and trainer.is_global_zero:
            print(f"\ninterrupted; {remedy_of(cli)}", file=sys.stderr)
        raise
    except ValueError as error:
        if "val_check_interval" in str(error):
            raise UserError(f"--trainer: {error}") from error
        raise
    if not trainer.is_global_zero:
        return
    if cli.config["trainer"]["fast_dev_run"]:
        print("fast_dev_run: a batch went through training and validation; nothing was saved")
        return
    # Not whatever best.ckpt lies there: without epochs or validation this run has none.
    if best := cli.watchers.checkpoints.best_model_path:
        weights = torch.load(best, map_location="cpu", weights_only=True)
        module.load_state_dict(weights["state_dict"])
    checkpoint, evaluation = finish(module, data, f"{data.path} ({len(data.frame)} photos)")
    checkpoint.save(folder / "model.safetensors")
    history = cli.watchers.curves.history
    cost = cost_of(module, cli.watchers.speed, history[-1]["seconds"] if history else 0.0)
    runs = {folder.name: Run(cost, history, evaluation)}
    runs[folder.name].save(folder / "report.json")
    if data.path.resolve() != (folder / "manifest.csv").resolve():  # that table is the user's
        write_manifest(data.frame, folder / "manifest.csv")
    failed = []
    for rival in map(Path, cli.config["rivals"]):
        run = run_rival(rival, cli.config, folder)
        if run is None:
            failed.append(str(rival))
        else:
            runs[rival.stem] = run
    print(f"\n{compare_runs(runs)}\n\nsaved {folder}/model.safetensors")
    if failed:
        raise UserError(f"{', '.join(failed)}: failed, see above; mend it or leave it out")


def remedy_of(cli: TrainingCLI) -> str:
    """How an interrupted run can go on: what another run left in its folder is not its own."""
    if cli.watchers.last.best_model_path:
        return "--ckpt_path last goes on after the last epoch"
    if choice := cli.config["ckpt_path"]:
        return f"--ckpt_path {choice} goes on where it began"
    return "its first epoch did not end, so there is nothing to go on from"


def resume_from(choice: str | None, folder: Path) -> Path | None:
    """The file that `--ckpt_path` means, if it is a training checkpoint."""
    if not choice:
        return None
    path = folder / "last.ckpt" if choice == "last" else Path(choice)
    if not path.is_file():
        raise UserError(f"{path}: no training checkpoint to go on from; leave out --ckpt_path")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        parts = {"state_dict", "optimizer_states", "callbacks", "pytorch-lightning_version"}
        if not isinstance(found, dict) or parts - found.keys():
            raise TypeError(f"{type(found).__name__} without all of {', '.join(sorted(parts))}")
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, TypeError) as error:
        raise UserError(f"{path}: no training checkpoint, or damaged; give a last.ckpt") from error
    return path


def check_rivals(rivals: list[str], folder: Path) -> None:
    """Raise `UserError` before the training for what would stop the rivals after it."""
    names = [folder.name, *(Path(rival).stem for rival in rivals)]
    for rival in rivals:
        if not Path(rival).is_file():
            raise UserError(f"{rival}: no such config among --rivals; check the path")
        if names.count(Path(rival).stem) > 1:
            raise UserError(
                f"{rival}: another line of the report has its name; rename it, or choose another "
                "--trainer.default_root_dir"
            )


def cost_of(module: SiameseModule, speed: Speed, seconds: float) -> Cost:
    """What the training took; the memory is that of this process at its largest."""
    return Cost(
        seconds=seconds,
        images_per_second=speed.images_per_second,
        peak_memory_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        parameters=sum(parameter.numel() for parameter in module.encoder.parameters()),
    )


def run_rival(config: Path, own: Namespace, folder: Path) -> Run | None:
    """Run another recipe on the same data; None if it fails.

    In a process of its own, whose memory is its own, and which is no part of this one's group.
    """
    place, data = folder / config.stem, own["data"]
    settings = {
        "--config": config,
        "--trainer.default_root_dir": place,
        "--data.reader": data["reader"],
        "--data.path": data["path"],
        "--data.options": json.dumps(data["options"]),
        "--data.cache": data["cache"],
        "--data.broken_limit": data["broken_limit"],
        "--wandb": own["wandb"],
        "--seed_everything": own["seed_everything"],
        "--rivals": "[]",
    }
    words = [str(word) for pair in settings.items() for word in pair]
    command = [sys.executable, __file__, *words]
    alone = {name: value for name, value in os.environ.items() if name not in OF_A_GROUP}
    done = subprocess.run(command, stdout=subprocess.DEVNULL, env=alone)  # noqa: S603 (our own)
    return None if done.returncode else read_run(place / "report.json")


def main(arguments: list[str]) -> int:
    """Exit status; bad input is one line on stderr."""
    os.environ.setdefault("WANDB_MODE", wandb_mode())
    os.environ.setdefault("WANDB_SILENT", "true")
    keep_freed_memory()
    quieten()
    try:
        train(arguments)
    except (UserError, MisconfigurationException) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except wandb.Error as error:
        reason = " ".join(str(error).split())
        remedy = "WANDB_MODE=offline keeps the log here, --wandb false leaves it out"
        print(f"train.py: Weights & Biases: {reason}; {remedy}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, mostly, of which writers seldom say the file
        remedy = "free space, or write elsewhere by --trainer.default_root_dir and --data.cache"
        print(f"train.py: {error}; {remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
