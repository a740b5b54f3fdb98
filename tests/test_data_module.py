"""A data set's folder becomes the batches that training asks for; mistakes are one line."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from helpers_data import SIZE, data_of
from PIL import Image

from datasets.manifest import ManifestError, make_manifest, write_manifest
from datasets.module import ProductPhotos
from datasets.readers import READERS, read_rendered
from siamese.encoder import EncoderConfig
from siamese.errors import UserError
from siamese.module import PairBatch, PhotoBatch, SiameseModule


def test_the_rendered_set_is_drawn_on_first_use_and_split(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    frame = read_rendered(folder, products=6, person_photos=2, validation=1, test=2, workers=1)
    assert len(list(folder.glob("*.jpg"))) == 6 * 3
    assert frame.groupby("split")["product_id"].nunique().to_dict() == {
        "train": 3, "validation": 1, "test": 2,
    }  # fmt: skip
    assert (frame["role"] == "product").sum() == 6
    drawn = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = read_rendered(folder, products=6, person_photos=(2, 2), validation=1, test=2)
    pd.testing.assert_frame_equal(again, frame)
    assert drawn == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_folder_drawn_with_other_arguments_is_one_line(rendered: Path) -> None:
    with pytest.raises(ManifestError, match="choose another folder or delete") as caught:
        read_rendered(rendered, products=17, person_photos=(2, 3))
    assert "\n" not in str(caught.value)
    with pytest.raises(ManifestError, match="cannot draw"):
        read_rendered(rendered / "other", products=0)


@pytest.mark.parametrize("name", sorted(READERS))
def test_an_unknown_option_names_the_known_ones(name: str) -> None:
    known = list(inspect.signature(READERS[name]).parameters)[1:]
    with pytest.raises(ManifestError, match=f"reader {name} has no option minimum") as caught:
        ProductPhotos(reader=name, options={"minimum": 3})
    assert str(caught.value).endswith(", ".join(known) or "none")
    assert "\n" not in str(caught.value)


def test_an_unknown_reader_names_the_known_ones() -> None:
    with pytest.raises(ManifestError, match=r"unknown reader 'lokbook'; there are .*lookbook"):
        ProductPhotos(reader="lokbook")


def test_the_help_text_names_every_reader() -> None:
    text = inspect.getdoc(ProductPhotos)
    assert text is not None
    assert all(f"`{name}`" in text for name in READERS)


def test_training_batches_have_products_of_the_training_split_alone(
    rendered: Path, tmp_path: Path
) -> None:
    data = data_of(rendered, tmp_path, persons_per_product=2)
    data.setup()
    loader = data.train_dataloader()
    assert len(loader) == 2
    numbers: list[int] = []
    for batch in loader:
        assert isinstance(batch, PhotoBatch)
        assert batch.pixels.shape == (12, 32, 24, 3)
        assert batch.is_person.view(4, 3).tolist() == [[False, True, True]] * 4
        numbers += batch.product.unique().tolist()
    assert len(set(numbers)) == len(numbers) == 8  # 16 less 4 and 4


def test_validation_batches_hold_each_photo_once_and_unchanged(
    rendered: Path, tmp_path: Path
) -> None:
    data = data_of(rendered, tmp_path)
    data.setup()
    frame, _ = data.part("validation")
    pixels = torch.cat([batch.pixels for batch in data.val_dataloader()])
    assert len(pixels) == len(frame)
    for path, photo in zip(frame["path"], pixels, strict=True):
        assert torch.equal(photo, torch.from_numpy(SIZE.read(path).copy()))


def test_the_shares_of_validation_are_all_photos_in_order(rendered: Path, tmp_path: Path) -> None:
    """Three processes: no photo twice, none left out, and rows in the order of the table."""

    class Place:
        world_size = 3

        def __init__(self, rank: int) -> None:
            self.global_rank = rank

    data = data_of(rendered, tmp_path)
    data.setup()
    whole = torch.cat([batch.pixels for batch in data.val_dataloader()])
    shares = []
    for rank in range(3):
        data.trainer = Place(rank)  # type: ignore[assignment]
        shares += [batch.pixels for batch in data.val_dataloader()]
    data.trainer = None
    assert len(shares) == 3
    assert torch.equal(torch.cat(shares), whole)


def trained(data: ProductPhotos, epochs: int = 2) -> pl.Trainer:
    """A small network trained on it without validation."""
    config = EncoderConfig(widths=(8, 16), depth=1, embedding_size=8)
    module = SiameseModule(config, SIZE, warmup=None)
    trainer = trainer_of(epochs)
    trainer.fit(module, data)
    return trainer


def trainer_of(epochs: int) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu", max_epochs=epochs, limit_val_batches=0, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip


def test_labels_reach_the_training_batches_and_the_network_learns_as_many_classes(
    shop: pd.DataFrame, tmp_path: Path
) -> None:
    """Numbered by the training split alone; a product photo whose cell is empty is unknown."""
    shop["kind"] = ["hat", None, "shirt", "shirt"] * 20
    shop.loc[shop["split"] == "test", "kind"] = "shoe"
    shop["length"] = shop["product_id"]
    data = manifest_data(shop, tmp_path, labels=["kind", "length"], products_per_batch=20)
    trainer = trained(data, epochs=1)
    module = trainer.lightning_module
    assert isinstance(module, SiameseModule)
    assert module.heads is not None
    assert [head.out_features for head in module.heads.heads] == [2, 20]
    (batch,) = cast(Any, trainer.train_dataloader)
    expected = {(0, 0): 0, (0, 1): -1, (1, 0): 1, (1, 1): 1}  # by evenness and role
    for product, is_person, kind in zip(
        batch.product.tolist(), batch.is_person.tolist(), batch.labels[:, 0].tolist(), strict=True
    ):
        assert kind == expected[product % 2, is_person]
    assert torch.equal(batch.labels[:, 1], batch.product)
    assert "label_loss" in trainer.callback_metrics


def test_alike_products_count_as_one_in_the_training_batches(
    shop: pd.DataFrame, tmp_path: Path
) -> None:
    """Products with even and with odd numbers; a batch still has each of the twenty."""
    shop["parity"] = [str(int(product[1:]) % 2) for product in shop["product_id"]]
    data = manifest_data(shop, tmp_path, alike=["parity"], products_per_batch=20)
    (batch,) = cast(Any, trained(data, epochs=1).train_dataloader)
    assert len(batch.product.unique()) == 2
    assert batch.product.bincount().tolist() == [20, 20]
    assert int(batch.is_person.sum()) == 20


def test_look_alikes_are_those_of_the_first_weights_in_a_resumed_run_too(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of eight products, by a naive look at a product photo and a person photo of each."""
    monkeypatch.setattr("datasets.look_alikes.NEAREST", 2)
    config = EncoderConfig(widths=(8, 16), depth=1, embedding_size=8)
    kept = tmp_path / "last.ckpt"
    found = []
    for resumed in (False, True):
        torch.manual_seed(3)  # the weights that it starts from
        module = SiameseModule(config, SIZE, learning_rate=0.1, warmup=None)
        first = copy.deepcopy(module)
        data = data_of(rendered, tmp_path, look_alikes=2)
        trainer = trainer_of(epochs=3 if resumed else 2)
        trainer.fit(module, data, ckpt_path=kept if resumed else None)
        trainer.save_checkpoint(kept)
        found.append(data.nearest)
        frame, cached = data.part("train")
        for network, same in ((first, True), (module, False)):
            means = []
            for _, rows in frame.groupby("product_id"):
                chosen = [rows.index[rows["role"] == role][0] for role in ("product", "person")]
                pixels = torch.from_numpy(cached.pixels[cached.slot[chosen]])
                means.append(network.embed(pixels).mean(dim=0))
            cosines = torch.nn.functional.cosine_similarity(
                torch.stack(means)[:, None], torch.stack(means)[None], dim=2
            )
            order = (cosines - 9 * torch.eye(8)).argsort(dim=1, descending=True)[:, :2]
            assert np.array_equal(order.numpy(), data.nearest) == same
        (batch, _) = cast(Any, trainer.train_dataloader)
        pairs = batch.product[~batch.is_person].view(2, 2).tolist()
        assert all(other in data.nearest[one] for one, other in pairs)
    assert np.array_equal(found[0], found[1])


