"""A comparison beside an encoder that is adapted to a shop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers_catalog import draw_photo, save_checkpoint
from helpers_comparison import sights_of, tiny_comparison
from helpers_infer import Run

import infer
from datasets.manifest import read_manifest
from siamese.adaptation import fit_adaptation
from siamese.checkpoint import Checkpoint
from siamese.checkpoint_file import load_checkpoint
from siamese.comparison_commands import fit_comparison
from siamese.comparison_file import load_comparison, save_comparison
from siamese.comparison_head import ComparisonHead, HeadConfig
from siamese.comparison_report import moved_onto, weight_of
from siamese.embedding import EmbeddedPhotos
from siamese.roles import Role

PRODUCTS = 30


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    """A checkpoint that `calibrate` put a comparison beside, on photos of 30 products."""
    model = save_checkpoint(tmp_path / "model.safetensors")
    save_comparison(tiny_comparison(tmp_path), tmp_path / "comparison.safetensors")
    rows = ["path,product_id,role,split"]
    for number in range(PRODUCTS):
        for role, hue in (("product", 8 * number), ("person", 8 * number + 3)):
            path = draw_photo(tmp_path / role / f"{number:02d}.png", hue, stripes=number % 5)
            rows.append(f"{path},{number:02d},{role},validation")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    words = ["calibrate", tmp_path / "all.csv", "--encoder", model]
    beside = ["--comparison", tmp_path / "comparison.safetensors"]
    out = tmp_path / "fitted.safetensors"
    assert infer.main([*map(str, [*words, *beside, "--out", out])]) == 0
    return out


def adapt(fitted: Path) -> Checkpoint:
    folder = fitted.parent
    places = ["--people", f"{folder}/person", "--products", f"{folder}/product"]
    out = folder / "ours.safetensors"
    assert infer.main(["adapt", *places, "--checkpoint", str(fitted), "--out", str(out)]) == 0
    return load_checkpoint(out)


def test_an_adapted_encoder_keeps_it_moved_to_where_its_cosines_are(fitted: Path) -> None:
    given, ours = load_checkpoint(fitted), adapt(fitted)
    assert given.comparison is not None
    assert ours.comparison is not None
    paths = [
        [f"{fitted.parent}/{role}/{number:02d}.png" for number in range(PRODUCTS)]
        for role in ("person", "product")
    ]
    worn, alone = (ours.embed(some, people=some is paths[0]) for some in paths)
    cosines = worn @ alone.T
    logits = ours.comparison.logits(
        *(sights_of(given.comparison, some, people=some is paths[0]) for some in paths)
    )
    moved = ours.comparison.scale * logits + ours.comparison.offset
    assert float(moved.mean()) == pytest.approx(float(cosines.mean()), abs=1e-3)
    assert float(moved.std()) == pytest.approx(float(cosines.std()), rel=1e-2)
    assert ours.comparison.scale != pytest.approx(given.comparison.scale, rel=1e-2)
    assert ours.comparison.calibration == given.comparison.adapted_calibration


def test_what_likeness_means_once_adapted_is_fitted_with_the_split_adapted_to(
    fitted: Path,
) -> None:
    given = load_checkpoint(fitted)
    assert given.comparison is not None
    frame = read_manifest(fitted.parent / "all.csv")
    people = torch.tensor((frame["role"] == "person").tolist())
    embeddings = torch.empty(len(frame), given.embedding_size)
    for side in (True, False):
        paths = frame.loc[(frame["role"] == "person") == side, "path"].tolist()
        embeddings[people == side] = given.embed(paths, people=side)
    adaptation = fit_adaptation(embeddings[people], embeddings[~people])
    roles = [Role.PERSON if each else Role.PRODUCT for each in people.tolist()]
    sights = torch.stack(
        [
            sights_of(given.comparison, [path], people=each)[0]
            for path, each in zip(frame["path"], people.tolist(), strict=True)
        ]
    )
    embedded = EmbeddedPhotos(adaptation(embeddings, roles), list(range(len(frame))), {}, sights)
    alone = fit_comparison(given.comparison, embedded, frame, None)
    later = given.comparison.adapted_calibration
    assert later is not None
    assert alone.calibration.scale == pytest.approx(later.scale, rel=0.02)
    assert alone.calibration.bias == pytest.approx(later.bias, rel=0.02)
    assert later != given.comparison.calibration


def test_a_search_of_an_adapted_catalog_compares(fitted: Path, run: Run) -> None:
    ours = adapt(fitted)
    comparison = ours.comparison
    assert comparison is not None
    names = [f"{number:02d}" for number in range(0, PRODUCTS, 3)]
    paths = [f"{fitted.parent}/product/{name}.png" for name in names]
    rows = [f"{path},{name},product,test" for path, name in zip(paths, names, strict=True)]
    (fitted.parent / "some.csv").write_text("\n".join(["path,product_id,role,split", *rows]))
    place = ["--checkpoint", fitted.parent / "ours.safetensors", "--catalog", fitted.parent / "c"]
    assert run("index", fitted.parent / "some.csv", *place).code == 0
    photo = str(fitted.parent / "person" / "07.png")
    (found,) = run("search", photo, *place, "--json").json

    sight = sights_of(comparison, [photo], people=True)
    shown = sights_of(comparison, paths, people=False)
    cosines = ours.embed([photo], people=True) @ ours.embed(paths).T
    among = comparison.calibration.among(
        comparison.likeness(cosines, comparison.logits(sight, shown))
    )[0]
    told = {match["product_id"]: match["probability"] for match in found["matches"]}
    expected = dict(zip(names, among[:-1].tolist(), strict=True))
    assert told == pytest.approx(expected, abs=1e-3)
    assert max(told, key=lambda name: told[name]) == max(expected, key=lambda name: expected[name])


def test_where_nothing_says_what_it_means_afterwards_it_is_left_out(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = load_checkpoint(fitted)
    assert given.comparison is not None
    given.comparison = replace(given.comparison, adapted_calibration=None)
    given.save(fitted)
    capsys.readouterr()
    assert adapt(fitted).comparison is None
    assert capsys.readouterr().err.count("is not known, so it is left out") == 1


def test_what_it_counts_is_fitted_to_the_encoder_as_it_is(tmp_path: Path) -> None:
    """Not to the adapted one, which a shop's checkpoint is made of later; files keep it."""
    made = tiny_comparison(tmp_path)
    sizes = HeadConfig(made.head.config.channels, rows=2, columns=3, size=4, hidden=7)
    comparison = replace(made, head=ComparisonHead(sizes))
    random = torch.Generator().manual_seed(0)
    rows = [(f"{product:03d}", role) for product in range(60) for role in ("product", "person")]
    frame = pd.DataFrame(rows, columns=["product_id", "role"])
    own = torch.randn(60, 16, generator=random).repeat_interleave(2, dim=0)
    vague = own + 4 * torch.randn(120, 16, generator=random)
    embeddings = torch.nn.functional.normalize(vague, dim=1)
    shown = torch.randint(-90, 90, (60, 6, 4), generator=random, dtype=torch.int8)
    embedded = EmbeddedPhotos(embeddings, list(range(120)), {}, shown.repeat_interleave(2, dim=0))
    people = torch.tensor([role == "person" for _, role in rows])
    adaptation = fit_adaptation(embeddings[people], embeddings[~people])
    plain = fit_comparison(comparison, embedded, frame, None)
    both = fit_comparison(comparison, embedded, frame, None, adaptation)
    cosines = embeddings[people] @ embeddings[~people].T
    moved = comparison.logits(embedded.seen[people], embedded.seen[~people])
    scale, offset = moved_onto(cosines, moved)
    expected = weight_of(cosines, scale * moved + offset, torch.eye(60, dtype=torch.bool))
    assert plain.weight == both.weight == pytest.approx(expected)
    assert expected != 1
    other = np.roll(np.arange(60), 1)
    frame["also_worn"] = [f"{other[number // 2]:03d}" for number in range(120)]
    more = torch.eye(60, dtype=torch.bool) | torch.eye(60, dtype=torch.bool)[other]
    any_worn = weight_of(cosines, scale * moved + offset, more)
    assert any_worn != expected
    assert fit_comparison(comparison, embedded, frame, None).weight == pytest.approx(any_worn)
    save_comparison(plain, tmp_path / "fitted.safetensors")
    assert load_comparison(tmp_path / "fitted.safetensors").weight == plain.weight
    assert plain.fingerprint == comparison.fingerprint
