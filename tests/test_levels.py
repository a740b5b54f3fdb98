"""Statistics of all levels of a network: exact values, weights, shares of positions, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from helpers_pretrained import one_line
from safetensors.torch import save_file

from siamese.attributes.tagger import strip_neck
from siamese.backbones import GeneralisedMeanPooling, SmallResNet
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.levels import LEAST_VARIANCE, PooledLevels, shares_of
from siamese.local_embedding import local_embeddings
from siamese.module import SiameseModule
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing

NAMES = ["resnet18", "convnext_atto", "tf_efficientnet_lite0", "vit_tiny_patch16_224"]


def config_of(name: str, neck: str = "none") -> EncoderConfig:
    return EncoderConfig(f"timm/{name}", 16, pooling="levels", neck=neck)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_mean_and_deviation_of_each_levels_channels(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size: dict[str, Any] = {"img_size": (64, 48)} if name.startswith("vit") else {}
    model: Any = timm.create_model(name, num_classes=3, **size).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    encoder = Encoder(config_of(name), 64, 48, tmp_path / "weights.safetensors").eval()
    photos = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        levels = model.forward_intermediates(photos, intermediates_only=True, output_fmt="NCHW")
        found = encoder.backbone(photos)
    expected = []
    for level in levels:
        flat = level.flatten(2)
        mean = flat.mean(dim=2)
        variance = (flat - mean[:, :, None]).square().mean(dim=2)
        expected += [mean, (variance + LEAST_VARIANCE).sqrt()]
    torch.testing.assert_close(found, torch.cat(expected, dim=1), rtol=1e-4, atol=1e-4)
    assert found.shape[1] == encoder.features == encoder.config.embedding_size
    assert found.shape[1] == 2 * sum(level.shape[1] for level in levels)


def test_a_file_needs_to_hold_the_levels_alone(tmp_path: Path) -> None:
    """Published files of features lack what follows: VGG's 120 million weights, say."""
    file = tmp_path / "weights.safetensors"
    model: Any = timm.create_model("tf_efficientnet_lite0")
    weights = model.state_dict()
    after = ("conv_head.", "bn2.", "classifier.")
    assert sum(name.startswith(after) for name in weights) > len(after)
    kept = {name: weight for name, weight in weights.items() if not name.startswith(after)}
    save_file(kept, file)
    trunk = cast(Any, Encoder(config_of("tf_efficientnet_lite0"), 64, 48, file).backbone).trunk
    assert trunk.state_dict().keys() == kept.keys()
    assert all(torch.equal(weight, kept[name]) for name, weight in trunk.state_dict().items())
    with pytest.raises(UserError, match="lacks 5 weights of the backbone, among them conv_head"):
        Encoder(EncoderConfig("timm/tf_efficientnet_lite0", 16), 64, 48, file)
    del kept["conv_stem.weight"]
    save_file(kept, file)
    with pytest.raises(UserError, match="lacks 1 weights of the backbone, among them conv_stem"):
        Encoder(config_of("tf_efficientnet_lite0"), 64, 48, file)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_that_is_kept_is_trained(name: str) -> None:
    """One without a gradient would stop a training on several devices."""
    encoder = Encoder(config_of(name, neck="linear"), 64, 48).train()
    encoder(torch.randn(4, 3, 64, 48))[:, 0].sum().backward()
    without = [n for n, weight in encoder.named_parameters() if weight.grad is None]
    assert not without
    assert all(torch.isfinite(weight.grad).all() for weight in encoder.parameters())  # type: ignore[arg-type]


def test_a_photo_of_one_colour_has_finite_gradients() -> None:
    encoder = Encoder(config_of("resnet18", neck="linear"), 64, 48).eval()
    encoder(torch.zeros(2, 3, 64, 48))[:, 0].sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in encoder.parameters())  # type: ignore[arg-type]


def test_they_come_back_from_a_checkpoint_and_are_explained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(config_of("resnet18"), 64, 48).eval()
    made = Checkpoint(encoder, Preprocessing(64, 48), Calibration(), "levels")
    made.save(tmp_path / "model.safetensors")
    again = load_checkpoint(tmp_path / "model.safetensors")
    pixels = torch.randint(0, 256, (2, 64, 48, 3), dtype=torch.uint8)
    assert again.fingerprint == made.fingerprint
    torch.testing.assert_close(again.embed_pixels(pixels), made.embed_pixels(pixels))
    assert local_embeddings(again, pixels.numpy()).exact