def test_labels_need_batches_of_products(rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"look_alikes need data\.batches: products"):
        data_of(rendered, tmp_path, labels=["role"], batches="pairs")
    with pytest.raises(UserError, match=r"look_alikes need data\.batches: products"):
        data_of(rendered, tmp_path, alike=["role"], batches="pairs")
    with pytest.raises(UserError, match=r"data\.look_alikes need data\.batches: products"):
        data_of(rendered, tmp_path, look_alikes=2, batches="pairs")
    with pytest.raises(UserError, match=r"look_alikes must be at least 1, .* \(64, 1, 10, 32, 0\)"):
        ProductPhotos(look_alikes=0)


def test_drawn_pairs_come_without_views(rendered: Path, tmp_path: Path) -> None:
    """The report's recipe changes no photo; 8 products with 2 or 3 persons give all of them."""
    data = data_of(rendered, tmp_path, batches="pairs", pairs_per_batch=6)
    data.setup()
    frame, cached = data.part("train")
    known = {cached.pixels[slot].tobytes() for slot in cached.slot}
    persons = int((frame["role"] == "person").sum())
    batches = list(data.train_dataloader())
    assert len(batches) == 2 * persons // 6
    for batch in batches:
        assert isinstance(batch, PairBatch)
        for photo in (*batch.product_pixels, *batch.person_pixels):
            assert photo.numpy().tobytes() in known
    same = torch.cat([batch.same for batch in batches])
    assert 0.3 < same.double().mean() < 0.7


