"""Published backbones by name; weights from local files and the hub's cache really arrive."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import pytest
import pytorch_lightning as pl
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.module import ProductPhotos
from siamese.checkpoint import Checkpoint, load_checkpoint
from siamese.cli import TrainingCLI
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.module import PhotoBatch, SiameseModule
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing
from siamese.pretrained import load_backbone, normalised_for

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


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("timm/no_such_model", "no such model; near it"),
        ("torchvision/no_such_model", "no such model; near it"),
        ("timm/vit_base_patch16_siglip2_256", "vit_base_patch16_siglip_256"),
        ("timm/resnet50.a1", "resnet50.a1_in1k"),
        ("torchvision/resnet_50", "resnet50"),
        ("timm/hf-hub:timm/resnet50", "set model.pretrained to hf-hub:timm/resnet50"),
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


# ---- the families of configs/pretrained.yaml

DINO, SIGLIP = "vit_small_patch16_dinov3", "vit_base_patch16_siglip_256"


@pytest.mark.parametrize(
    "name", [DINO, SIGLIP, "convnext_tiny", "resnet50", "mobilenetv4_conv_small"]
)
def test_each_family_is_loaded_trained_for_a_step_and_saved_for_search(
    name: str, tmp_path: Path
) -> None:
    """From a file as published, for an input of another shape: first the head alone, then all.

    All weights are equal but those of SigLIP's positions, stretched from 16 x 16 to 4 x 3.
    """
    torch.manual_seed(2)
    given = timm.create_model(name).state_dict()
    save_file(given, tmp_path / "published.safetensors")
    module = SiameseModule(
        EncoderConfig(f"timm/{name}", 16),
        Preprocessing(64, 48),
        str(tmp_path / "published.safetensors"),
        freeze_backbone=True,
        warmup=None,
        weight_decay=0.0,
    )

    def changed() -> set[str]:
        found = module.encoder.backbone.state_dict()
        return {key for key in found if not torch.equal(found[key], given[key])}

    loaded = changed()
    assert loaded == ({"pos_embed"} if name == SIGLIP else set())
    neck = module.encoder.neck[0].weight.clone()  # type: ignore[index]
    take_a_step(module)
    assert changed() == loaded
    assert not torch.equal(module.encoder.neck[0].weight, neck)  # type: ignore[index]
    module.freeze_backbone = False
    module.encoder.backbone.requires_grad_(True)
    take_a_step(module.train())
    kernels = [k for k, p in module.encoder.backbone.named_parameters() if p.ndim == 4]
    assert kernels[0] in changed()  # the gradient reached the first layer
    checkpoint = Checkpoint(module.encoder, module.preprocessing, Calibration(), "noise")
    checkpoint.save(tmp_path / "model.safetensors")
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert again.preprocessing == module.preprocessing
    pixels = torch.randint(0, 256, (2, 64, 48, 3), dtype=torch.uint8)
    assert torch.equal(again.embed_pixels(pixels), checkpoint.embed_pixels(pixels))


def take_a_step(module: SiameseModule) -> None:
    """Two products of noise, each with a product and a person photo."""
    pixels = torch.randint(0, 256, (4, 64, 48, 3), dtype=torch.uint8)
    batch = PhotoBatch(pixels, torch.tensor([0, 0, 1, 1]), torch.tensor([False, True] * 2))
    trainer = pl.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(cast(Any, [batch]), batch_size=None))
    assert torch.isfinite(trainer.callback_metrics["loss"])


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


# ---- the hub


Publish = Callable[..., None]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Puts a repository into the hub's cache, as a download leaves it; the hub is never asked."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))

    def put(repository: str, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
        place = cache / f"models--{repository.replace('/', '--')}"
        snapshot = place / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("0" * 40)
        save_file(weights, snapshot / "model.safetensors")
        (snapshot / "config.json").write_text(json.dumps(config))

    return put


def test_a_name_with_a_tag_takes_its_weights_from_the_hub(
    publish: Publish, published: nn.Module
) -> None:
    classifier = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    publish("timm/resnet18.a1_in1k", published.state_dict() | classifier, {})
    backbone = load_backbone("timm", "resnet18.a1_in1k", True, 64, 48)[0]
    found = backbone.state_dict()
    assert all(torch.equal(found[key], published.state_dict()[key]) for key in found)


def test_weights_of_any_repository_arrive_with_its_mean_and_std(
    publish: Publish, published: nn.Module
) -> None:
    config = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    publish(
        "me/mine", published.state_dict(), {"architecture": "resnet18", "pretrained_cfg": config}
    )
    module = SiameseModule(RESNET, Preprocessing(64, 48), pretrained="hf-hub:me/mine")
    assert module.preprocessing.mean == (0.1, 0.2, 0.3)
    assert module.preprocessing.std == (0.4, 0.5, 0.6)
    found = module.encoder.backbone.state_dict()
    assert all(torch.equal(found[key], published.state_dict()[key]) for key in found)


@pytest.mark.parametrize(
    ("backbone", "pretrained", "link"),
    [
        (
            "timm/resnet18.a1_in1k",
            True,
            "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main",
        ),
        ("timm/resnet18", "hf-hub:me/mine", "its model.safetensors"),
        ("torchvision/resnet18", True, "https://download.pytorch.org/models/resnet18-"),
    ],
)
def test_without_internet_the_message_says_what_to_do(
    backbone: str,
    pretrained: bool | str,
    link: str,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An empty cache, HF_HUB_OFFLINE=1 (see conftest.py), and a torch.hub that finds no host."""

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        SiameseModule(EncoderConfig(backbone), Preprocessing(64, 48), pretrained=pretrained)
    said = one_line(caught)
    assert "check the connection, or download" in said
    assert link in said
    assert "set model.pretrained to that file" in said


