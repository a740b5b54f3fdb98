"""Published backbones by name, and weights from local files that really arrive."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.pretrained import load_backbone

RESNET = EncoderConfig("timm/resnet18", embedding_size=16)


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """Stands for a published model: random weights, with a classifier as the files have."""
    torch.manual_seed(1)
    return timm.create_model("resnet18", pretrained=False, num_classes=10)


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    ("library", "name", "size", "features"),
    [
        ("timm", "resnet18", (64, 48), 512),
        ("timm", "vit_tiny_patch16_224", (64, 48), 192),
        ("torchvision", "mobilenet_v3_small", (64, 48), 576),
        ("torchvision", "resnet18", (33, 47), 512),
        ("torchvision", "vgg11", (32, 32), 512 * 7 * 7),
        ("torchvision", "googlenet", (64, 64), 1024),
    ],
)
def test_backbones_give_one_vector_per_photo_in_training_too(
    library: str, name: str, size: tuple[int, int], features: int
) -> None:
    backbone, found = load_backbone(library, name, False, *size)
    assert found == features
    assert backbone.training
    assert backbone(torch.randn(2, 3, *size)).shape == (2, features)


def test_asking_for_the_number_of_features_changes_no_batch_statistics() -> None:
    backbone, _ = load_backbone("timm", "resnet18", False, 64, 48)
    buffers = dict(backbone.named_buffers())
    assert buffers["bn1.num_batches_tracked"] == 0
    assert (buffers["bn1.running_mean"] == 0).all()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_a_local_file_arrive(
    suffix: str, wrapped: bool, published: nn.Module, tmp_path: Path
) -> None:
    """The encoder's features are those of the model that the file was saved from."""
    path = tmp_path / f"weights{suffix}"
    weights: Any = published.state_dict()
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights, "epoch": 3} if wrapped else weights, path)
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
        (lambda w: {f"module.{k}": v for k, v in w.items()}, "lacks"),
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


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("timm/no_such_model", "no_such_model"),
        ("torchvision/no_such_model", "no_such_model"),
        ("torchvision/raft_small", "classifier is not known"),
        ("torchvision/vit_b_16", "64x48"),
    ],
)
def test_models_that_cannot_be_built_are_one_line_with_their_name(name: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        Encoder(EncoderConfig(name), 64, 48)
    assert name.split("/")[1] in one_line(caught)
    assert part in one_line(caught)


def test_an_input_that_is_not_cut_into_whole_patches_is_refused() -> None:
    """timm itself would leave the last columns of each photo unseen."""
    with pytest.raises(UserError, match="60x48 pixels is not cut into whole patches of 16x16"):
        Encoder(EncoderConfig("timm/vit_tiny_patch16_224"), 60, 48)


def test_without_internet_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> nn.Module:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match="connection, or give a local file") as caught:
        Encoder(RESNET, 64, 48, pretrained=True)
    assert "Name or service not known" in one_line(caught)
