"""One file holds all that serving needs; a damaged, foreign or changed one is one clear line."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from siamese.checkpoint import Checkpoint, CheckpointError
from siamese.checkpoint_file import load_checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.pair_score import Calibration
from siamese.photos import PhotoError, PhotoSource
from siamese.preprocessing import Preprocessing

ROOT = Path(__file__).parent.parent
SMALL = EncoderConfig(widths=(8, 16), depth=1, embedding_size=12)
CALIBRATION = Calibration(scale=9.25, bias=-3.1, threshold=0.61)


def made(
    config: EncoderConfig = SMALL, preprocessing: Preprocessing | None = None, seed: int = 0
) -> Checkpoint:
    """An encoder that has seen a few photos, so that its batch statistics are not the initial."""
    torch.manual_seed(seed)
    preprocessing = preprocessing or Preprocessing(32, 32)
    encoder = Encoder(config, preprocessing.height, preprocessing.width)
    encoder(torch.randn(4, 3, preprocessing.height, preprocessing.width))
    return Checkpoint(encoder, preprocessing, CALIBRATION, "a test")


def photos(count: int, preprocessing: Preprocessing, seed: int = 0) -> np.ndarray:
    shape = (count, preprocessing.height, preprocessing.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    made().save(path)
    return path


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("small_resnet", (40, 32)),
        ("report_cnn", (32, 40)),
        ("colour_histogram", (32, 32)),
        ("timm/resnet18", (48, 32)),
        ("timm/vit_tiny_patch16_224", (48, 32)),
        ("torchvision/mobilenet_v3_small", (48, 32)),
        ("torchvision/resnet18", (33, 47)),
        ("torchvision/vgg11", (32, 32)),
    ],
)
def test_a_loaded_encoder_gives_the_same_bits(
    backbone: str, size: tuple[int, int], tmp_path: Path
) -> None:
    embedding_size = 512 if backbone == "colour_histogram" else 16
    config = EncoderConfig(backbone, embedding_size, widths=(8, 16))
    preprocessing = Preprocessing(*size, fit="stretch", mean=(0.4, 0.5, 0.6))
    checkpoint = made(config, preprocessing)
    checkpoint.save(tmp_path / "model.safetensors")
    torch.manual_seed(99)  # the weights come from the file, not from the same random numbers
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    pixels = photos(3, preprocessing)
    assert torch.equal(loaded.embed_pixels(pixels), checkpoint.embed_pixels(pixels))
    assert loaded.fingerprint == checkpoint.fingerprint
    assert loaded.preprocessing == preprocessing
    assert loaded.calibration == CALIBRATION
    assert loaded.trained_on == "a test"
    assert loaded.embedding_size == embedding_size
    assert not loaded.encoder.training


def test_another_process_gives_the_same_fingerprint_and_nearly_the_same_embedding(
    saved: Path,
) -> None:
    """Without the data package, without the training's module."""
    code = (
        "import sys, numpy as np; from siamese.checkpoint_file import load_checkpoint;"
        "c = load_checkpoint(sys.argv[1]);"
        "e = c.embed_pixels(np.full((1, 32, 32, 3), 77, np.uint8));"
        "assert 'datasets' not in sys.modules and 'pytorch_lightning' not in sys.modules;"
        "print(c.fingerprint, *e[0].tolist())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, str(saved)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    here = load_checkpoint(saved)
    assert output[0] == here.fingerprint
    expected = here.embed_pixels(np.full((1, 32, 32, 3), 77, np.uint8))[0]
    assert [float(x) for x in output[1:]] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    "name", ["weight", "batch statistics", "size", "fit", "mean", "pooling", "flip"]
)
def test_whatever_decides_an_embedding_decides_the_fingerprint(name: str) -> None:
    checkpoint = made()
    if name == "weight":
        other = made()
        next(other.encoder.parameters()).data[0, 0, 0, 0] += 1e-6
    elif name == "batch statistics":
        other = made()
        next(other.encoder.buffers())[0] += 1e-6
    elif name == "pooling":
        other = made(replace(SMALL, pooling="average"))
    elif name == "flip":
        other = made(replace(SMALL, flip_average=True))
    else:
        changed: dict[str, Any] = {"size": {"height": 33}, "fit": {"fit": "stretch"}}
        preprocessing = Preprocessing(32, 32)
        preprocessing = replace(preprocessing, **changed.get(name, {"mean": (0.5, 0.5, 0.51)}))
        other = made(preprocessing=preprocessing)
    assert other.fingerprint != checkpoint.fingerprint
    assert len(checkpoint.fingerprint) == 16


def test_flip_averaging_is_saved_and_was_off_before_it_could_be(tmp_path: Path) -> None:
    """The card of an older checkpoint does not name it; nor does one of today that is without."""
    for flip in (False, True):
        made(replace(SMALL, flip_average=flip)).save(tmp_path / "m.safetensors")
        with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
            assert ("flip_average" in json.loads(file.metadata()["card"])["encoder"]) == flip
        assert load_checkpoint(tmp_path / "m.safetensors").encoder.config.flip_average == flip


def test_what_scores_mean_and_the_label_do_not_decide_the_fingerprint() -> None:
    """A catalog stays usable when the threshold is fitted again."""
    checkpoint, other = made(), made()
    other.calibration, other.trained_on = Calibration(), "other"
    assert other.fingerprint == checkpoint.fingerprint


def test_an_embedding_hardly_depends_on_its_batch() -> None:
    """Sums may be taken in another order: float32 allows about 1e-6 on vectors of length one."""
    checkpoint = made()
    pixels = photos(67, checkpoint.preprocessing)
    whole = checkpoint.embed_pixels(pixels)
    for size in (1, 2, 33):
        parts = [checkpoint.embed_pixels(pixels[i : i + size]) for i in range(0, 67, size)]
        assert (torch.cat(parts) - whole).abs().max() < 2e-6


