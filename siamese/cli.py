"""The settings of a training: YAML, command line, loggers and callbacks (LightningCLI)."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, NoReturn

from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from siamese.callbacks import Watchers
from siamese.errors import UserError
from siamese.module import SiameseModule
from siamese.retrieval import TOP
from siamese.runtime import training_precision

# What is logged, by the names that callbacks may wait for.
FIGURES = (
    "validation/mean_reciprocal_rank",
    *(f"validation/top_{k}" for k in TOP),
    *("loss", "loss_step", "loss_epoch", "label_loss", "top-1"),
)


class Parser(LightningArgumentParser):
    """Says what is wrong in one line; all options are a `--help` away."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if '"model.seed"' in message:  # which it is linked to
            message = "--seed_everything: name a number, for runs that can be repeated"
        print(f"train.py: {' '.join(message.split())}; see train.py --help", file=sys.stderr)
        sys.exit(2)


class TrainingCLI(LightningCLI):
    """Settings by YAML and command line; what every run has in common is set here."""

    def __init__(
        self, data: type[LightningDataModule], default_config: Path, arguments: list[str]
    ) -> None:
        if not any(a.split("=")[0] in ("--config", "-c") for a in arguments):
            arguments = ["--config", str(default_config), *arguments]
        super().__init__(
            SiameseModule,
            data,
            run=False,
            auto_configure_optimizers=False,
            parser_class=Parser,
            args=arguments,
            seed_everything_default=0,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            trainer_defaults={
                "precision": None,  # see `parse_arguments`
                "use_distributed_sampler": False,  # the batches are shared out by ourselves
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 1,
                "enable_model_summary": False,
            },
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """As Lightning does, with the precision that suits this machine, unless one is named.

        What Lightning would not tell of in one line is a `UserError`.
        """
        try:
            super().parse_arguments(parser, args)
        except UnicodeDecodeError as error:
            raise UserError("--config: is no text in UTF-8; save it as UTF-8") from error
        seed = self.config["seed_everything"]
        if not isinstance(seed, bool) and not 0 <= (seed or 0) < 2**32:
            raise UserError(f"--seed_everything {seed}: must be from 0 to {2**32 - 1}")
        trainer = self.config["trainer"]
        if trainer is not None and trainer["precision"] is None:  # config.yaml shall say which
            trainer["precision"] = training_precision(str(trainer["accelerator"]))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """`--ckpt_path`, and one seed for all that draws."""
        parser.add_argument(
            "--ckpt_path", default=None, help="`last` or a file: go on with an interrupted run"
        )
        parser.add_argument("--wandb", default=True, type=bool, help="Log to Weights & Biases")
        parser.add_argument(
            "--rivals",
            default=[],
            type=list[str],
            help="Configs whose recipes are run on the same data and reported beside this one",
        )
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def instantiate_trainer(self, **keywords: Any) -> Trainer:
        """The trainer, with loggers and callbacks that write into the run's folder."""
        settings = self.config_init["trainer"]
        if settings is None:
            raise UserError("--config: trainer has no settings; leave it out, or name some")
        if str(settings["precision"]).endswith("-true") and settings["precision"] != "32-true":
            raise UserError(
                f"--trainer.precision {settings['precision']}: weights stay float32 here; use "
                "bf16-mixed, 16-mixed or 32-true"
            )
        check_monitors(settings["callbacks"] or [])
        folder = Path(settings["default_root_dir"] or "checkpoints/run")
        keywords["default_root_dir"] = str(folder)
        if settings["logger"] is None and not settings["fast_dev_run"]:
            keywords["logger"] = [CSVLogger(folder, name="log")]
            if self.config_init["wandb"]:
                wandb = WandbLogger(project="siamese", save_dir=folder)
                # Lightning 2.6 hands on a setting that W&B only warns of, even if nobody set it.
                wandb._wandb_init.pop("anonymous", None)
                keywords["logger"].append(wandb)
        self.watchers = Watchers(folder)
        keywords["callbacks"] = [
            *(settings["callbacks"] or []),
            *self.watchers.callbacks(
                progress_bar=settings["enable_progress_bar"] is not False,
                files=not settings["fast_dev_run"],
            ),
        ]
        strategy = str(settings["strategy"])
        if any(word in strategy for word in ("spawn", "fork", "notebook")):
            raise UserError(  # the reports are made after the training, in the first process
                f"--trainer.strategy {strategy}: leaves this process without the trained weights; "
                f"use {strategy.split('_')[0]}"
            )
        try:
            return super().instantiate_trainer(**keywords)
        except (ValueError, TypeError, ImportError) as error:  # besides Lightning's own
            reason = str(error).split(". ")[0].rstrip(".")
            raise UserError(f"--trainer: {reason}; see train.py --help") from error


def check_monitors(callbacks: Sequence[Any]) -> None:
    """Raise `UserError` for a callback that waits for a figure that no training has."""
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in FIGURES:
            raise UserError(
                f"--trainer.callbacks: {type(callback).__name__} monitors {monitor}; there are "
                f"{', '.join(FIGURES)}"
            )


class SaveConfig(SaveConfigCallback):
    """The resolved config, beside the checkpoints rather than beside the log.

    It is written when the training can begin: settings that do not fit to the checkpoint that
    shall be gone on with would else replace those that do.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Nothing yet."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().setup(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        path = Path(trainer.default_root_dir) / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, path, skip_none=False, overwrite=True)


@contextmanager
def failing_when_stopped() -> Iterator[None]:
    """Lightning answers SIGTERM with an exit without a code, as if all had been done; this gives
    it one."""
    try:
        yield
    except SystemExit as stop:
        raise SystemExit(stop.code or 1) from stop


def quieten() -> None:
    """Leave out warnings that no user of this program can or need act on."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every new try
    for message in (
        ".*LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*The dirpath has changed from.*",  # of a run that was moved: last.ckpt alone
        ".*LightningCLI's args parameter.*",
        ".*module.*in eval mode at the start of training.*",  # those that are frozen
        ".*does not have many workers.*",
        ".*argument to `num_workers`.*",
    ):
        warnings.filterwarnings("ignore", message)


def wandb_mode() -> str:
    """`online` for users who have logged in, `offline` for others, who thus need no account."""
    try:
        known = netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        known = False
    return "online" if known or os.environ.get("WANDB_API_KEY") else "offline"
