"""A data set's folder → manifest → cache → the batches that training and validation ask for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from datasets.batches import Draw, DrawnPairs, PairBatches, PhotoBatches, ProductBatches
from datasets.cache import CachedPhotos, cache_photos
from datasets.labels import classes_of, kinds_of
from datasets.look_alikes import NEAREST, look_alikes_of
from datasets.manifest import ManifestError, describe_faults, drop_broken_photos, find_faults
from datasets.readers import reader_of
from datasets.transforms import training_views
from siamese.errors import UserError
from siamese.evaluation import codes
from siamese.module import SiameseModule
from siamese.preprocessing import Preprocessing
from siamese.products import listed
from siamese.runtime import available_cores
from siamese.verification import Integers, draw_pairs

log = logging.getLogger(__name__)


class TrainingLoader(DataLoader[Any]):
    """Draws nothing before the first batch is asked for.

    Lightning makes the iterator of a resumed epoch before it tells the sampler which epoch it is;
    workers would by then have been sent batches of epoch 0.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()


class ProductPhotos(pl.LightningDataModule):
    """Product and person photos of a data set, in batches.

    Args:
        reader: Layout of the data: `rendered` (the demo, drawn on first use), `lookbook`,
            `pairs_csv`, `manifest`, `deepfashion`, `deepfashion2`, `street2shop`,
            `fashion_products`, `clothing`, or `composed` (person photos made of the product
            photos of other readers).
        path: Folder of the data, or the CSV or Parquet file of `pairs_csv` and `manifest`.
        options: Further arguments of the reader, such as `minimum_person_photos: 10`.
        cache: Folder of the decoded photos.
        batches: `products` (P products with K person photos each) or `pairs` (the report's drawn
            pairs, for the loss `bare_sigmoid`).
        products_per_batch: P, products that meet in a batch, over all processes.
        persons_per_product: K, person photos of each of them.
        look_alikes: Products of a batch that look alike to the network that the training starts
            from, which are hard to tell apart; a batch has several such groups. 1: any products.
        labels: Attributes of the manifest that the network learns to tell besides, such as
            `[label]`, or `gender+articleType` for both as one; photos without one are left out.
            See `model.label_weight`.
        alike: Attributes of the manifest, such as `[gender, articleType]`: training photos that
            agree in all of them count as of one product, so that the embedding gathers kinds of
            products rather than telling each from all others.
        pairs_per_product: Positive pairs, and negative pairs, drawn of each product.
        pairs_per_batch: Over all processes.
        view_strength: How much training views differ from the photo; 0 to 1.
        view_light: The same for their light and colours alone; null: as view_strength.
        view_hue: How far the colours of each photo go astray, 0 to 1; with 1 the network learns
            cut and pattern alone.
        view_camera: How many training views are blurred, grainy or compressed, 0 to 1.
        erase: Probability that parts of a training view are blanked out.
        broken_limit: Largest share of unusable photos that is listed and skipped.
        workers: Processes that make training views; by default none on up to two cores, where
            they would only take turns with the training, else half of the cores, at most four.
        seed: Of batches, pairs and views.
    """

    def __init__(
        self,
        reader: str = "rendered",
        path: str = "data/rendered",
        options: dict[str, Any] | None = None,
        cache: str = "data/cache",
        batches: Literal["products", "pairs"] = "products",
        products_per_batch: int = 64,
        persons_per_product: int = 1,
        look_alikes: int = 1,
        labels: list[str] | None = None,
        alike: list[str] | None = None,
        pairs_per_product: int = 10,
        pairs_per_batch: int = 32,
        view_strength: float = 1.0,
        view_light: float | None = None,
        view_hue: float = 0.0,
        view_camera: float = 0.0,
        erase: float = 0.25,
        broken_limit: float = 0.01,
        workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = (products_per_batch, persons_per_product, pairs_per_product, pairs_per_batch)
        if min(*sizes, look_alikes) < 1 or (workers or 0) < 0:
            raise UserError(
                "products_per_batch, persons_per_product, pairs_per_product, pairs_per_batch and "
                "look_alikes must be at least 1, workers at least 0, not "
                f"{(*sizes, look_alikes)} and {workers}"
            )
        if look_alikes > min(products_per_batch, NEAREST + 1):
            raise UserError(
                f"look_alikes must be at most {NEAREST + 1}, and products_per_batch, not "
                f"{look_alikes}"
            )
        shares = (view_strength, view_light or 0.0, view_hue, view_camera, erase, broken_limit)
        if not all(0 <= share <= 1 for share in shares):
            raise UserError(
                "view_strength, view_light, view_hue, view_camera, erase and broken_limit must be "
                f"from 0 to 1, not {', '.join(map(str, shares))}"
            )
        if (labels or alike or look_alikes > 1) and batches == "pairs":
            raise UserError(
                "data.labels, data.alike and data.look_alikes need data.batches: products"
            )
        self.read = reader_of(reader, options or {})
        self.path, self.cache = Path(path), Path(cache)
        self.batches = batches
        self.products_per_batch, self.persons_per_product = products_per_batch, persons_per_product
        self.pairs_per_product, self.pairs_per_batch = pairs_per_product, pairs_per_batch
        self.views = (view_strength, erase, view_light, view_hue, view_camera)
        self.labels, self.alike, self.look_alikes = labels or [], alike or [], look_alikes
        self.broken_limit, self.seed = broken_limit, seed
        cores = available_cores()
        self.workers = workers if workers is not None else min(4, cores // 2 if cores > 2 else 0)
        # The pixels' size is the model's: the trainer's script sets it before `setup`.
        self.preprocessing = Preprocessing()
        self.frame = pd.DataFrame()
        self.cached = CachedPhotos(np.empty(0, np.uint8), np.empty(0, np.int64), {})
        self.nearest = np.empty((0, 0), np.int64)  # look-alikes of each training product

    def state_dict(self) -> dict[str, Any]:
        """For the training checkpoint: the products that were trained on."""
        train = self.frame["split"] == "train"
        return {"trained_on": sorted(set(self.frame.loc[train, "product_id"]))}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on where products that were trained on are held out by now.

        Raises:
            ManifestError: The split is another one than before.
        """
        held_out = self.frame.loc[self.frame["split"] != "train", "product_id"]
        known = sorted(set(held_out).intersection(state_dict["trained_on"]))
        if known:
            raise ManifestError(
                f"{self.path}: {len(known)} products that were trained on are held out now "
                f"({listed(known)}); go on with the run's manifest.csv, or start anew"
            )

    def prepare_data(self) -> None:
        """Read, check and cache once per machine, before the processes start."""
        self._load()

    def setup(self, stage: str | None = None) -> None:
        """Read the manifest and map the cache; every process does.

        Raises:
            ManifestError: Before a training: its reports would have nothing to compare.
        """
        if stage == "fit" and getattr(self.trainer, "overfit_batches", False):
            raise UserError(
                "trainer.overfit_batches takes batches in an order of its own; use "
                "trainer.limit_train_batches"
            )
        if self.frame.empty:
            self._load()
        for split in ("validation", "test") if stage == "fit" else ():
            frame, _ = self.part(split)
            product, is_person = codes(frame)
            both = np.intersect1d(product[is_person], product[~is_person])
            if len(both) < 2:
                raise ManifestError(
                    f"{self.path}: {len(both)} products of the {split} split have both a product "
                    "and a person photo; the reports compare products and need at least two"
                )
        if stage == "fit" and (self.labels or self.look_alikes > 1):
            self._prepare_training()

    def _prepare_training(self) -> None:
        """Tell the network its labels, and ask it for look-alikes.

        Weights of a resumed run are loaded later: it finds the look-alikes that it began with.
        """
        assert self.trainer is not None
        module = self.trainer.lightning_module
        assert isinstance(module, SiameseModule)
        frame, cached = self.part("train")
        if self.labels:
            classes = classes_of(frame, self.labels)
            module.add_label_heads((classes.max(axis=0) + 1).tolist())
        if self.look_alikes > 1:
            module.to(self.trainer.strategy.root_device)
            self.nearest = look_alikes_of(module, cached, self._product_batches(frame))

    def _load(self) -> None:
        frame = self.read(self.path)
        faults = find_faults(
            frame, check_files=True, compare_contents=True, workers=available_cores()
        )
        if (faults["kind"] == "table").any():
            raise ManifestError(describe_faults(faults))
        frame = self._skip(frame, faults)
        cached = cache_photos(frame, self.preprocessing, self.cache, available_cores())
        if cached.faults:  # a header may be fine and its pixels not
            rows = list(cached.faults)
            faults = pd.DataFrame(
                {
                    "row": rows,
                    "product_id": frame["product_id"].iloc[rows].to_numpy(),
                    "path": frame["path"].iloc[rows].to_numpy(),
                    "kind": "photo",
                    "fault": list(cached.faults.values()),
                }
            )
            frame = self._skip(frame, faults)
            cached = cache_photos(frame, self.preprocessing, self.cache, available_cores())
        self.frame, self.cached = frame, cached

    def _skip(self, frame: pd.DataFrame, faults: pd.DataFrame) -> pd.DataFrame:
        kept, dropped = drop_broken_photos(frame, faults, limit=self.broken_limit)
        for photo in dropped.itertuples():
            log.warning("skipped: %s: %s", photo.path, photo.fault)
        return kept

    def part(self, split: str) -> tuple[pd.DataFrame, CachedPhotos]:
        """Rows of one split and their pixels.

        Raises:
            ManifestError: The split is empty.
        """
        rows = np.flatnonzero(self.frame["split"] == split)
        if not len(rows):
            raise ManifestError(f"{self.path}: no photo in the {split} split; assign some products")
        slots = CachedPhotos(self.cached.pixels, self.cached.slot[rows], {})
        return self.frame.iloc[rows].reset_index(drop=True), slots

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of products or of drawn pairs."""
        frame, cached = self.part("train")
        product, is_person = codes(frame)
        place = self._place()
        dataset: Dataset[Any]
        sampler: ProductBatches | DrawnPairs
        if self.batches == "pairs":
            pairs = draw_pairs(product, is_person, self.pairs_per_product, self.seed)
            dataset = PairBatches(cached, pairs)
            sampler = DrawnPairs(len(pairs), self.pairs_per_batch, self.seed, **place)
            workers = 0  # nothing to compute, copying to another process would cost more
        else:
            views = training_views(*self.views)
            same = kinds_of(frame, self.alike) if self.alike else product
            dataset = PhotoBatches(cached, same, is_person, views, classes_of(frame, self.labels))
            sampler = self._product_batches(frame)
            if self.look_alikes > 1:
                sampler.gather(self.nearest, self.look_alikes)
            workers = self.workers
        return TrainingLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # starting workers shall not move the numbers of dropout
        )

    def _product_batches(self, frame: pd.DataFrame) -> ProductBatches:
        product, is_person = codes(frame)
        size, persons = self.products_per_batch, self.persons_per_product
        return ProductBatches(product, is_person, size, persons, self.seed, **self._place())

    def validation_order(self) -> Integers:
        """Rows of the validation part as they are embedded, int64: product by product.

        So that of the first batches alone something can be ranked, too.
        """
        frame, _ = self.part("validation")
        return np.argsort(frame["product_id"].to_numpy(str), kind="stable")

    def val_dataloader(self) -> DataLoader[Any]:
        """All validation photos in order, each once; of several processes each takes its share."""
        frame, cached = self.part("validation")
        place = self._place()
        own = np.array_split(self.validation_order(), place["world_size"])[place["rank"]]
        draws = [Draw(own[start : start + 128], 0) for start in range(0, len(own), 128)]
        return DataLoader(PhotoBatches(cached, *codes(frame)), batch_size=None, sampler=draws)

    def _place(self) -> dict[str, int]:
        """Which process this is, of how many."""
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}