# ---- mean and std

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("timm/vit_small_patch16_dinov3.lvd1689m", IMAGENET),
        (f"timm/{SIGLIP}.v2_webli", HALVES),
        ("timm/vit_base_patch16_224.augreg_in21k", HALVES),
        ("timm/vit_base_patch16_224.mae", IMAGENET),
        ("torchvision/resnet50", IMAGENET),
        ("torchvision/efficientnet_v2_l", HALVES),
        ("colour_histogram", ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))),
        ("small_resnet", (Preprocessing.mean, Preprocessing.std)),
        ("report_cnn", (Preprocessing.mean, Preprocessing.std)),
    ],
)
def test_mean_and_std_are_those_that_the_weights_were_trained_with(
    backbone: str, expected: tuple[Any, Any]
) -> None:
    taken = normalised_for(Preprocessing(64, 48, "stretch"), backbone)
    assert taken == Preprocessing(64, 48, "stretch", *expected)


def test_another_mean_that_somebody_set_is_kept_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = Preprocessing(64, 48, "pad", *HALVES)
    assert normalised_for(given, "timm/resnet50") == given
    assert "timm/resnet50 was made for mean [0.485, 0.456, 0.406]" in caplog.text
    caplog.clear()
    right = Preprocessing(64, 48, "pad", *IMAGENET)
    assert normalised_for(right, "timm/resnet50") == right
    assert normalised_for(given, "small_resnet") == given
    assert caplog.text == ""


def test_a_histogram_of_shifted_colours_is_refused() -> None:
    shifted = Preprocessing(64, 48, "pad", *IMAGENET)
    with pytest.raises(UserError, match="leave both out of preprocessing") as caught:
        SiameseModule(EncoderConfig("colour_histogram", 512), shifted)
    one_line(caught)


# ---- configs/pretrained.yaml

CONFIG = Path(__file__).parent.parent / "configs" / "pretrained.yaml"
LINES = re.findall(r"^#   \S.*? ([\d.]+) +(\S+) +(--model.*)$", CONFIG.read_text(), re.MULTILINE)


def test_the_table_of_families_is_found() -> None:
    assert len(LINES) == 6


@pytest.mark.parametrize(("millions", "normalised", "options"), LINES)
def test_every_line_of_the_table_of_families_builds_what_it_says(
    millions: str, normalised: str, options: str, tmp_path: Path
) -> None:
    words = ["--config", str(CONFIG), *shlex.split(options), "--model.pretrained", "false"]
    words += ["--trainer.default_root_dir", str(tmp_path), "--trainer.accelerator", "cpu"]
    cli = TrainingCLI(ProductPhotos, CONFIG, [*words, "--wandb", "false"])
    parameters = sum(weight.numel() for weight in cli.model.encoder.backbone.parameters())
    assert f"{parameters / 1e6:.1f}" == millions
    made = cli.model.preprocessing
    assert (made.height, made.width) == (256, 192)
    assert (made.mean, made.std) == {"ImageNet": IMAGENET, ".5/.5": HALVES}[normalised]
    assert timm.models.is_model_pretrained(cli.model.encoder.config.backbone.removeprefix("timm/"))