def test_embedding_leaves_no_trace_in_the_encoder() -> None:
    checkpoint = made()
    before = {name: w.clone() for name, w in checkpoint.encoder.state_dict().items()}
    embedding = checkpoint.embed_pixels(photos(5, checkpoint.preprocessing))
    assert not embedding.requires_grad
    assert all(torch.equal(w, before[name]) for name, w in checkpoint.encoder.state_dict().items())


def encoded(seed: int, width: int = 60, height: int = 90) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_photos_of_any_source_are_embedded_in_order_with_their_boxes(tmp_path: Path) -> None:
    checkpoint = made()
    (tmp_path / "photo.png").write_bytes(encoded(1))
    box = (10.0, 20.0, 50.0, 60.0)
    third = BytesIO(encoded(2))
    sources: list[PhotoSource] = [encoded(0), tmp_path / "photo.png", third, encoded(1)]
    found = checkpoint.embed(sources, [None, None, box, box], batch=3)
    pixels = np.stack(
        [
            checkpoint.preprocessing.read(encoded(seed), part)
            for seed, part in ((0, None), (1, None), (2, box), (1, box))
        ]
    )
    assert torch.allclose(found, checkpoint.embed_pixels(pixels), atol=2e-6)
    assert (found[1] - found[3]).abs().max() > 1e-3  # the box matters
    assert checkpoint.embed([]).shape == (0, 12)
    with pytest.raises(PhotoError):
        checkpoint.embed([b"no photo"])


# ---- files that are not what they should be


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    assert str(path) in message
    return message


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_truncated_file_is_refused(kept: int, saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    assert "damaged" in refused(saved)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "no such checkpoint; train one" in refused(tmp_path / "none.safetensors")
    assert "no such checkpoint" in refused(tmp_path)


@pytest.mark.parametrize("content", ["text", "photo", "pickle"])
def test_a_file_of_another_kind_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    if content == "pickle":
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(b"what is this\n" * 50 if content == "text" else encoded(0))
    assert "not a checkpoint" in refused(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "siamese-0"}])
def test_weights_that_are_no_checkpoint_of_this_version_are_refused(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata)
    assert "this version reads 'siamese-1'" in refused(path)


def rewrite(path: Path, change: Any) -> None:
    """Save the same file with a changed card or changed weights, a well-formed one."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    card = json.loads(metadata["card"])
    metadata["card"] = json.dumps(change(card, weights) or card)
    save_file(weights, path, metadata)


def no_card(card: dict[str, Any], weights: dict[str, Any]) -> Any:
    return ["not", "a", "card"]


@pytest.mark.parametrize(
    "change",
    [
        no_card,
        lambda card, weights: card.pop("fingerprint") and None,
        lambda card, weights: card.pop("calibration") and None,
        lambda card, weights: card["preprocessing"].update(height="tall"),
        lambda card, weights: card["preprocessing"].update(mean=0.5),
        lambda card, weights: card["preprocessing"].update(unknown=1),
        lambda card, weights: card.update(preprocessing=[1, 2]),
        lambda card, weights: card["encoder"].update(backbone="keras/vgg"),
        lambda card, weights: card["encoder"].update(widths=[8]),
        lambda card, weights: card["encoder"].update(widths=None),
        lambda card, weights: weights.pop("neck.0.weight") is None or None,
        lambda card, weights: weights.update({"more": torch.zeros(2)}),
    ],
)
def test_weights_that_do_not_fit_their_description_are_refused(change: Any, saved: Path) -> None:
    rewrite(saved, change)
    assert "do not fit its description" in refused(saved)


def test_a_card_that_is_not_json_is_refused(saved: Path) -> None:
    with safe_open(saved, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(weights, saved, {"format": "siamese-1", "card": "{not json"})
    assert "do not fit its description" in refused(saved)
    save_file(weights, saved, {"format": "siamese-1"})
    assert "do not fit its description" in refused(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda card, weights: weights["neck.0.weight"].mul_(1.0001) is None,
        lambda card, weights: card["preprocessing"].update(mean=[0.5, 0.5, 0.4]),
        lambda card, weights: card["preprocessing"].update(fit="stretch"),
    ],
)
def test_a_file_changed_after_it_was_saved_is_refused(change: Any, saved: Path) -> None:
    rewrite(saved, lambda card, weights: change(card, weights) and None)
    assert "changed after it was saved" in refused(saved)


def test_every_flipped_bit_of_the_weights_is_noticed(saved: Path) -> None:
    """At 200 places behind the header, seed 0."""
    content = saved.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    generator = np.random.default_rng(0)
    for place in generator.integers(8 + header, len(content), 200):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(generator.integers(8))
        saved.write_bytes(flipped)
        refused(saved)


def test_a_full_disk_leaves_the_old_checkpoint(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(weights: Any, path: Path, metadata: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        made(seed=1).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_disk_that_fills_while_the_library_writes_is_an_os_error(
    saved: Path, tmp_path: Path
) -> None:
    """The library's own errors are another type; a limit on file size stands for the disk."""
    code = (
        "import resource, sys, torch; from test_checkpoint import made;"
        "sys.dont_write_bytecode = True;"  # it would be cut off, and stay so
        "c = made(seed=1); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "\ntry: c.save(sys.argv[1])\nexcept OSError as error: print('OSError', error)"
    )
    before = saved.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved)],
        cwd=ROOT / "tests", env={"PYTHONPATH": f"{ROOT}:{ROOT}/tests", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("OSError"), done.stderr[-800:]
    assert saved.read_bytes() == before
    assert list(tmp_path.iterdir()) == [saved]
