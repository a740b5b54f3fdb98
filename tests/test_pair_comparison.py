"""What compares two photos: the head by hand, its file, and what it keeps of photos."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_catalog import draw_photo, save_checkpoint
from helpers_comparison import sights_of, tiny_comparison
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from datasets.comparison_training import comparison_of
from siamese import comparison_head
from siamese.checkpoint import Checkpoint, CheckpointError
from siamese.checkpoint_file import load_checkpoint
from siamese.comparison import maps_of
from siamese.comparison_file import ComparisonError, load_comparison, save_comparison
from siamese.comparison_head import ComparisonHead, HeadConfig
from siamese.errors import UserError
from siamese.extractors import extractor
from siamese.pair_score import Calibration
from siamese.photos import PhotoError
from siamese.roles import Role
from siamese.second_opinion import KEPT, SecondOpinion

SMALL = HeadConfig(channels=5, rows=2, columns=3, size=4, hidden=7)


def head_of(seed: int = 0) -> ComparisonHead:
    """An untrained head that gives clearly different photos clearly different logits."""
    torch.manual_seed(seed)
    return ComparisonHead(SMALL).eval()


def naive_logit(head: ComparisonHead, person: Tensor, product: Tensor) -> float:
    """The head's formula, position by position."""
    size = head.config.size
    total = 0.0
    for ones, others, place, other_place in (
        (product, person, head.place[0], head.place[1]),
        (person, product, head.place[1], head.place[0]),
    ):
        judged, weights = [], []
        for position in range(len(ones)):
            asking = head.asking(ones[position] + place[position])
            heat = [
                float(asking @ head.asked(others[other] + other_place[other])) / math.sqrt(size)
                for other in range(len(others))
            ]
            attention = torch.tensor(heat).softmax(dim=0)
            found = sum(share * other for share, other in zip(attention, others, strict=True))
            own = ones[position]
            hidden = head.different((own - found).abs()) + head.common(own * found) + head.own(own)
            said = head.judgement(functional.gelu(hidden))
            judged.append(float(said[0]))
            weights.append(float(said[1]))
        shares = torch.tensor(weights).softmax(dim=0)
        total += float(shares @ torch.tensor(judged))
    return float(head.scale) * total


