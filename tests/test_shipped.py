"""The checkpoint that comes with Siamese."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers_catalog import draw_photo
from helpers_comparison import sights_of
from safetensors import safe_open

from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.default_checkpoint import SHIPPED
from siamese.files import LARGE

LARGEST = 25e6  # bytes


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return load_checkpoint(SHIPPED)


def test_it_is_small_and_keeps_networks_of_two_purposes_once(shipped: Checkpoint) -> None:
    assert Path(SHIPPED).stat().st_size < LARGEST
    with safe_open(SHIPPED, "pt") as file:
        sizes = {name: file.get_tensor(name).nbytes for name in file.keys()}  # noqa: SIM118
    own_copies = [sizes[name] for name in sizes if name.startswith("comparison.networks.")]
    assert max(own_copies) < LARGE
    assert shipped.comparison is not None
    own, compares = (
        encoder.state_dict() for encoder in (shipped.encoder, shipped.comparison.encoder)
    )
    for name, weight in compares.items():
        assert torch.equal(weight, own[name])


def test_it_knows_what_it_says_before_and_after_an_adaptation(shipped: Checkpoint) -> None:
    assert shipped.own_cohort is not None
    assert shipped.comparison is not None
    known = [shipped.adapted_calibration, shipped.comparison.adapted_calibration]
    known += [shipped.calibration, shipped.comparison.calibration]
    for calibration in known:
        assert calibration is not None
        assert calibration.scale > 0


def test_the_photo_itself_is_more_alike_than_another(shipped: Checkpoint, tmp_path: Path) -> None:
    photos = [str(draw_photo(tmp_path / f"{hue}.png", hue, stripes=2)) for hue in (0, 60, 120)]
    comparison = shipped.comparison
    assert comparison is not None
    people, products = (sights_of(comparison, photos, people=side) for side in (True, False))
    cosines = shipped.embed(photos, people=True) @ shipped.embed(photos).T
    alike = comparison.likeness(cosines, comparison.logits(people, products))
    assert alike.argmax(dim=1).tolist() == [0, 1, 2]
