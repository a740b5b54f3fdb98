"""A tagger as an encoder: what its vectors are, and that neighbours agree in labels."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_catalog import draw_photo, save_checkpoint

import infer
from siamese.adaptation import Adaptation
from siamese.attributes.labelled import REMAINDER, Labelled, labelled
from siamese.attributes.tagger import Column, Input, Tagger, TaggerCard
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.pair_score import Calibration

COLUMNS = (Column("colour", ("blue", "red"), {}), Column("kind", ("a", "b", "c"), {}))


def made(folder: Path, kind: Input) -> tuple[Checkpoint, Tagger, np.ndarray]:
    """A reader, a tagger with random weights, and inputs that it may have been trained on."""
    save_checkpoint(folder / "model.safetensors")
    checkpoint = load_checkpoint(folder / "model.safetensors")
    size = checkpoint.embedding_size if kind == "embedding" else checkpoint.encoder.features
    torch.manual_seed(0)
    tagger = Tagger(TaggerCard(COLUMNS, size, kind, "softmax", checkpoint.fingerprint)).eval()
    inputs = np.random.default_rng(0).normal(size=(50, size)).astype(np.float32) + 0.5
    return tagger.reader(checkpoint), tagger, inputs


@pytest.mark.parametrize("kind", ["features", "embedding"])
def test_a_vector_is_the_label_probabilities_and_what_is_missing_to_one(
    tmp_path: Path, kind: Input
) -> None:
    reader, tagger, inputs = made(tmp_path, kind)
    encoder = labelled(reader, tagger, inputs)
    photos = [tmp_path / f"{number}.png" for number in range(3)]
    for number, photo in enumerate(photos):
        draw_photo(photo, hue=80 * number)
    vectors = encoder.embed(photos)
    colour, sort = tagger.probabilities(reader.embed(photos))
    assert encoder.embedding_size == vectors.shape[1] == 5 + min(REMAINDER, inputs.shape[1])
    torch.testing.assert_close(vectors[:, :2], colour / math.sqrt(2))
    torch.testing.assert_close(vectors[:, 2:5], sort / math.sqrt(2))
    torch.testing.assert_close(vectors.square().sum(dim=1), torch.ones(3))
    assert float(vectors[:, 5:].square().sum()) > 0.1  # random weights are sure of nothing


def test_the_remainder_has_the_same_spread_in_every_direction(tmp_path: Path) -> None:
    reader, tagger, inputs = made(tmp_path, "features")
    network = labelled(reader, tagger, inputs).encoder.backbone
    assert isinstance(network, Labelled)
    spread = (torch.from_numpy(inputs) - network.centre) @ network.directions
    covariance = spread.T @ spread
    torch.testing.assert_close(covariance, torch.eye(len(covariance)), atol=1e-3, rtol=0)


def test_few_products_give_few_directions_and_no_noise(tmp_path: Path) -> None:
    """Centred, so many inputs span one direction less; what is left of that one is rounding."""
    reader, tagger, inputs = made(tmp_path, "features")
    few = inputs[: inputs.shape[1] // 2]
    encoder = labelled(reader, tagger, few)
    network = encoder.encoder.backbone
    assert isinstance(network, Labelled)
    assert network.directions.shape[1] == len(few) - 1
    unseen = torch.from_numpy(inputs[len(few) :]) - network.centre
    besides = torch.nn.functional.normalize(unseen @ network.directions, dim=1)
    assert (
        float((besides @ besides.T).triu(1).abs().sum() / (len(unseen) * (len(unseen) - 1) / 2))
        < 0.8
    )
    same = labelled(reader, tagger, np.repeat(inputs[:1], 5, axis=0))
    draw_photo(tmp_path / "a.png", hue=40)
    assert same.embed([tmp_path / "a.png"]).isfinite().all()


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    reader, tagger, inputs = made(tmp_path, "features")
    encoder = labelled(reader, tagger, inputs)
    encoder.save(tmp_path / "labels.safetensors")
    again = load_checkpoint(tmp_path / "labels.safetensors")
    draw_photo(tmp_path / "a.png", hue=40)
    assert again.fingerprint == encoder.fingerprint != reader.fingerprint
    assert torch.equal(again.embed([tmp_path / "a.png"]), encoder.embed([tmp_path / "a.png"]))
    assert "labels colour, kind" in again.trained_on


def adapted(folder: Path) -> None:
    """A checkpoint that is adapted, in place of the one in that folder."""
    path = folder / "model.safetensors"
    given = load_checkpoint(path)
    size = given.embedding_size
    adaptation = Adaptation(torch.full((size,), 0.1), torch.zeros(size), torch.eye(size))
    replace(given, adaptation=adaptation, adapted_calibration=Calibration()).save(path)


def test_a_tagger_reads_features_as_before_an_adaptation(tmp_path: Path) -> None:
    """Which is of embeddings: of other numbers, and of another size."""
    reader, tagger, inputs = made(tmp_path, "features")
    adapted(tmp_path)
    given = load_checkpoint(tmp_path / "model.safetensors")
    tagger.card = replace(tagger.card, fingerprint=given.fingerprint)
    later = tagger.reader(given)
    assert later.adaptation is None
    draw_photo(tmp_path / "a.png", hue=40)
    assert torch.equal(later.embed([tmp_path / "a.png"]), reader.embed([tmp_path / "a.png"]))
    encoder = labelled(later, tagger, inputs)
    assert encoder.embed([tmp_path / "a.png"]).shape == (1, encoder.embedding_size)


def test_an_encoder_of_adapted_embeddings_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["id,colour"]
    for number in range(12):
        draw_photo(tmp_path / "photos" / f"{number:02}.png", hue=150 * (number % 2) + number)
        lines.append(f"{number:02},{('red', 'blue')[number % 2]}")
    (tmp_path / "shop.csv").write_text("\n".join(lines))
    save_checkpoint(tmp_path / "model.safetensors")
    adapted(tmp_path)
    place = [f"--catalog={tmp_path}/a", f"--checkpoint={tmp_path}/model.safetensors"]
    given = ["--photos", f"{tmp_path}/photos", "--attributes", f"{tmp_path}/shop.csv"]
    assert infer.main(["index", *place, *given]) == 0
    words = ["--encoder", f"{tmp_path}/l.safetensors", "--tagger", f"{tmp_path}/t.safetensors"]
    assert infer.main(["tagger", "train", *place, *words]) == 0
    capsys.readouterr()
    (tmp_path / "l.safetensors").unlink()
    assert infer.main(["tagger", "train", *place, *words, "--input", "embedding"]) == 1
    assert "adapted to a shop" in capsys.readouterr().err
    assert not (tmp_path / "l.safetensors").exists()


def test_the_command_writes_it_and_a_catalog_made_with_it_finds_the_same_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["id,colour"]
    for number in range(30):
        draw_photo(tmp_path / "photos" / f"{number:02}.png", hue=150 * (number % 2) + number // 3)
        lines.append(f"{number:02},{('red', 'blue')[number % 2]}")
    (tmp_path / "shop.csv").write_text("\n".join(lines))
    save_checkpoint(tmp_path / "model.safetensors")
    given = ["--photos", f"{tmp_path}/photos", "--attributes", f"{tmp_path}/shop.csv"]
    first = [f"--catalog={tmp_path}/a", f"--checkpoint={tmp_path}/model.safetensors"]
    assert infer.main(["index", *first, *given]) == 0
    written = [
        "--tagger",
        f"{tmp_path}/tagger.safetensors",
        "--encoder",
        f"{tmp_path}/l.safetensors",
    ]
    assert infer.main(["tagger", "train", *first, *written]) == 0
    second = [f"--catalog={tmp_path}/b", f"--checkpoint={tmp_path}/l.safetensors"]
    assert infer.main(["index", *second, *given]) == 0
    capsys.readouterr()
    asked = ["search", "--product", "07", "--top", "5", "--json"]
    assert infer.main([*asked, *second]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [match["attributes"]["colour"] for match in found["matches"]] == ["blue"] * 5
