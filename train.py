"""Train on a manifest of product and person photos, then print both reports.

    uv run train.py                                  # the demo, configs/default.yaml
    uv run train.py --config configs/baseline.yaml   # the LookBook report's recipe
    uv run train.py --config configs/real.yaml --trainer.max_epochs 60
    uv run train.py --ckpt_path last                 # go on after a kill

The run's folder (`trainer.default_root_dir`) then holds model.safetensors for infer.py, best.ckpt
and last.ckpt, config.yaml, report.json, metrics.csv, learning_curves.png, hits_and_misses.png.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any

from siamese.runtime import available_cores, keep_freed_memory

keep_freed_memory()  # before anything large is allocated

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pytorch_lightning import LightningModule, Trainer  # noqa: E402
from pytorch_lightning.cli import (  # noqa: E402
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from pytorch_lightning.loggers import CSVLogger, WandbLogger  # noqa: E402
from torch import Tensor  # noqa: E402

from datasets.module import ProductPhotos  # noqa: E402
from siamese.callbacks import ImagesPerSecond, training_callbacks  # noqa: E402
from siamese.checkpoint import Checkpoint  # noqa: E402
from siamese.errors import UserError  # noqa: E402
from siamese.evaluation import Evaluation, evaluate, fit  # noqa: E402
from siamese.files import replacing  # noqa: E402
from siamese.module import SiameseModule  # noqa: E402
from siamese.pair_score import Calibration  # noqa: E402

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "default.yaml"


class TrainingCLI(LightningCLI):
    """Settings by YAML and command line; what every run has in common is set here."""

    def __init__(self, arguments: list[str]) -> None:
        if not any(a.split("=")[0] in ("--config", "-c") for a in arguments):
            arguments = ["--config", str(DEFAULT_CONFIG), *arguments]
        super().__init__(
            SiameseModule,
            ProductPhotos,
            run=False,
            args=arguments,
            seed_everything_default=0,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            trainer_defaults={
                "precision": "bf16-mixed",
                "use_distributed_sampler": False,  # the batches are shared out by ourselves
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 10,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """`--ckpt_path`, and one seed for all that draws."""
        parser.add_argument(
            "--ckpt_path", default=None, help="`last` or a file: go on with an interrupted run"
        )
        parser.add_argument("--wandb", default=True, type=bool, help="Log to Weights & Biases")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def instantiate_trainer(self, **keywords: Any) -> Trainer:
        """The trainer, with loggers and callbacks that write into the run's folder."""
        settings = self.config_init["trainer"]
        folder = Path(settings["default_root_dir"] or "checkpoints/run")
        if settings["logger"] is None and not settings["fast_dev_run"]:
            keywords["logger"] = [CSVLogger(folder, name="log")]
            if self.config_init["wandb"]:
                keywords["logger"].append(WandbLogger(project="siamese", save_dir=folder))
        chosen = settings["callbacks"] or []
        keywords["callbacks"] = [*chosen, *training_callbacks(folder)]
        return super().instantiate_trainer(**keywords)


class SaveConfig(SaveConfigCallback):
    """The resolved config, beside the checkpoints rather than beside the log."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        path = Path(trainer.default_root_dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, path, skip_none=False, overwrite=True)


def wandb_mode() -> str:
    """`online` for users who have logged in, `offline` for others, who thus need no account."""
    try:
        known = netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        known = False
    return "online" if known or os.environ.get("WANDB_API_KEY") else "offline"


def finish(module: SiameseModule, data: ProductPhotos, label: str) -> tuple[Checkpoint, Evaluation]:
    """Fit the score on validation products, and report on the test products."""
    encoder = module.encoder.cpu()
    checkpoint = Checkpoint(encoder, module.preprocessing, Calibration(), label)

    def embedded(split: str) -> tuple[Tensor, pd.DataFrame]:
        frame, cached = data.part(split)
        chunks = np.array_split(cached.slot, range(128, len(frame), 128))
        return torch.cat([checkpoint.embed_pixels(cached.pixels[c]) for c in chunks]), frame

    raw = Calibration() if module.loss == "bare_sigmoid" else None
    checkpoint.calibration = fit(*embedded("validation"), raw)
    return checkpoint, evaluate(*embedded("test"), checkpoint.calibration)


def train(arguments: list[str]) -> None:
    """One run from settings to reports."""
    cli = TrainingCLI(arguments)
    trainer, module, data = cli.trainer, cli.model, cli.datamodule
    folder = Path(trainer.default_root_dir)
    data.preprocessing = module.preprocessing
    resume = cli.config["ckpt_path"]
    if resume == "last":
        resume = folder / "last.ckpt"
    if resume is not None and not Path(resume).is_file():
        raise UserError(f"{resume}: no training checkpoint to go on from; leave out --ckpt_path")
    start = time.perf_counter()
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    seconds = time.perf_counter() - start
    if trainer.fast_dev_run or not trainer.is_global_zero or trainer.interrupted:
        return
    best = torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(best["state_dict"])
    checkpoint, evaluation = finish(module, data, f"{data.path} ({len(data.frame)} photos)")
    checkpoint.save(folder / "model.safetensors")
    progress = next(c for c in trainer.callbacks if isinstance(c, ImagesPerSecond))
    cost = {
        "seconds": seconds,
        "images_per_second": progress.images / max(progress.seconds, 1e-9),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "parameters": sum(p.numel() for p in module.encoder.parameters()),
    }
    with replacing(folder / "report.json") as temporary:
        temporary.write_text(json.dumps({"cost": cost, **evaluation.as_dict()}, indent=2))
    print(f"\n{evaluation}\n\n{folder}/model.safetensors: trained in {seconds:.0f} s, "
          f"{cost['images_per_second']:.0f} images/s, peak memory {cost['peak_memory_gib']:.1f} GiB")


def main(arguments: list[str]) -> int:
    """Exit status; bad input is one line on stderr."""
    os.environ.setdefault("WANDB_MODE", wandb_mode())
    os.environ.setdefault("WANDB_SILENT", "true")
    torch.set_num_threads(available_cores())
    try:
        train(arguments)
    except (UserError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
