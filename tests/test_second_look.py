"""A second look at a person's photo: geometry by hand, and the same answer from every door."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_explanation import trained_like
from helpers_infer import STEMS, Run
from helpers_serving import client_of, search
from torch.nn import functional

from siamese.catalog import Catalog
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.finder import Finder
from siamese.local_embedding import local_embeddings
from siamese.parts import parts_of
from siamese.roles import Role
from siamese.second_look import MIDDLE, REACH, back_in_place, closer, focus_of

MIXED = [Role.PERSON, Role.GARMENT, Role.PERSON]


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 64, 48, 3), dtype=np.uint8)


@pytest.fixture
def twice(shop: Path, tmp_path: Path) -> Path:
    """The shop's checkpoint, which is to look twice."""
    replace(load_checkpoint(shop / "model.safetensors"), second_look=True).save(tmp_path / "t")
    return tmp_path / "t"


def test_the_box_fills_the_photo() -> None:
    """Red from 20 to 85 % of the height and 15 to 85 % of the width, blue around."""
    pixels = torch.zeros(1, 100, 100, 3, dtype=torch.uint8)
    pixels[..., 2] = 255
    pixels[:, 20:85, 15:85] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    box = torch.tensor([[0.15, 0.2, 0.85, 0.85]])
    seen = closer(pixels, box)[0]
    assert torch.allclose(seen[2:-2, 2:-2], pixels[0, 50, 50].float(), atol=1e-2)
    pixels[:, 20:52, 15:85] = 255  # the upper half of it
    seen = closer(pixels, box)[0]
    assert seen.shape == (100, 100, 3)
    assert torch.allclose(seen[2:45, 2:-2], torch.tensor(255.0), atol=1e-2)
    assert torch.allclose(seen[55:-2, 2:-2], torch.tensor([255.0, 0.0, 0.0]), atol=1e-2)


def test_the_whole_as_a_box_changes_nothing() -> None:
    pixels = torch.from_numpy(noise(2))
    seen = closer(pixels, torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2))
    assert torch.allclose(seen, pixels.float(), atol=0.01)


def test_a_box_half_a_pixel_further_shows_what_lies_between() -> None:
    ramp = torch.arange(0, 200, 2, dtype=torch.uint8)[None, None, :, None].expand(1, 8, 100, 3)
    seen = closer(ramp, torch.tensor([[0.105, 0.0, 0.605, 1.0]]))
    expected = 2 * (0.105 * 100 + (torch.arange(100) + 0.5) / 2 - 0.5)
    # Bicubic weights follow a slope to a tenth of a level; a whole pixel would be 1 off.
    assert (seen[0, 4, :, 0] - expected).abs().max() < 0.15


def test_the_focus_is_where_the_parts_are() -> None:
    """Against a loop: weighted mean and deviation of places, the longer reach for both sides."""
    parts = torch.rand(3, 8, 6, 5, generator=torch.Generator().manual_seed(1)) ** 4
    parts[1, :, 3:] = 0.0
    parts[2] = 0.0
    parts[2, 6, 5] = 1.0  # one position, in a corner
    for part, box in zip(parts, focus_of(parts, 3), strict=True):
        places, weights = [], []
        for row in range(8):
            for column in range(6):
                places.append(((column + 0.5) / 6, (row + 0.5) / 8))
                weights.append(float(part[row, column].norm()))
        mean = np.average(places, axis=0, weights=weights)
        spread = np.average((np.array(places) - mean) ** 2, axis=0, weights=weights) ** 0.5
        side = min(max(2 * REACH * spread.max(), 0.2), 1.0)
        centre = np.clip(mean, side / 2, 1 - side / 2)
        expected = [*(centre - side / 2), *(centre + side / 2)]
        assert box.tolist() == pytest.approx(expected, abs=1e-5)


def test_without_parts_the_focus_is_the_middle() -> None:
    assert focus_of(None, 2).tolist() == [pytest.approx(MIDDLE)] * 2


