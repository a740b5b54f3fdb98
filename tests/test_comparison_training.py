"""Training of a comparison: what its head learns, what it looks at, and a whole small run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import save_checkpoint
from helpers_data import OPTIONS

from datasets import comparison_training
from datasets.comparison_training import (
    ComparisonModule,
    as_without_boxes,
    comparison_of,
    look,
    train,
)
from datasets.comparison_tuning import TuningModule
from datasets.joint_batches import Batch, Seen
from datasets.manifest import read_manifest, write_manifest
from datasets.module import ProductPhotos
from datasets.readers import reader_of
from siamese.checkpoint_file import load_checkpoint
from siamese.comparison_file import load_comparison
from siamese.comparison_head import ComparisonHead, HeadConfig
from siamese.extractors import extractor
from siamese.roles import Role


def test_a_head_learns_to_tell_photos_apart_by_one_position() -> None:
    """Products differ in one of twelve positions, which lies elsewhere in the person's photo."""
    random = np.random.default_rng(0)
    config = HeadConfig(channels=6, rows=4, columns=3, size=16, hidden=32)
    products, views = 80, 2
    own = random.normal(size=(products, 6))
    maps = 0.3 * random.normal(size=(views, 2 * products, 12, 6))
    maps[:, ::2, 7] += 3 * own
    maps[:, 1::2, 2] += 3 * own
    product, is_person = np.repeat(np.arange(products), 2), np.arange(2 * products) % 2 == 0
    beside = torch.nn.functional.normalize(torch.randn(1, 2 * products, 4), dim=2)
    studied = product < 60
    seen = Seen(
        maps[:, studied].astype(np.float16),
        beside[:, torch.from_numpy(studied)].expand(views, -1, -1),
        product[studied],
        is_person[studied],
    )
    torch.manual_seed(0)
    head = ComparisonHead(config)
    photos = torch.from_numpy(maps[0, 120:]).float()

    def first() -> float:
        logits = head.eval().logits(head.seen(photos[::2]), head.seen(photos[1::2]))
        return float((logits.argmax(dim=1) == torch.arange(20)).double().mean())

    before = first()
    train(ComparisonModule(head, steps=200), seen, seed=0, dropout=0.0)
    assert before < 0.3
    assert first() > 0.7  # of products that it never saw


@pytest.fixture
def drawn(rendered: Path, tmp_path: Path) -> Path:
    write_manifest(reader_of("rendered", OPTIONS)(rendered), tmp_path / "manifest.csv")
    save_checkpoint(tmp_path / "0.safetensors", seed=0)
    return tmp_path / "manifest.csv"


def test_a_whole_training_makes_a_file_and_the_same_again(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(drawn), "--encoder", f"{tmp_path}/0.safetensors", "--views", "1", "--steps", "3"]
    words += ["--cache", str(tmp_path / "cache")]
    for name in ("one", "again"):
        assert comparison_training.main([*words, "--out", f"{tmp_path}/{name}.safetensors"]) == 0
    assert "one.safetensors: written" in capsys.readouterr().out
    one, again = (load_comparison(tmp_path / f"{name}.safetensors") for name in ("one", "again"))
    for name, weight in one.head.state_dict().items():
        torch.testing.assert_close(weight, again.head.state_dict()[name])
    assert not list((tmp_path / "cache").glob("comparison-*"))
    given = load_checkpoint(tmp_path / "0.safetensors").encoder.state_dict()
    kept = one.encoder.state_dict()
    assert all(torch.equal(w, kept[f"backbone.encoders.0.{name}"]) for name, w in given.items())


