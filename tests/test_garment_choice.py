"""Which part of a photo a search looks at, by isolation or by a person detector."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_isolation import KnownIsolation, groups_with, isolation_of
from PIL import Image
from torch import Tensor, nn

from siamese.garment_choice import GarmentChoice, load_finder_of_garments
from siamese.isolation import CHOICES, IsolationError
from siamese.isolation_file import save_isolation
from siamese.person_detector import PersonDetector
from siamese.photos import PhotoError
from siamese.search_arguments import GARMENTS as OFFERED

DETECTOR = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.new("RGB", (60, 80), (0, 120, 0)).save(tmp_path / "person.png")
    return str(tmp_path / "person.png")


@pytest.fixture
def dressed() -> KnownIsolation:
    return KnownIsolation(groups_with((80, 60), upper=(10, 20, 40, 50), lower=(15, 50, 35, 80)))


def test_the_command_line_offers_what_can_be_chosen() -> None:
    assert OFFERED == CHOICES


def test_the_box_of_the_named_garment_has_a_margin(photo: str, dressed: KnownIsolation) -> None:
    assert GarmentChoice(dressed, "upper").part_of(photo) == (photo, (8.2, 18.2, 41.8, 51.8))
    assert GarmentChoice(dressed, "lower").box_in(photo) == (13.2, 48.2, 36.8, 80)
    assert GarmentChoice(dressed, "largest").box_in(photo) == (8.2, 18.2, 41.8, 51.8)


def test_without_background_the_garment_alone_is_embedded(
    photo: str, dressed: KnownIsolation
) -> None:
    part, box = GarmentChoice(dressed, "upper", remove_background=True).part_of(photo)
    assert box is None
    assert isinstance(part, bytes)
    pixels = np.asarray(Image.open(BytesIO(part)))
    assert pixels.shape == (34, 34, 3)
    assert (pixels[17, 17] == (0, 120, 0)).all()
    assert (pixels[0] == 255).all()


def test_a_missing_garment_is_one_line_that_says_what_is_there(
    photo: str, dressed: KnownIsolation
) -> None:
    choice = GarmentChoice(dressed, "shoes")
    with pytest.raises(PhotoError, match=r"person\.png: no garment of group shoes .*upper, lower"):
        choice.part_of(photo)
    good, missing, bad = [
        *GarmentChoice(dressed, "upper").parts_of([photo]),
        *choice.parts_of([photo, "nowhere.jpg"]),
    ]
    assert not isinstance(good, PhotoError)
    assert "no garment" in str(missing)
    assert "no such file" in str(bad)


class KnownDetector(nn.Module):
    """Answers with these boxes, labels and scores."""

    def __init__(
        self,
        boxes: Sequence[tuple[float, ...]],
        labels: list[int],
        scores: list[float],
        masks: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.seen = {
            "boxes": torch.tensor(boxes).reshape(-1, 4),
            "labels": torch.tensor(labels),
            "scores": torch.tensor(scores),
        }
        if masks is not None:
            self.seen["masks"] = masks

    def forward(self, photos: list[Tensor]) -> list[dict[str, Tensor]]:
        assert photos[0].shape[0] == 3
        assert 0 <= photos[0].min() <= photos[0].max() <= 1
        return [self.seen]


PHOTO = Image.new("RGB", (100, 220), "white")


def test_the_largest_person_has_parts_of_fixed_shares() -> None:
    detector = KnownDetector(
        [(0, 0, 100, 220), (10, 10, 50, 210), (60, 100, 70, 120), (0, 0, 90, 220)],
        [3, 1, 1, 1],  # the first is no person, the last not a sure one
        [0.99, 0.9, 0.95, 0.3],
    )
    found = {garment.group: garment for garment in PersonDetector(detector).find(PHOTO)}
    assert found["upper"].box == (10, 36, 50, 120)
    assert found["lower"].box == (10, 94, 50, 202)
    assert found["shoes"].box == (10, 196, 50, 210)
    assert found["full"].box == (10, 36, 50, 180)
    assert found["upper"].confidence == pytest.approx(0.9)
    assert found["upper"].share == pytest.approx(40 * 84 / 22000)


def test_a_person_s_mask_is_cut_into_parts_too() -> None:
    masks = torch.zeros(1, 1, 220, 100)
    masks[0, 0, :, 20:40] = 0.8
    detector = KnownDetector([(10, 10, 50, 210)], [1], [0.9], masks)
    found = {garment.group: garment for garment in PersonDetector(detector).find(PHOTO)}
    assert found["upper"].mask.sum() == 84 * 20
    assert found["upper"].mask[36:120, 20:40].all()


def test_a_photo_without_people_has_no_garment() -> None:
    assert PersonDetector(KnownDetector([], [], [])).find(PHOTO) == []


def test_a_detector_is_loaded_from_a_local_file_of_weights(tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.get_model(DETECTOR[12:], weights=None, weights_backbone=None)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded = load_finder_of_garments(DETECTOR, str(tmp_path / "weights.pth"))
    assert isinstance(loaded, PersonDetector)
    weights = loaded.detector.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert isinstance(loaded.find(PHOTO), list)  # a random network sees nothing surely


def test_weights_of_another_model_and_unknown_names_are_one_line(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(IsolationError, match=r"other\.pth: not weights of"):
        load_finder_of_garments(DETECTOR, str(tmp_path / "other.pth"))
    with pytest.raises(IsolationError, match=r"missing\.pth: no such file of weights"):
        load_finder_of_garments(DETECTOR, str(tmp_path / "missing.pth"))
    with pytest.raises(IsolationError, match=r"no such detector; torchvision has .*maskrcnn"):
        load_finder_of_garments("torchvision/nothing", None)
    with pytest.raises(IsolationError, match="goes with --isolation torchvision/NAME"):
        load_finder_of_garments("isolation.safetensors", "weights.pth")


def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(IsolationError, match=r"cannot be fetched .no route.*--isolation-weights"):
        load_finder_of_garments(DETECTOR)


def test_a_file_of_isolation_is_loaded_by_its_path(tmp_path: Path) -> None:
    save_isolation(isolation_of("bag"), tmp_path / "isolation.safetensors")
    loaded = load_finder_of_garments(str(tmp_path / "isolation.safetensors"))
    assert [garment.group for garment in loaded.find(PHOTO)] == ["bag"]