def test_parts_of_boxes_go_back_to_where_they_were() -> None:
    """Against loops over rectangles so small that each lies in one position of both maps."""
    boxes = torch.tensor([MIDDLE, (0.0, 0.35, 0.7, 1.0)])
    parts = torch.rand(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(parts)
    rows, columns = 260, 70  # .65 in steps of .0025, .7 in steps of .01
    for photo, (left, top, _, _) in enumerate(boxes.tolist()):
        for down in range(rows):
            row = int(4 * (top + 0.0025 * (down + 0.5)))
            for across in range(columns):
                column = int(5 * (left + 0.01 * (across + 0.5)))
                share = parts[photo, 4 * down // rows, 5 * across // columns]
                expected[photo, row, column] += share * 20 / (rows * columns)
    moved = back_in_place(parts, boxes)
    assert torch.allclose(moved, expected, atol=1e-4)
    assert torch.allclose(moved.sum(dim=(1, 2)), parts.sum(dim=(1, 2)), atol=1e-5)


def test_parts_from_outside_of_the_photo_go_to_its_rim() -> None:
    """Of 2 x 2 positions seen twice as large as the photo, the inner quarters are those within."""
    parts = torch.tensor([[1.0, 2.0], [4.0, 8.0]])[None, :, :, None]
    moved = back_in_place(parts, torch.tensor([[-0.5, -0.5, 1.5, 1.5]]))
    assert torch.allclose(moved, parts)
    moved = back_in_place(parts, torch.tensor([[0.5, -3.0, 2.5, -1.0]]))
    assert torch.allclose(moved[0, :, :, 0], torch.tensor([[0.0, 15.0], [0.0, 0.0]]))


def boxes_of(checkpoint: Checkpoint, pixels: np.ndarray) -> torch.Tensor:
    """Where the second look goes."""
    photos = checkpoint.preprocessing.normalise(torch.from_numpy(pixels))
    with torch.inference_mode():
        return focus_of(parts_of(checkpoint.encoder, photos)[1], len(pixels))


@pytest.mark.parametrize("backbone", ["small_resnet", "report_cnn"])
def test_only_whole_photos_of_people_are_looked_at_twice(backbone: str, tmp_path: Path) -> None:
    checkpoint, pixels = trained_like(backbone), noise(3)
    once = checkpoint.embed_pixels(pixels)
    assert torch.equal(checkpoint.embed_pixels(pixels, [Role.PERSON] * 3), once)
    checkpoint.second_look = True
    seen = checkpoint.embed_pixels(pixels, MIXED)
    again = closer(torch.from_numpy(pixels), boxes_of(checkpoint, pixels))
    expected = functional.normalize(once + checkpoint.embed_pixels(again), dim=1)
    assert torch.allclose(seen[::2], expected[::2], atol=1e-5)
    assert torch.allclose(seen[1], once[1], atol=1e-6)
    assert not torch.allclose(seen[0], once[0], atol=1e-3)
    checkpoint.save(tmp_path / "twice.safetensors")
    loaded = load_checkpoint(tmp_path / "twice.safetensors")
    assert loaded.second_look
    assert loaded.fingerprint == replace(checkpoint, second_look=False).fingerprint
    assert torch.equal(loaded.embed_pixels(pixels, MIXED), seen)


@pytest.mark.parametrize("backbone", ["small_resnet", "report_cnn"])
def test_what_a_second_look_adds_is_explained(backbone: str) -> None:
    """Exactly, by the sum; or as the difference that hiding a patch makes to the mean of both."""
    checkpoint = replace(trained_like(backbone), second_look=True)
    found = local_embeddings(checkpoint, noise(2), MIXED[:2])
    assert torch.equal(found.whole, checkpoint.embed_pixels(noise(2), MIXED[:2]))
    assert found.exact == (backbone == "small_resnet")
    if found.exact:
        assert torch.allclose(found.parts.sum(dim=(1, 2)), found.whole, atol=1e-5)
        return
    hidden = noise(1)
    hidden[:, :8, :8] = 0
    white = noise(1)
    white[:, :8, :8] = 255
    without = [checkpoint.embed_pixels(each, [Role.PERSON])[0] for each in (hidden, white)]
    assert torch.allclose(found.parts[0, 0, 0], found.whole[0] - sum(without) / 2, atol=1e-5)


def cosines_of(checkpoint: Checkpoint, shop: Path, whole: bool) -> dict[str, float]:
    photos = [f"{shop}/photos/{stem}.png" for stem in STEMS]
    pixels = np.stack([checkpoint.preprocessing.read(photo) for photo in photos])
    query = checkpoint.embed_pixels(pixels[2:3], [Role.PERSON if whole else Role.GARMENT])
    return dict(zip(STEMS, (checkpoint.embed_pixels(pixels) @ query[0]).tolist(), strict=True))


def test_a_search_looks_twice_unless_a_box_is_given(run: Run, shop: Path, twice: Path) -> None:
    photo = shop / "photos" / f"{STEMS[2]}.png"
    checkpoint = load_checkpoint(twice)
    width, height = 60, 80
    for box, whole in (([], True), (["--box", f"0,0,{width},{height}"], False)):
        found = run("search", photo, "--checkpoint", twice, "--json", *box).json[0]["matches"]
        told = {match["product_id"]: match["cosine"] for match in found}
        assert told == pytest.approx(cosines_of(checkpoint, shop, whole), abs=1e-4)
    ranking = Finder(checkpoint, Catalog.open(shop / "catalog")).rank([photo])[0]
    assert {m.product_id: m.cosine for m in ranking.matches} == pytest.approx(
        cosines_of(checkpoint, shop, True), abs=1e-4
    )


def test_the_server_looks_twice_unless_a_box_is_given(
    shop: Path, twice: Path, tmp_path: Path
) -> None:
    shutil.copytree(shop / "catalog", tmp_path / "catalog")
    shutil.copy(twice, tmp_path / "model.safetensors")
    photo = shop / "photos" / f"{STEMS[2]}.png"
    checkpoint = load_checkpoint(twice)
    with client_of(tmp_path) as client:
        for box, whole in (({}, True), ({"box": "0,0,60,80"}, False)):
            found = search(client, photo.read_bytes(), **box).json()["matches"]
            told = {match["product_id"]: match["cosine"] for match in found}
            assert told == pytest.approx(cosines_of(checkpoint, shop, whole), abs=1e-4)
