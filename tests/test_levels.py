"""Statistics of all levels of a published network: exact values, weights and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers_pretrained import one_line
from safetensors.torch import save_file

from siamese.checkpoint import Checkpoint, load_checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.levels import LEAST_VARIANCE
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


def test_they_come_back_from_a_checkpoint_and_are_explained_roughly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(config_of("resnet18"), 64, 48).eval()
    made = Checkpoint(encoder, Preprocessing(64, 48), Calibration(), "levels")
    made.save(tmp_path / "model.safetensors")
    again = load_checkpoint(tmp_path / "model.safetensors")
    pixels = torch.randint(0, 256, (2, 64, 48, 3), dtype=torch.uint8)
    assert again.fingerprint == made.fingerprint
    torch.testing.assert_close(again.embed_pixels(pixels), made.embed_pixels(pixels))
    assert not local_embeddings(again, pixels.numpy()).exact


@pytest.mark.parametrize("backbone", ["small_resnet", "torchvision/resnet18", "lab_histogram"])
def test_other_networks_have_none(backbone: str) -> None:
    with pytest.raises(UserError) as caught:
        SiameseModule(EncoderConfig(backbone, pooling="levels"), Preprocessing(64, 48))
    assert f"{backbone} has no pooling 'levels'" in one_line(caught)
