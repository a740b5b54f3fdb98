"""What a person watching a training sees: images per second, curves, hits and misses."""

from __future__ import annotations

import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import WandbLogger

from siamese.module import SiameseModule
from siamese.sheet import SheetMatch, SheetRow, ranking_sheet


class Speed(Callback):
    """Counts the photos that go through the encoder, and the seconds that this takes.

    Attributes:
        images: Photos seen in training, over all processes.
        seconds: Time spent in training epochs, without validation.
    """

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0
        self._last = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]

    @property
    def images_per_second(self) -> float:
        """Mean over the training so far; 0 before it."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self.images += sum(len(part) for part in batch if part.ndim == 4) * trainer.world_size
        self.seconds += now - self._last
        self._last = now


class SpeedBar(TQDMProgressBar):
    """The usual progress bar, with images per second."""

    def __init__(self, speed: Speed) -> None:
        super().__init__(refresh_rate=5)
        self.speed = speed

    def get_metrics(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, Any]:
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown | {"images/s": f"{self.speed.images_per_second:.0f}"}


class LearningCurves(Callback):
    """Keeps each epoch's seconds, loss and validation figures, and draws them as a PNG.

    The history is part of the training checkpoint, so that a resumed run draws all of it.

    Args:
        path: Of the PNG.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history: list[dict[str, float]] = []
        self._start = 0.0
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        before = self.history[-1]["seconds"] if self.history else 0.0
        self._start = time.perf_counter() - before

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            # The trainer goes on telling the last validation's figures in epochs without one.
            if name == "loss_epoch" or (self._validated and name.startswith("validation/"))
        }
        seconds = time.perf_counter() - self._start
        self.history.append({"epoch": trainer.current_epoch + 1, "seconds": seconds, **figures})

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and self.history:
            draw_curves(self.history, self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """Loss at the left, validation figures at the right, over epochs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row.get("loss_epoch", np.nan) for row in history], color="tab:red")
    left.set(xlabel="epoch", ylabel="loss", title="Training loss", xlim=(min(epochs), None))
    labels = {
        "validation/top_1": "top-1",
        "validation/top_5": "top-5",
        "validation/top_20": "top-20",
        "validation/mean_reciprocal_rank": "mean reciprocal rank",
    }
    for name, label in labels.items():
        measured = [row for row in history if name in row]
        x, y = [row["epoch"] for row in measured], [row[name] for row in measured]
        right.plot(x, y, label=label, marker=".")
    right.set(xlabel="epoch", ylabel="share of queries", ylim=(0, 1), xlim=(min(epochs), None))
    right.set_title("Validation products, never trained on")
    right.legend(loc="best")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


class HitsAndMisses(Callback):
    """A picture of validation queries and their first products, in W&B and as a PNG.

    Args:
        path: Of the PNG, redrawn after each validation that is logged.
        queries: Person photos shown; half of them are misses where there are enough.
        every: Epochs between two pictures; the last validation has one in any case.
    """

    def __init__(self, path: Path, queries: int = 6, every: int = 10) -> None:
        self.path, self.queries, self.every = path, queries, every
        self._drawn = True  # there is nothing yet

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self._drawn = False
        if (trainer.current_epoch + 1) % self.every == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._drawn:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the last validation."""
        self._drawn = True
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, SiameseModule)
        rows = self._rows(trainer, pl_module)
        if not rows:  # of a few batches of a trial
            return
        sheet = ranking_sheet(rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(self.path)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("validation/hits_and_misses", [sheet])

    def _rows(self, trainer: pl.Trainer, module: SiameseModule) -> list[SheetRow]:
        """The chosen queries with their first five products."""
        from PIL import Image

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        order = data.validation_order()
        frame, cached = data.part("validation")
        frame, slot = frame.iloc[order], cached.slot[order]

        def photo(row: int) -> Image.Image:
            return Image.fromarray(np.asarray(cached.pixels[slot[row]]))

        embedding, product, is_person, _ = module.validated
        query_rows, gallery_rows = is_person.nonzero()[:, 0], (~is_person).nonzero()[:, 0]
        cosine = embedding[query_rows] @ embedding[gallery_rows].T
        best = gallery_rows[cosine.argsort(dim=1, descending=True, stable=True)[:, :5]]
        hit = product[best[:, 0]] == product[query_rows]
        half = self.queries // 2
        misses = _spread((~hit).nonzero()[:, 0].tolist(), half)
        hits = _spread(hit.nonzero()[:, 0].tolist(), self.queries - len(misses))
        rows = []
        for query in hits + misses:
            matches = [
                SheetMatch(
                    photo(int(row)),
                    [str(frame["product_id"].iloc[int(row)])],
                    right=bool(product[row] == product[query_rows[query]]),
                )
                for row in best[query]
            ]
            query_row = int(query_rows[query])
            rows.append(
                SheetRow(
                    photo(query_row), [f"wears {frame['product_id'].iloc[query_row]}"], matches
                )
            )
        return rows


def _spread(numbers: list[int], count: int) -> list[int]:
    """Up to `count` of the numbers, from all over the list: neighbours show the same product."""
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(int)
    return [numbers[place] for place in places]


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights of the epoch that ranks validation products best, as best.ckpt."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            filename="best",
            monitor="validation/mean_reciprocal_rank",
            mode="max",
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """Lightning's own, which runs of earlier versions have in their checkpoints."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best of before, though its folder be renamed or the run go on elsewhere.

        Lightning forgets how good it was where the folder is another, and loads it from there.
        """
        assert self.dirpath is not None
        if not state_dict["best_model_path"]:
            return  # nothing was validated yet
        before = Path(state_dict["best_model_path"]).absolute()
        here = Path(self.dirpath).absolute() / before.name
        if here != before and not self._is_best(here, float(state_dict["best_model_score"])):
            if not before.exists():
                return  # lost: the best of what follows is
            here.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before, here)
        paths = {"best_model_path": str(here), "kth_best_model_path": str(here)}
        scores = {str(here): score for score in state_dict["best_k_models"].values()}
        moved = {"dirpath": str(self.dirpath), "best_k_models": scores, "last_model_path": ""}
        super().load_state_dict(state_dict | paths | moved)

    def _is_best(self, path: Path, score: float) -> bool:
        """Whether a file is a best epoch of that score; another run's may lie there."""
        if not path.exists():
            return False
        try:
            states = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
            return float(states[self.state_key]["best_model_score"]) == score
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError):
            return False


class LastCheckpoint(ModelCheckpoint):
    """Keeps last.ckpt of each epoch, once its line is in the curves.

    Lightning's `save_last` waits for an epoch that is better.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            filename="last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )


class Watchers:
    """What every training run has: checkpoints best and last, progress bar, curves, pictures.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.checkpoints = BestCheckpoint(folder)
        self.last = LastCheckpoint(folder)
        self.speed = Speed()
        self.curves = LearningCurves(folder / "learning_curves.png")
        self.pictures = HitsAndMisses(folder / "hits_and_misses.png")

    def callbacks(self, progress_bar: bool, files: bool) -> list[Callback]:
        """As the trainer wants them, with or without those that show and those that write."""
        bar = [SpeedBar(self.speed)] if progress_bar else []
        files_of = [self.curves, self.pictures, self.checkpoints, self.last]
        writers = files_of if files else []
        return [self.speed, *bar, *writers]
