"""A training goes on from other weights, or says in one line why it cannot."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_checkpoint import SMALL, made

from siamese.checkpoint_file import load_checkpoint
from siamese.concatenation import concatenated
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.preprocessing import Preprocessing
from siamese.start_weights import start_from_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    made().save(path)
    return path


def channels_last(encoder: Encoder) -> Encoder:
    """As the training's module keeps it."""
    return encoder.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("flip", [False, True])
def test_a_training_starts_with_the_very_weights_and_batch_statistics(
    saved: Path, flip: bool
) -> None:
    """Flip averaging has no weights, so either encoder may start from one without it."""
    torch.manual_seed(5)
    encoder = channels_last(Encoder(replace(SMALL, flip_average=flip), 32, 32))
    given = load_checkpoint(saved).encoder.state_dict()
    name = "backbone.0.0.weight"
    assert not torch.equal(encoder.state_dict()[name], given[name])
    start_from_checkpoint(encoder, Preprocessing(32, 32), saved)
    assert all(torch.equal(weight, given[name]) for name, weight in encoder.state_dict().items())
    assert encoder.training
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.state_dict()[name].is_contiguous(memory_format=torch.channels_last)


def test_levels_beside_have_no_weights_so_either_may_start_from_the_other(
    saved: Path, tmp_path: Path
) -> None:
    with_levels = replace(SMALL, pooling="gem+levels")
    encoder = Encoder(with_levels, 32, 32)
    start_from_checkpoint(encoder, Preprocessing(32, 32), saved)
    given = load_checkpoint(saved).encoder
    photos = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(encoder.eval()(photos), given.eval()(photos), atol=1e-6)
    made(with_levels).save(tmp_path / "levels.safetensors")
    plain = Encoder(SMALL, 32, 32)
    start_from_checkpoint(plain, Preprocessing(32, 32), tmp_path / "levels.safetensors")
    weights = load_checkpoint(tmp_path / "levels.safetensors").encoder.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in plain.state_dict().items())


def test_photos_of_another_size_may_be_trained_on(saved: Path) -> None:
    encoder = Encoder(SMALL, 48, 40)
    start_from_checkpoint(encoder, Preprocessing(48, 40), saved)
    given = load_checkpoint(saved).encoder.state_dict()
    assert all(torch.equal(weight, given[name]) for name, weight in encoder.state_dict().items())


def test_a_deeper_network_begins_as_the_one_that_it_goes_on_from(saved: Path) -> None:
    given = load_checkpoint(saved).encoder
    encoder = channels_last(Encoder(replace(SMALL, depth=3), 32, 32))
    start_from_checkpoint(encoder, Preprocessing(32, 32), saved)
    photos = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(encoder.eval()(photos), given.eval()(photos), atol=1e-6)
    encoder.train()(photos).square().sum().backward()
    blocks = list(encoder.backbone[0])[3:]  # type: ignore[index]
    scales = [block.body[-1].weight for block in blocks]
    assert [bool((scale == 0).all()) for scale in scales] == [False, True, True] * 2
    encoder.train()(photos)[:, 0].sum().backward()
    assert all(scale.grad is not None and scale.grad.abs().sum() > 0 for scale in scales)


def test_a_network_does_not_become_shallower(saved: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep.safetensors"
    made(replace(SMALL, depth=2)).save(deep)
    with pytest.raises(UserError, match="another encoder, with depth 2; set"):
        start_from_checkpoint(Encoder(SMALL, 32, 32), Preprocessing(32, 32), deep)


def test_for_another_embedding_size_the_neck_alone_starts_anew(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Encoder(replace(SMALL, embedding_size=7), 32, 32)
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        start_from_checkpoint(encoder, Preprocessing(32, 32), saved)
    given = load_checkpoint(saved).encoder.state_dict()
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, (before if name.startswith("neck.") else given)[name]), name
    assert "embeddings of 12 numbers, not 7: the neck starts anew" in caplog.text


@pytest.mark.parametrize(
    ("config", "preprocessing", "complaint"),
    [
        (
            replace(SMALL, widths=(8, 8), pooling="average"),
            Preprocessing(32, 32),
            r"with widths \(8, 16\), pooling 'gem'; set",
        ),
        (
            EncoderConfig("timm/resnet18", 12, (8, 16), 1),
            Preprocessing(32, 32),
            "with backbone 'small_resnet'; set",
        ),
        (SMALL, Preprocessing(32, 32, mean=(0.4, 0.5, 0.5)), "mean and std alike"),
    ],
)
def test_a_start_that_is_another_network_is_one_line(
    config: EncoderConfig, preprocessing: Preprocessing, complaint: str, saved: Path
) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        start_from_checkpoint(Encoder(config, 32, 32), preprocessing, saved)
    assert "\n" not in str(caught.value)


def test_a_start_of_several_encoders_is_the_first_or_the_one_named(
    saved: Path, tmp_path: Path
) -> None:
    path = tmp_path / "both.safetensors"
    first, other = load_checkpoint(saved), made(replace(SMALL, widths=(8, 8)))
    concatenated([first, other]).save(path)
    for name, given in ((path, first), (f"{path}#1", first), (f"{path}#2", other)):
        encoder = Encoder(given.encoder.config, 32, 32)
        start_from_checkpoint(encoder, Preprocessing(32, 32), name)
        for key, weight in given.encoder.state_dict().items():
            assert torch.equal(encoder.state_dict()[key], weight), key
    for name, complaint in (
        (f"{path}#2", r"#2: is another encoder, with widths \(8, 8\)"),
        (f"{path}#0", "number its encoders from 1 to 2"),
        (f"{path}#3", "number its encoders from 1 to 2"),
        (f"{saved}#2", "number its encoders from 1 to 1"),
        (f"{path}#two", "no such checkpoint"),
    ):
        with pytest.raises(UserError, match=complaint):
            start_from_checkpoint(Encoder(SMALL, 32, 32), Preprocessing(32, 32), name)


def test_a_neck_where_there_was_none_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.safetensors"
    bare = made(EncoderConfig("timm/resnet18", neck="none"))
    bare.save(path)
    encoder = Encoder(replace(bare.encoder.config, neck="linear"), 32, 32)
    with caplog.at_level(logging.WARNING):
        start_from_checkpoint(encoder, Preprocessing(32, 32), path)
    for name, weight in bare.encoder.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], weight), name
    assert "has the neck 'none', not 'linear': the neck starts anew" in caplog.text


def test_a_start_whose_weights_depend_on_the_size_of_photos_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    made(EncoderConfig("report_cnn", 12)).save(path)
    for size, embedding_size in ((40, 12), (32, 7)):
        encoder = Encoder(EncoderConfig("report_cnn", embedding_size), size, size)
        with pytest.raises(UserError, match="fit only photos of 32x32 and embeddings of 12") as it:
            start_from_checkpoint(encoder, Preprocessing(size, size), path)
        assert "\n" not in str(it.value)


def test_a_missing_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such checkpoint; check model\.start_from"):
        start_from_checkpoint(Encoder(SMALL, 32, 32), Preprocessing(32, 32), tmp_path / "nowhere")
