"""Files of isolation load whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_isolation import SMALL, isolation_of
from PIL import Image
from safetensors.torch import load_file, save_file

from siamese.isolation import Isolation, IsolationError
from siamese.isolation_file import KIND, load_isolation, save_isolation
from siamese.preprocessing import Preprocessing
from siamese.segmentation import GROUPS, SegmentationConfig, SegmentationNetwork

GREY = Image.new("RGB", (60, 80), (90, 90, 90))  # width x height


def test_what_is_saved_comes_back_and_finds_the_same(tmp_path: Path) -> None:
    isolation = isolation_of()
    isolation.network = SegmentationNetwork(SMALL).eval()
    save_isolation(isolation, tmp_path / "isolation.safetensors")
    loaded = load_isolation(tmp_path / "isolation.safetensors")
    assert (loaded.trained_on, loaded.figures) == ("nothing", {"iou/mean": 0.5})
    assert loaded.preprocessing == isolation.preprocessing
    assert loaded.network.config == SMALL
    assert torch.equal(loaded.probabilities(GREY), isolation.probabilities(GREY))


def test_several_networks_come_back_from_one_file(tmp_path: Path) -> None:
    torch.manual_seed(1)
    wider = SegmentationConfig((8, 12), (1, 1))
    other = Isolation(SegmentationNetwork(wider), Preprocessing(48, 32, "stretch"))
    isolation = replace(isolation_of(), beside=[other, isolation_of("bag")], scales=(1.0, 1.4))
    save_isolation(isolation, tmp_path / "three.safetensors")
    loaded = load_isolation(tmp_path / "three.safetensors")
    assert loaded.scales == (1.0, 1.4)
    assert [each.network.config for each in (loaded, *loaded.beside)] == [SMALL, wider, SMALL]
    assert loaded.beside[0].preprocessing == other.preprocessing
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 60, 3), np.uint8))
    for ours, theirs in zip(isolation._decide(photo), loaded._decide(photo), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def rewritten(folder: Path, metadata: dict[str, str]) -> Path:
    """A good file's weights under another description."""
    save_isolation(isolation_of(), folder / "good.safetensors")
    save_file(load_file(folder / "good.safetensors"), folder / "bad.safetensors", metadata)
    return folder / "bad.safetensors"


def card(**changes: object) -> dict[str, str]:
    known = {
        "groups": GROUPS,
        "network": {"widths": [8, 8], "depths": [1, 1]},
        "preprocessing": {
            "height": 32,
            "width": 24,
            "fit": "stretch",
            "mean": [0.5] * 3,
            "std": [0.25] * 3,
        },
        "trained_on": "",
        "figures": {},
    }
    return {"format": KIND.form, "card": json.dumps(known | changes)}


def test_the_hand_made_description_is_a_good_one(tmp_path: Path) -> None:
    assert load_isolation(rewritten(tmp_path, card())).network.config == SMALL


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"format": "siamese-1"}, "is of format 'siamese-1'"),
        ({"format": KIND.form}, "do not fit"),
        (card(groups=["background", "upper"]), "its groups are"),
        (card(network={"widths": [8, 16], "depths": [1, 1]}), "do not fit"),
        (card(network={"widths": [8], "depths": [1, 1]}), "do not fit"),
        (card(preprocessing=[]), "do not fit"),
        (card(beside=[{}]), "do not fit"),
        (card(scales=["large"]), "do not fit"),
    ],
)
def test_a_file_that_is_described_wrongly_is_one_clear_line(
    tmp_path: Path, metadata: dict[str, str], reason: str
) -> None:
    path = rewritten(tmp_path, metadata)
    with pytest.raises(IsolationError) as caught:
        load_isolation(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_or_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    save_isolation(isolation_of(), tmp_path / "cut.safetensors")
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(IsolationError, match="damaged"):
        load_isolation(tmp_path / "cut.safetensors")
    with pytest.raises(IsolationError, match=r"isolation_training.*or mark the garment with --box"):
        load_isolation(tmp_path / "missing.safetensors")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(1)}, tmp_path / "pickled.safetensors")
    with pytest.raises(IsolationError, match="damaged"):
        load_isolation(tmp_path / "pickled.safetensors")