def test_each_position_looks_for_its_like_in_the_other_photo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = head_of()
    people, products = torch.randn(3, 6, 4), torch.randn(5, 6, 4)
    with torch.no_grad():
        expected = torch.tensor(
            [[naive_logit(head, person, product) for product in products] for person in people]
        )
    torch.testing.assert_close(head(people, products).detach(), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01
    for pairs in (1, 2, 7, 1000):  # however many fit into memory
        monkeypatch.setattr(comparison_head, "PAIRS", pairs)
        found = head.logits(people, products)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert head.logits(people[:0], products).shape == (0, 5)


def test_channels_are_standardised_and_left_out_in_training_alone() -> None:
    head = head_of()
    maps = torch.randn(4, 6, 5) * 3 + 2
    head.standardisation.fit(maps.flatten(0, 1))
    normal = head.standardisation(maps)
    torch.testing.assert_close(normal.mean(dim=(0, 1)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(head.positions(maps), head.norm(head.map(normal)))
    head.dropout.p = 0.999999
    torch.testing.assert_close(head.positions(maps), head.norm(head.map(normal)))
    bias = head.norm(head.map.bias).expand(4, 6, 4)
    torch.testing.assert_close(head.train().positions(maps), bias)


def test_levels_are_brought_to_one_number_of_positions(tmp_path: Path) -> None:
    """A network of two levels, 12 x 8 and 6 x 4 positions, after a stem of 12 x 8."""
    comparison = tiny_comparison(tmp_path)
    photos = comparison.normalised(torch.randint(0, 256, (2, 48, 32, 3), dtype=torch.uint8))
    several: Any = comparison.encoder.backbone
    (member, seen), *_ = several.views(photos)
    levels = member.backbone.levels(seen)
    config = HeadConfig(channels=32, rows=6, columns=4)
    maps = maps_of(comparison.encoder, photos, config)
    assert maps.shape == (2, 24, sum(level.shape[1] for level in levels))
    mean = levels[0][0, :, 2:4, 4:6].mean(dim=(1, 2))  # of the position in row 1, column 2
    torch.testing.assert_close(maps[0, 4 + 2, : len(mean)], mean)
    torch.testing.assert_close(maps[1, 4 + 2, -16:], levels[-1][1, :, 1, 2])
    with pytest.raises(UserError, match="show their levels"):
        comparison_of(extractor("lab_histogram"))


def test_a_file_keeps_all_of_it(tmp_path: Path) -> None:
    made = replace(
        tiny_comparison(tmp_path),
        scale=2.0,
        offset=-0.5,
        calibration=Calibration(scale=3.0, bias=1.0),
    )
    save_comparison(made, tmp_path / "one.safetensors")
    read = load_comparison(tmp_path / "one.safetensors")
    assert read.card == made.card
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 32, 3), np.uint8)
    roles = [Role.PERSON, Role.GARMENT, Role.PRODUCT]
    torch.testing.assert_close(
        read.sights(pixels, roles), made.sights(pixels, roles), rtol=0, atol=0
    )


@pytest.mark.parametrize("damage", ["none", "other", "cut", "weight", "format", "card"])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "one.safetensors"
    save_comparison(tiny_comparison(tmp_path), path)
    told = {"none": "no such", "other": "no comparison or damaged", "cut": "damaged"}
    if damage == "none":
        path.unlink()
    elif damage == "other":
        path.write_text("no weights")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "format":
        save_checkpoint(path)
    else:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        weights = load_file(path)
        if damage == "weight":
            weights["comparison.head.scale"] += 1
        else:
            metadata["card"] = "{}"
        save_file(weights, path, metadata)
    message = told.get(damage, {"weight": "changed", "format": "is of format"}.get(damage, "holds"))
    with pytest.raises(ComparisonError, match=message):
        load_comparison(path)


def checkpoint_with(folder: Path) -> Checkpoint:
    """A tiny encoder with a comparison fitted to it."""
    checkpoint = load_checkpoint(save_checkpoint(folder / "model.safetensors"))
    fitted = Calibration(scale=9.0, bias=-7.0)
    checkpoint.comparison = replace(
        tiny_comparison(folder), scale=0.2, offset=0.1, calibration=fitted
    )
    return checkpoint


def test_a_checkpoint_keeps_it_and_its_embeddings_stay_what_they_are(tmp_path: Path) -> None:
    checkpoint = checkpoint_with(tmp_path)
    path = tmp_path / "both.safetensors"
    checkpoint.save(path)
    read = load_checkpoint(path)
    assert read.fingerprint == load_checkpoint(tmp_path / "model.safetensors").fingerprint
    assert read.comparison is not None
    assert checkpoint.comparison is not None
    assert read.comparison.card == checkpoint.comparison.card
    weights = load_file(path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    name = next(name for name in weights if name.startswith("comparison.networks"))
    save_file({**weights, name: weights[name] + 1}, path, metadata)
    with pytest.raises(CheckpointError, match="comparison changed"):
        load_checkpoint(path)
    part = {name: each for name, each in weights.items() if not name.startswith("comparison.head")}
    save_file(part, path, metadata)
    with pytest.raises(CheckpointError, match="comparison changed"):
        load_checkpoint(path)


def test_it_goes_where_the_cosines_that_it_was_fitted_to_change(tmp_path: Path) -> None:
    checkpoint = checkpoint_with(tmp_path)
    assert checkpoint.looking(None, None).comparison is checkpoint.comparison
    assert checkpoint.looking(True, None).comparison is None
    assert checkpoint.looking(None, True).comparison is None
    assert checkpoint.with_encoder(checkpoint.encoder).comparison is None


def test_product_photos_are_looked_at_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opinion = SecondOpinion(tiny_comparison(tmp_path))
    paths = [str(draw_photo(tmp_path / f"{hue}.png", hue)) for hue in (10, 90, 170)]
    looked: list[int] = []
    plain = opinion.comparison.sights

    def counted(pixels: Any, roles: Any) -> Tensor:
        looked.append(len(pixels))
        return plain(pixels, roles)

    monkeypatch.setattr(opinion.comparison, "sights", counted)
    sight = sights_of(opinion.comparison, paths[:1], people=True)
    looked.clear()
    first = opinion.logits(sight, paths)
    assert looked == [3]
    for place, path in enumerate(paths):
        shown = sights_of(opinion.comparison, [path], people=False)
        expected = float(opinion.comparison.logits(sight, shown))
        assert float(first[place]) == pytest.approx(expected, abs=1e-4)
    looked.clear()
    assert opinion.logits(sight, paths[::-1]).tolist() == pytest.approx(first.tolist()[::-1])
    assert looked == []
    two = torch.cat([sight, sights_of(opinion.comparison, paths[1:2], people=True)])
    both = opinion.logits(two, paths)
    second = opinion.logits(two[1:], paths)
    torch.testing.assert_close(both, (first + second) / 2)
    looked.clear()
    draw_photo(tmp_path / "90.png", 200, stripes=4)
    Path(paths[2]).write_bytes(b"no photo")
    changed = opinion.logits(sight, [*paths, str(tmp_path / "none.png")])
    assert float(changed[0]) == pytest.approx(float(first[0]))
    assert abs(float(changed[1]) - float(first[1])) > 1e-4
    assert changed.isnan().tolist() == [False, False, True, True]
    assert looked == [1]
    assert opinion.logits(sight, []).shape == (0,)
    assert KEPT > 100


def test_few_product_photos_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.second_opinion.KEPT", 2)
    opinion = SecondOpinion(tiny_comparison(tmp_path))
    paths = [str(draw_photo(tmp_path / f"{hue}.png", hue)) for hue in (10, 90, 170)]
    sight = sights_of(opinion.comparison, paths[:1], people=True)
    every = opinion.logits(sight, paths)
    assert len(opinion._kept) == 2
    for kept in opinion._kept.values():
        assert kept.untyped_storage().nbytes() == kept.numel(), "and not its whole batch"
    assert opinion.logits(sight, paths).tolist() == pytest.approx(every.tolist(), abs=1e-5)


def test_a_blank_photo_of_a_person_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (60, 80), "white").save(tmp_path / "blank.png")
    comparison = tiny_comparison(tmp_path)
    with pytest.raises(PhotoError):
        sights_of(comparison, [tmp_path / "blank.png"], people=True)
    assert len(sights_of(comparison, [tmp_path / "blank.png"], people=False)) == 1


def test_whole_people_are_seen_closer(tmp_path: Path) -> None:
    made = tiny_comparison(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 48, 32, 3), np.uint8)
    person, garment = (made.sights(pixels, [role]) for role in (Role.PERSON, Role.GARMENT))
    from siamese.second_look import closer

    photos = torch.from_numpy(pixels)
    near = closer(photos, made.focus(photos))
    torch.testing.assert_close(person, made.sights(near, [Role.GARMENT]))
    assert (person.int() - garment.int()).abs().max() > 1
    # An encoder that has found out where spares it the search.
    boxes = torch.tensor([[0.2, 0.1, 0.7, 0.6]])
    told = made.sights(pixels, [Role.PERSON], boxes)
    torch.testing.assert_close(told, made.sights(closer(photos, boxes), [Role.GARMENT]))
    assert (told != person).any()
    unknown = made.sights(pixels, [Role.PERSON], torch.full((1, 4), torch.nan))
    torch.testing.assert_close(unknown, person)
    torch.testing.assert_close(made.sights(pixels, [Role.GARMENT], boxes), garment)
    assert replace(made).card == made.card