def test_a_training_goes_on_from_a_head_that_has_learned(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file of its own or a checkpoint's, with its networks and its standardisation."""
    words = [str(drawn), "--views", "1", "--cache", str(tmp_path / "cache"), "--dropout", "0"]
    first = ["--encoder", f"{tmp_path}/0.safetensors", "--steps", "3"]
    assert comparison_training.main([*words, *first, "--out", f"{tmp_path}/one.safetensors"]) == 0
    one = load_comparison(tmp_path / "one.safetensors")
    with torch.no_grad():
        one.head.standardisation.mean.add_(0.5)
    checkpoint = load_checkpoint(tmp_path / "0.safetensors")
    checkpoint.comparison = replace(one, cut_out=True)
    checkpoint.save(tmp_path / "both.safetensors")
    later = ["--start-from", f"{tmp_path}/both.safetensors", "--steps", "1"]
    assert comparison_training.main([*words, *later, "--out", f"{tmp_path}/two.safetensors"]) == 0
    two = load_comparison(tmp_path / "two.safetensors")
    assert two.cut_out
    assert two.fingerprint != one.fingerprint
    before, after = one.head.state_dict(), two.head.state_dict()
    for name, weight in before.items():
        if name.startswith("standardisation."):
            torch.testing.assert_close(after[name], weight)
        else:  # one step at the lowest rate
            torch.testing.assert_close(after[name], weight, rtol=0, atol=2e-3)
    assert (before["map.weight"] != after["map.weight"]).any()
    for name, weight in one.encoder.state_dict().items():
        torch.testing.assert_close(two.encoder.state_dict()[name], weight)
    with pytest.raises(SystemExit):
        comparison_training.main([*words, *first, *later, "--out", f"{tmp_path}/no.safetensors"])
    capsys.readouterr()
    plain = ["--start-from", f"{tmp_path}/0.safetensors", "--out", f"{tmp_path}/no.safetensors"]
    assert comparison_training.main([*words, *plain]) == 1
    said = capsys.readouterr().err
    assert "has no comparison" in said
    assert said.count("\n") == 1


def test_networks_are_tuned_with_their_head(drawn: Path, tmp_path: Path) -> None:
    """What was counted over photos before, of the networks and of the head, stays as it is."""
    words = [str(drawn), "--views", "2", "--cache", str(tmp_path / "cache")]
    first = ["--encoder", f"{tmp_path}/0.safetensors", "--steps", "3"]
    assert comparison_training.main([*words, *first, "--out", f"{tmp_path}/one.safetensors"]) == 0
    later = ["--start-from", f"{tmp_path}/one.safetensors", "--fine-tune", "--steps", "2"]
    for name in ("two", "again"):
        made = [*words, *later, "--out", f"{tmp_path}/{name}.safetensors"]
        assert comparison_training.main(made) == 0
    one, two, again = (
        load_comparison(tmp_path / f"{name}.safetensors") for name in ("one", "two", "again")
    )
    given, tuned = one.encoder.state_dict(), two.encoder.state_dict()
    counted = [name for name in given if "running_" in name or "num_batches" in name]
    assert counted
    learned = [name for name, weight in given.items() if (weight != tuned[name]).any()]
    assert any(name.endswith("weight") for name in learned)
    assert not set(counted) & set(learned)
    for name, weight in again.encoder.state_dict().items():
        torch.testing.assert_close(weight, tuned[name], rtol=0, atol=1e-5)
    for name, weight in one.head.standardisation.state_dict().items():
        torch.testing.assert_close(weight, two.head.standardisation.state_dict()[name])
    assert two.fingerprint != one.fingerprint
    assert not list((tmp_path / "cache").glob("comparison-*"))


def test_tuning_judges_photos_as_a_search_does(tmp_path: Path) -> None:
    """The loss is that of what a search would say of the same photos, but for int8."""
    save_checkpoint(tmp_path / "0.safetensors", seed=0)
    made = comparison_of(extractor(f"{tmp_path}/0.safetensors"))
    size = made.preprocessing
    pixels = torch.randint(0, 256, (8, size.height, size.width, 3), dtype=torch.uint8)
    sights = made.sights(pixels, [Role.PRODUCT] * 8)
    logits = made.logits(sights[:4], sights[4:])
    right = torch.arange(4)
    both = [torch.nn.functional.cross_entropy(each, right) for each in (logits, logits.T)]
    batch = Batch(pixels[:4].float(), pixels[4:].float(), torch.eye(4))
    module = TuningModule(made, steps=1).train()
    loss = module.training_step(batch, 0)
    assert float(loss.detach()) == pytest.approx(float(sum(both)) / 2, abs=0.02)
    loss.backward()
    first = next(iter(made.encoder.parameters()))
    assert first.grad is not None
    assert float(first.grad.abs().max()) > 0


@pytest.mark.parametrize("code", [None, 0, 3])
def test_a_training_that_is_stopped_fails_and_leaves_nothing(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    def stop(*_: object) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("datasets.head_training.Trainer.fit", stop)
    words = [str(drawn), "--encoder", f"{tmp_path}/0.safetensors", "--views", "1", "--steps", "3"]
    words += ["--cache", str(tmp_path / "cache"), "--out", f"{tmp_path}/one.safetensors"]
    with pytest.raises(SystemExit) as stopped:
        comparison_training.main(words)
    assert stopped.value.code == (code or 1)
    assert not (tmp_path / "one.safetensors").exists()
    assert not list((tmp_path / "cache").glob("comparison-*"))


def test_what_it_looks_at_is_standardised(drawn: Path, tmp_path: Path) -> None:
    made = comparison_of(extractor(f"{tmp_path}/0.safetensors"))
    photos = ProductPhotos("manifest", str(drawn), cache=str(tmp_path / "cache"))
    photos.preprocessing = made.preprocessing
    photos.prepare_data()
    frame, cached = photos.part("train")
    seen = look(made, [(frame, cached)], 2, 0.2, 0, tmp_path / "maps")
    assert seen.features.shape == (2, len(frame), 108, made.head.config.channels)
    first = torch.from_numpy(np.array(seen.features[0])).float().flatten(0, 1)
    torch.testing.assert_close(first.mean(dim=0), torch.zeros(first.shape[1]), rtol=0, atol=0.02)
    spread = first.std(dim=0)
    assert ((spread - 1).abs() < 0.05).logical_or(spread < 0.05).all()
    assert (seen.features[0] != seen.features[1]).any()
    torch.testing.assert_close(seen.beside[0], seen.beside[1], rtol=0, atol=0)


def test_people_with_boxes_are_seen_as_without_them_too(drawn: Path, tmp_path: Path) -> None:
    frame = read_manifest(drawn)
    frame.loc[(frame["role"] == "person").to_numpy(), ["x1", "y1", "x2", "y2"]] = [4, 4, 20, 28]
    write_manifest(frame, tmp_path / "boxes.csv")
    made = comparison_of(extractor(f"{tmp_path}/0.safetensors"))
    boxed, plain = (
        ProductPhotos("manifest", str(path), cache=str(tmp_path / "cache"))
        for path in (tmp_path / "boxes.csv", drawn)
    )
    for photos in (boxed, plain):
        photos.preprocessing = made.preprocessing
        photos.prepare_data()
    ways = [boxed.part("train"), as_without_boxes(boxed)]
    (rows, near), (without, whole), (_, expected) = *ways, plain.part("train")
    people = (rows["role"] == "person").to_numpy()
    assert rows["x1"].notna().sum() == people.sum()
    assert without["x1"].isna().all()
    pixels = expected.pixels[expected.slot]
    np.testing.assert_array_equal(whole.pixels[whole.slot], pixels)
    differs = (near.pixels[near.slot] != pixels).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(differs, people)
    seen = look(made, ways, 2, 0.2, 0, tmp_path / "maps")
    assert seen.features.shape[:2] == (4, len(rows)) == seen.beside.shape[:2]
    assert all(seen.features[view].any(axis=(1, 2)).all() for view in range(4))


def test_a_whole_training_may_see_people_both_ways(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--encoder", f"{tmp_path}/0.safetensors", "--views", "1", "--steps", "2", "--whole"]
    words += ["--cache", str(tmp_path / "cache"), "--out", f"{tmp_path}/both.safetensors"]
    assert comparison_training.main([str(drawn), *words]) == 1
    assert "no training photo of a person has a box" in capsys.readouterr().err
    frame = read_manifest(drawn)
    frame.loc[(frame["role"] == "person").to_numpy(), ["x1", "y1", "x2", "y2"]] = [4, 4, 20, 28]
    write_manifest(frame, tmp_path / "boxes.csv")
    assert comparison_training.main([f"{tmp_path}/boxes.csv", *words]) == 0
    assert load_comparison(tmp_path / "both.safetensors").head.config.rows == 12


def test_what_cannot_be_trained_is_one_line(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["--encoder", f"{tmp_path}/0.safetensors", "--cache", str(tmp_path / "cache")]
    out = ["--out", f"{tmp_path}/out.safetensors"]
    untrained = tmp_path / "untrained.csv"
    untrained.write_text(drawn.read_text().replace(",train", ",test"))
    for words, message in (
        ([str(drawn), "--encoder", "lab_histogram", *out], "show their levels"),
        ([str(drawn), "--encoder", "none.safetensors", *out], "no such file"),
        ([str(tmp_path / "none.csv"), *one, *out], "none.csv"),
        ([str(untrained), *one, *out], "no photo in the train split"),
        ([str(drawn), *one, "--out", str(tmp_path)], "is a folder"),
    ):
        assert comparison_training.main(words) == 1
        shown = capsys.readouterr().err.replace("\r", "\n").splitlines()
        said = [line for line in shown if line and not line.startswith("caching")]
        assert len(said) == 1, said
        assert said[0].startswith("datasets.comparison_training: ")
        assert message in said[0]
    for wrong in (["--views", "0"], ["--dropout", "1"], ["--light", "2"], ["--seed", "-1"]):
        with pytest.raises(SystemExit):
            comparison_training.main([str(drawn), *one, *out, *wrong])
    assert not (tmp_path / "out.safetensors").exists()
