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
from siamese.checkpoint import Checkpoint, load_checkpoint
from siamese.finder import Finder
from siamese.local_embedding import local_embeddings
from siamese.roles import Role
from siamese.second_look import ACROSS, DOWN, back_in_place, middle_of

MIXED = [Role.PERSON, Role.GARMENT, Role.PERSON]


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 64, 48, 3), dtype=np.uint8)


@pytest.fixture
def twice(shop: Path, tmp_path: Path) -> Path:
    """The shop's checkpoint, which is to look twice."""
    replace(load_checkpoint(shop / "model.safetensors"), second_look=True).save(tmp_path / "t")
    return tmp_path / "t"


def test_the_middle_fills_the_photo() -> None:
    """Red from 20 to 85 % of the height and 15 to 85 % of the width, blue around."""
    pixels = torch.zeros(1, 100, 100, 3, dtype=torch.uint8)
    pixels[..., 2] = 255
    pixels[:, 20:85, 15:85] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    assert torch.equal(middle_of(pixels)[0], pixels[0, 50, 50].expand(100, 100, 3))
    pixels[:, 20:52, 15:85] = 255  # the upper half of the middle
    seen = middle_of(pixels)[0]
    assert seen.shape == (100, 100, 3)
    assert (seen[:45] == 255).all()
    assert (seen[55:] == torch.tensor([255, 0, 0])).all()


def test_parts_of_the_middle_go_back_to_where_they_were() -> None:
    """Against loops over rectangles so small that each lies in one position of both maps."""
    parts = torch.rand(2, 4, 5, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(parts)
    rows, columns = 260, 70  # .65 in steps of .0025, .7 in steps of .01
    for down in range(rows):
        row = int(4 * (DOWN[0] + 0.0025 * (down + 0.5)))
        for across in range(columns):
            column = int(5 * (ACROSS[0] + 0.01 * (across + 0.5)))
            share = parts[:, 4 * down // rows, 5 * across // columns] * 20 / (rows * columns)
            expected[:, row, column] += share
    moved = back_in_place(parts)
    assert torch.allclose(moved, expected, atol=1e-4)
    assert torch.allclose(moved.sum(dim=(1, 2)), parts.sum(dim=(1, 2)), atol=1e-5)


def test_only_whole_photos_of_people_are_looked_at_twice(tmp_path: Path) -> None:
    checkpoint, pixels = trained_like("small_resnet"), noise(3)
    once = checkpoint.embed_pixels(pixels)
    assert torch.equal(checkpoint.embed_pixels(pixels, [Role.PERSON] * 3), once)
    checkpoint.second_look = True
    seen = checkpoint.embed_pixels(pixels, MIXED)
    middle = checkpoint.embed_pixels(middle_of(torch.from_numpy(pixels)))
    expected = functional.normalize(once + middle, dim=1)
    assert torch.allclose(seen[::2], expected[::2], atol=1e-5)
    assert torch.allclose(seen[1], once[1], atol=1e-6)
    assert not torch.allclose(seen[0], once[0], atol=1e-3)
    checkpoint.save(tmp_path / "twice.safetensors")
    again = load_checkpoint(tmp_path / "twice.safetensors")
    assert again.second_look
    assert again.fingerprint == replace(checkpoint, second_look=False).fingerprint
    assert torch.equal(again.embed_pixels(pixels, MIXED), seen)


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
