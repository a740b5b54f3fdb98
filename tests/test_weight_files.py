"""Published weights in local files: which arrive, and which are refused in one line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from helpers_pretrained import DINO, RESNET, one_line
from safetensors.torch import save_file
from torch import Tensor, nn

from siamese.encoder import Encoder
from siamese.errors import UserError
from siamese.pretrained import load_backbone


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
@pytest.mark.parametrize("wrapping", [None, "state_dict", "model"])
def test_weights_of_a_local_file_arrive(
    suffix: str, wrapping: str | None, published: nn.Module, tmp_path: Path
) -> None:
    """The encoder's features are those of the model that the file was saved from."""
    path = tmp_path / f"weights{suffix}"
    weights: Any = published.state_dict()
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({wrapping: weights, "epoch": 3} if wrapping else weights, path)
    encoder = Encoder(RESNET, 64, 48, pretrained=path).eval()
    photos = torch.randn(2, 3, 64, 48)
    published.eval()
    expected = published.forward_head(published.forward_features(photos), pre_logits=True)  # type: ignore[operator]
    assert torch.equal(encoder.backbone(photos), expected)
    untrained = Encoder(RESNET, 64, 48).eval()
    assert not torch.allclose(untrained.backbone(photos), expected)


def test_torchvision_weights_of_a_local_file_arrive(tmp_path: Path) -> None:
    model = torchvision.models.mobilenet_v3_small(weights=None)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    backbone, _ = load_backbone(
        "torchvision", "mobilenet_v3_small", tmp_path / "weights.pth", 64, 48
    )
    first = dict(model.named_parameters())["features.0.0.weight"]
    assert torch.equal(dict(backbone.named_parameters())["features.0.0.weight"], first)


def test_networks_of_another_normalisation_translate_it_from_a_file_too(tmp_path: Path) -> None:
    """As torchvision does where it fetches the weights itself."""
    torch.manual_seed(0)
    network = torchvision.models.googlenet(weights=None, init_weights=False, transform_input=True)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    network.fc = nn.Identity()
    photo = torch.rand(1, 3, 64, 64)
    for source in (tmp_path / "weights.pth", False):  # without weights, as a checkpoint starts
        backbone, _ = load_backbone("torchvision", "googlenet", source, 64, 64)
        backbone.load_state_dict(network.state_dict(), strict=False)
        with torch.inference_mode():
            assert torch.allclose(backbone.eval()(photo), network.eval()(photo), atol=1e-5)


def test_transformer_weights_fit_another_input_size(tmp_path: Path) -> None:
    """The weights of positions are stretched from 14 x 14 patches to 4 x 3; all else is equal."""
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=5)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    backbone, _ = load_backbone(
        "timm", "vit_tiny_patch16_224", tmp_path / "vit.safetensors", 64, 48
    )
    found = backbone.state_dict()
    assert found["pos_embed"].shape == (1, 1 + 4 * 3, 192)
    kept = [name for name in found if name != "pos_embed"]
    assert all(torch.equal(found[name], model.state_dict()[name]) for name in kept)


def wrong_shape(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**weights, "conv1.weight": torch.zeros(64, 3, 3, 3)}


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda w: {k: v for k, v in w.items() if k != "layer1.0.conv1.weight"}, "lacks 1 weights"),
        (wrong_shape, "conv1.weight"),
        (
            lambda w: {**w, "layer4.2.bn1.weight": torch.zeros(512)},
            "of a larger model, with 1 more",
        ),
        (lambda w: {f"{k}.renamed": w[k] for k in w}, "lacks"),
    ],
)
def test_weights_of_another_model_are_refused(
    spoil: Any, part: str, published: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(spoil(published.state_dict()), path)
    with pytest.raises(UserError, match=r"other\.safetensors") as caught:
        Encoder(RESNET, 64, 48, pretrained=path)
    assert part in one_line(caught)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", ["truncated", "empty", "text", "no tensors", "missing"])
def test_a_file_that_is_not_weights_is_one_clear_line(
    content: str, suffix: str, published: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    if content == "truncated":
        if suffix == ".pth":
            torch.save(published.state_dict(), path)
        else:
            save_file(published.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif content == "no tensors":
        torch.save({"state_dict": {"a": 1}}, path)
    elif content != "missing":
        path.write_bytes(b"" if content == "empty" else b"not weights\n" * 9)
    with pytest.raises(UserError, match="weights") as caught:
        Encoder(RESNET, 64, 48, pretrained=str(path))
    assert str(path) in one_line(caught)


class Malicious:
    """Unpickled without care, this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_of_weights_is_not_run(zipped: bool, tmp_path: Path) -> None:
    path, folder = tmp_path / "weights.pth", tmp_path / "made by the file"
    if zipped:
        torch.save({"conv1.weight": Malicious(folder)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(folder)))
    with pytest.raises(UserError, match="not opened for safety") as caught:
        Encoder(RESNET, 64, 48, pretrained=path)
    one_line(caught)
    assert not folder.exists()
    with path.open("rb") as file:  # the file would have done it: the test can fail
        if zipped:
            torch.load(file, weights_only=False)
        else:
            pickle.load(file)
    assert folder.exists()


def test_dinov3_weights_of_the_authors_own_naming_arrive(tmp_path: Path) -> None:
    model = timm.create_model(DINO)
    given = model.state_dict()
    meta = {
        key.replace("gamma_1", "ls1.gamma")
        .replace("gamma_2", "ls2.gamma")
        .replace("reg_token", "storage_tokens"): weight
        for key, weight in given.items()
    }
    meta |= {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}
    torch.save(meta, tmp_path / "dinov3_vits16_pretrain.pth")
    found = load_backbone("timm", DINO, tmp_path / "dinov3_vits16_pretrain.pth", 64, 48)[0]
    assert "storage_tokens" in meta
    assert all(torch.equal(weight, given[key]) for key, weight in found.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "visual.trunk.", "encoder.backbone.", "model."])
def test_a_trunk_is_found_within_a_whole_model(
    prefix: str, published: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "whole.safetensors"
    weights = {f"{prefix}{key}": weight for key, weight in published.state_dict().items()}
    save_file(weights | {"text.conv1.weight": torch.zeros(3), "logit_scale": torch.ones(1)}, path)
    found = load_backbone("timm", "resnet18", path, 64, 48)[0].state_dict()
    assert all(torch.equal(found[key], published.state_dict()[key]) for key in found)


def test_files_from_before_batches_were_counted_arrive(tmp_path: Path) -> None:
    model = torchvision.models.resnet18(weights=None)
    old = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "resnet18-5c106cde.pth")
    found = load_backbone("torchvision", "resnet18", tmp_path / "resnet18-5c106cde.pth", 64, 48)[0]
    weights = found.state_dict()
    assert all(torch.equal(weights[key], old[key]) for key in old if not key.startswith("fc."))


def test_a_deeper_model_is_not_taken_for_its_shallower_sister(tmp_path: Path) -> None:
    """All of ResNet-50's weights are in ResNet-101's file, in equal shapes; 17 blocks are more."""
    save_file(timm.create_model("resnet101").state_dict(), tmp_path / "resnet101.safetensors")
    with pytest.raises(UserError, match=r"is of a larger model, with 306 more weights such as lay"):
        load_backbone("timm", "resnet50", tmp_path / "resnet101.safetensors", 64, 48)
