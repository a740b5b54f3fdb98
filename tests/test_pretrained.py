"""Published backbones by name; weights from local files and the hub's cache really arrive."""

from __future__ import annotations

import json
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
from helpers_pretrained import DINO, RESNET, one_line
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.module import ProductPhotos
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.cli import TrainingCLI
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.module import PhotoBatch, SiameseModule
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing
from siamese.pretrained import load_backbone, normalised_for


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


SIGLIP = "vit_base_patch16_siglip_256"


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