def test_the_seed_alone_decides_the_batches(rendered: Path, tmp_path: Path) -> None:
    def first(seed: int) -> torch.Tensor:
        data = data_of(rendered, tmp_path, seed=seed)
        data.setup()
        batch = next(iter(data.train_dataloader()))
        assert isinstance(batch, PhotoBatch)
        return batch.pixels

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_nothing_is_drawn_before_the_first_batch_is_asked_for(
    rendered: Path, tmp_path: Path
) -> None:
    """Lightning makes the iterator of a resumed epoch first and sets the epoch then."""
    data = data_of(rendered, tmp_path, workers=1)
    data.setup()

    def rows_of(prepare: Callable[[Any], Any]) -> torch.Tensor:
        loader = data.train_dataloader()
        batch = next(prepare(loader))
        assert isinstance(batch, PhotoBatch)
        return batch.product

    def straight(loader: Any) -> Any:
        loader.sampler.set_epoch(5)
        return iter(loader)

    def resumed(loader: Any) -> Any:
        iterator = iter(loader)
        loader.sampler.set_epoch(5)
        return iterator

    assert torch.equal(rows_of(straight), rows_of(resumed))
    assert not torch.equal(rows_of(straight), rows_of(iter))


def test_starting_the_workers_moves_no_numbers_of_dropout(rendered: Path, tmp_path: Path) -> None:
    data = data_of(rendered, tmp_path, workers=1)
    data.setup()
    before = torch.random.get_rng_state()
    next(iter(data.train_dataloader()))
    assert torch.equal(torch.random.get_rng_state(), before)


# ---- manifests with faults


@pytest.fixture
def shop(tmp_path: Path) -> pd.DataFrame:
    """40 products with a product photo and a person photo each; 20 train, 10 and 10 others."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(40):
        split = "train" if number < 20 else "validation" if number < 30 else "test"
        for role in ("product", "person"):
            path = tmp_path / f"{number}-{role}.png"
            pixels = generator.integers(0, 256, (30, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            rows.append((str(path), f"p{number:02d}", role, split))
    return make_manifest(pd.DataFrame(rows, columns=["path", "product_id", "role", "split"]))


def manifest_data(frame: pd.DataFrame, folder: Path, **arguments: Any) -> ProductPhotos:
    write_manifest(frame, folder / "manifest.csv")
    return data_of(
        folder / "manifest.csv", folder, **{"reader": "manifest", "options": None, **arguments}
    )


def test_a_few_broken_photos_are_skipped_and_named(
    shop: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One file is no photo; another's pixels are cut off behind a good header."""
    Path(shop["path"][1]).write_text("no photo")
    cut = Path(shop["path"][3])
    cut.write_bytes(cut.read_bytes()[:900])
    data = manifest_data(shop, tmp_path, broken_limit=0.05)
    with caplog.at_level(logging.WARNING):
        data.setup()
    assert len(data.frame) == 78
    assert (data.cached.slot >= 0).all()
    for path in (shop["path"][1], shop["path"][3]):
        assert path not in set(data.frame["path"])
        assert any(path in message for message in caplog.messages)
    frame, cached = data.part("train")
    for path, slot in zip(frame["path"], cached.slot, strict=True):
        assert (cached.pixels[slot] == SIZE.read(path)).all()


def test_many_broken_photos_stop_the_training(shop: pd.DataFrame, tmp_path: Path) -> None:
    for path in shop["path"][:9]:
        Path(path).write_text("no photo")
    with pytest.raises(ManifestError, match="9 of 80 rows have an unusable photo"):
        manifest_data(shop, tmp_path, broken_limit=0.1).setup()


def test_a_product_in_two_splits_stops_the_training(shop: pd.DataFrame, tmp_path: Path) -> None:
    shop.loc[0, "split"] = "test"
    with pytest.raises(ManifestError, match="p00"):
        manifest_data(shop, tmp_path).setup()


def test_an_empty_split_is_one_line(shop: pd.DataFrame, tmp_path: Path) -> None:
    data = manifest_data(shop[shop["split"] != "validation"], tmp_path)
    data.setup()
    with pytest.raises(ManifestError, match="no photo in the validation split") as caught:
        data.val_dataloader()
    assert "\n" not in str(caught.value)


def test_boxes_reach_the_pixels(shop: pd.DataFrame, tmp_path: Path) -> None:
    shop[["x1", "y1", "x2", "y2"]] = [2.0, 3.0, 15.0, 25.0]
    data = manifest_data(shop, tmp_path)
    data.setup()
    frame, cached = data.part("test")
    for path, slot in zip(frame["path"], cached.slot, strict=True):
        assert (cached.pixels[slot] == SIZE.read(path, (2, 3, 15, 25))).all()


def test_setting_up_twice_reads_once(
    shop: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = manifest_data(shop, tmp_path)
    data.prepare_data()
    monkeypatch.setattr(data, "read", lambda path: pytest.fail("read again"))
    data.setup("fit")
    assert len(data.frame) == 80