@pytest.mark.parametrize("backbone", ["small_resnet", "torchvision/resnet18", "lab_histogram"])
def test_other_networks_have_none(backbone: str) -> None:
    with pytest.raises(UserError) as caught:
        SiameseModule(EncoderConfig(backbone, pooling="levels"), Preprocessing(64, 48))
    assert f"{backbone} has no pooling 'levels'" in one_line(caught)


def test_published_networks_have_none_beside_their_features() -> None:
    with pytest.raises(UserError) as caught:
        EncoderConfig("timm/resnet18", pooling="gem+levels")
    assert "timm/resnet18 has no pooling 'gem+levels', which is for small_resnet" in one_line(
        caught
    )


@pytest.mark.parametrize("depth", [1, 2])
def test_a_small_resnets_are_those_of_its_stem_and_stages(depth: int) -> None:
    torch.manual_seed(0)
    config = EncoderConfig("small_resnet", 8, (4, 6), depth, pooling="gem+levels")
    encoder = Encoder(config, 64, 48).eval()
    photos = torch.rand(3, 3, 64, 48)
    with torch.no_grad():
        found = encoder.backbone(photos)
        trunk, pool = cast(Any, encoder.backbone)
        features, seen = photos, {}
        for place, module in enumerate(trunk):
            features = module(features)
            seen[place] = features
        levels = [seen[2], seen[2 + depth], seen[2 + 2 * depth]]
        assert features.shape[2] == 8  # rows
        levels += [features[:, :, :3], features[:, :, 2:6], features[:, :, 5:]]
        expected = [pool(features)]
        for level in levels:
            flat = level.flatten(2)
            deviation = (flat.var(dim=2, correction=0) + LEAST_VARIANCE).sqrt()
            expected += [flat.mean(dim=2), deviation]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert found.shape[1] == encoder.features == 6 + 2 * (4 + 4 + 6) + 3 * 2 * 6
    assert encoder.own_features == 6


def test_they_do_not_change_the_embedding_of_a_small_resnet() -> None:
    torch.manual_seed(0)
    plain = Encoder(EncoderConfig("small_resnet", 8, (4, 6), 2), 64, 48).eval()
    config = EncoderConfig("small_resnet", 8, (4, 6), 2, pooling="gem+levels")
    encoder = Encoder(config, 64, 48).eval()
    encoder.load_state_dict(plain.state_dict())
    photos = torch.rand(3, 3, 64, 48)
    with torch.no_grad():
        assert torch.equal(encoder(photos), plain(photos))
        strip_neck(plain)
        strip_neck(encoder)
        assert torch.equal(encoder(photos), plain(photos))
    assert encoder.config.embedding_size == 6


@pytest.mark.parametrize(("height", "width"), [(64, 48), (50, 37), (16, 16), (8, 8)])
def test_shares_of_positions_sum_to_the_statistics(height: int, width: int) -> None:
    torch.manual_seed(0)
    backbone = PooledLevels(SmallResNet((4, 6), 1), GeneralisedMeanPooling()).eval()
    with torch.no_grad():
        levels = backbone.levels(torch.rand(2, 3, height, width))
        shares, pooled = backbone.shares(levels), backbone.pooled(levels)
    assert shares.shape[1:3] == levels[-1].shape[2:]
    assert torch.isfinite(shares).all()
    torch.testing.assert_close(shares.sum(dim=(1, 2)), pooled[:, 6:], rtol=1e-4, atol=1e-5)


def test_a_share_is_of_its_own_position() -> None:
    """Of one bright spot: all of the mean, and of the deviation what is far from that mean."""
    level = torch.zeros(1, 1, 4, 6)
    level[0, 0, 3, 1] = 24.0  # a mean of 1
    coarse = torch.zeros(1, 1, 2, 3)
    shares = shares_of([level, coarse])[0]
    assert shares[:, :, 0].tolist() == [[0, 0, 0], [1, 0, 0]]
    deviation = 23**0.5
    rest = 4 / 24 / deviation
    expected = torch.full((2, 3), rest)
    expected[1, 0] = (23**2 + 3) / 24 / deviation
    torch.testing.assert_close(shares[:, :, 1], expected, rtol=1e-4, atol=1e-5)
