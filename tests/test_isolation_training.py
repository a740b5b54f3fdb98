"""Training of the isolation: losses and figures against naive ones, and a whole small run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_isolation import SMALL, KnownIsolation, groups_with, isolation_of, write_street

from datasets import isolation_training
from datasets.isolation_training import (
    Views,
    confusion_of,
    dice_loss,
    figures_of,
    intersection_over_union,
    train,
)
from datasets.street import StreetPhoto, read_street, split_street
from datasets.street_views import StreetViews
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.isolation_file import load_isolation, save_isolation
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing
from siamese.segmentation import GARMENTS, GROUPS, SegmentationConfig, network_of


def test_intersection_over_union_is_that_of_sets_of_pixels() -> None:
    random = np.random.default_rng(7)
    photos, confusion = [], np.zeros((9, 9), np.int64)
    common, union = np.zeros(9), np.zeros(9)
    for _ in range(3):
        truth, answer = random.integers(0, 8, (2, 20, 16), np.uint8)  # group 8 is nowhere
        photos.append((truth, answer))
        pixels = np.zeros((20, 16, 3), np.uint8)
        confusion += confusion_of(KnownIsolation(answer), [StreetPhoto("", pixels, truth)])
    for group in range(9):
        for truth, answer in photos:
            here = set(zip(*np.nonzero(truth == group), strict=True))
            there = set(zip(*np.nonzero(answer == group), strict=True))
            common[group] += len(here & there)
            union[group] += len(here | there)
    found = intersection_over_union(confusion)
    np.testing.assert_allclose(found[:8], common[:8] / union[:8])
    assert np.isnan(found[8])


def test_figures_are_means_over_garments_not_over_background_skin_and_hair() -> None:
    truth = groups_with((40, 30), upper=(0, 0, 10, 10), lower=(10, 0, 20, 10), hair=(0, 20, 9, 29))
    answer = groups_with((40, 30), upper=(0, 0, 10, 5), lower=(10, 0, 20, 10), bag=(25, 0, 30, 10))
    photo = StreetPhoto("", np.zeros((40, 30, 3), np.uint8), truth)
    figures = figures_of(KnownIsolation(answer), [photo])
    assert figures["iou/upper"] == 0.5
    assert figures["iou/lower"] == 1
    assert figures["iou/bag"] == 0  # seen where none is
    assert figures["iou/hair"] == 0
    assert figures["iou/mean"] == 0.5  # of upper, lower and bag; the others are nowhere
    assert figures["iou/mean without other"] == 0.5


def test_dice_loss_is_naive_dice_over_the_groups_of_the_batch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 6, 5)
    target = torch.randint(0, 3, (2, 6, 5))  # group 3 is nowhere and does not count
    predicted = logits.softmax(1)
    dice = []
    for group in range(3):
        truth = (target == group).float()
        common = (predicted[:, group] * truth).sum()
        dice.append((2 * common + 1) / (predicted[:, group].sum() + truth.sum() + 1))
    assert dice_loss(logits, target).item() == pytest.approx(1 - float(sum(dice)) / 3)
    sure = torch.nn.functional.one_hot(target, 4).permute(0, 3, 1, 2) * 100.0
    assert dice_loss(sure, target).item() == pytest.approx(0, abs=1e-6)


def test_every_epoch_shows_each_photo_once_in_another_order(tmp_path: Path) -> None:
    groups = np.zeros((16, 16), np.uint8)
    photos = [
        StreetPhoto(str(n), np.full((16, 16, 3), 20 * n, np.uint8), groups) for n in range(10)
    ]

    class Plain(StreetViews):
        def __call__(
            self, pixels: np.ndarray, groups: np.ndarray, seed: int
        ) -> tuple[np.ndarray, np.ndarray]:
            return pixels, groups

    views = Views(photos, Plain(16, 16), epochs=3, seed=0)
    assert len(views) == 30
    seen = [int(views[number][0][0, 0, 0]) // 20 for number in range(30)]
    epochs = [seen[:10], seen[10:20], seen[20:]]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_training_learns_made_people_and_repeats_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = split_street(read_street(write_street(tmp_path / "street", 12)), 2, 2)
    monkeypatch.setattr(isolation_training, "SegmentationConfig", lambda: SMALL)
    isolations = [train(parts, epochs=30, seed=0, workers=0) for _ in range(2)]
    before = figures_of(train(parts, epochs=1, seed=0, workers=0), parts["test"])["iou/upper"]
    after = figures_of(isolations[0], parts["test"])["iou/upper"]
    assert after > before + 0.2
    first, second = (isolation.network.state_dict() for isolation in isolations)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_command_leaves_a_file_with_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(isolation_training, "SegmentationConfig", lambda: SMALL)
    monkeypatch.setattr(isolation_training, "HELD_OUT", {"validation": 1, "test": 1})
    folder, out = write_street(tmp_path / "street"), tmp_path / "isolation.safetensors"
    words = ["--folder", str(folder), "--out", str(out), "--epochs", "1"]
    assert isolation_training.main(words) == 0
    isolation = load_isolation(out)
    assert isolation.trained_on.startswith("4 photos of")
    assert {f"test/iou/{group}" for group in GROUPS} < set(isolation.figures)
    printed = capsys.readouterr().out
    assert "mean" in printed
    assert all(group in printed for group in GARMENTS)
    json.dumps(isolation.figures, allow_nan=False)  # a group that is nowhere must not break it


def test_a_file_can_be_measured_again_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(isolation_training, "HELD_OUT", {"validation": 1, "test": 2})
    folder, old, new = write_street(tmp_path / "street"), tmp_path / "old", tmp_path / "new"
    save_isolation(isolation_of("upper"), old)
    words = ["--folder", str(folder), "--start", str(old), "--epochs", "0", "--out", str(new)]
    assert isolation_training.main(words) == 0
    # Everything is taken for a top, which is 28 of 96 rows and 20 of 64 columns.
    assert load_isolation(new).figures["test/iou/upper"] == round(28 * 20 / (96 * 64), 4)
    other, both = tmp_path / "other", tmp_path / "both"
    save_isolation(isolation_of("bag"), other)
    together = ["--beside", str(other), str(other), "--scales", "1", "1.5"]
    assert isolation_training.main([*words[:-1], str(both), *together]) == 0
    joined = load_isolation(both)
    assert (len(joined.beside), joined.scales) == (2, (1.0, 1.5))
    assert joined.figures["test/iou/upper"] == 0.0, "two take everything for a bag"
    capsys.readouterr()
    assert isolation_training.main([*words[:2], "--start", str(both), "--epochs", "0"]) == 1
    assert f"{both}: holds 3 networks; name files of one each" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        isolation_training.main(["--scales", "9"])
    assert "9 is no scale from 0.25 to 4" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        isolation_training.main(["--epochs", "0"])
    assert "--epochs must be at least 1" in capsys.readouterr().err


def test_a_wrong_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert isolation_training.main(["--folder", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("datasets.isolation_training: ")
    assert message.count("\n") == 1


def saved_encoder(path: Path, **config: object) -> Path:
    """A small encoder with random weights and colours of its own."""
    settings = {"widths": (8, 12), "depth": 2, "embedding_size": 8} | config
    encoder = Encoder(EncoderConfig(**settings), 64, 48)  # type: ignore[arg-type]
    for statistics in (b for name, b in encoder.named_buffers() if b.is_floating_point()):
        statistics.uniform_(0.5, 1.5)
    seen = Preprocessing(64, 48, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    Checkpoint(encoder.eval(), seen, Calibration(), "nothing").save(path)
    return path


def test_a_network_that_starts_from_an_encoder_sees_what_it_sees(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = load_checkpoint(saved_encoder(tmp_path / "m.safetensors")).encoder.eval()
    network = network_of(encoder).eval()
    assert network.config == SegmentationConfig((8, 12), (2, 2))
    photos = torch.randn(2, 3, 64, 48)
    features = network.stem(photos)
    for stage in network.down:
        features = stage(features)
    assert isinstance(encoder.backbone, torch.nn.Sequential)
    torch.testing.assert_close(features, encoder.backbone[0](photos))
    assert network(photos).shape == (2, len(GROUPS), 32, 24)


def test_the_command_starts_from_an_encoder_and_refuses_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(isolation_training, "HELD_OUT", {"validation": 1, "test": 1})
    folder, out = write_street(tmp_path / "street"), tmp_path / "isolation.safetensors"
    encoder = saved_encoder(tmp_path / "m.safetensors")
    words = ["--folder", str(folder), "--out", str(out), "--epochs", "1", "--encoder"]
    assert isolation_training.main([*words, str(encoder)]) == 0
    isolation = load_isolation(out)
    assert isolation.network.config == SegmentationConfig((8, 12), (2, 2))
    assert isolation.preprocessing == Preprocessing(
        192, 128, "stretch", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    )
    assert isolation_training.main([*words, str(encoder)]) == 0
    again = load_isolation(out).network.state_dict()
    first = isolation.network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    histogram = tmp_path / "histogram.safetensors"
    saved_encoder(histogram, backbone="colour_histogram", embedding_size=512)
    capsys.readouterr()
    for wrong, said in (
        (histogram, "the backbone small_resnet, not colour_histogram"),
        (tmp_path / "none", "no such checkpoint"),
    ):
        assert isolation_training.main([*words, str(wrong)]) == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
