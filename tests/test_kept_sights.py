"""Catalogs that keep what a comparison saw in product photos, so that no search opens them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_catalog import draw_photo, save_checkpoint
from helpers_comparison import tiny_comparison
from helpers_infer import Run
from helpers_serving import client_of, ids_of, put, search
from PIL import Image

from siamese.catalog import Catalog, Product
from siamese.checkpoint_file import load_checkpoint
from siamese.comparison import Comparison
from siamese.comparison_file import load_comparison, save_comparison
from siamese.embedding import embed_all
from siamese.finder import Finder
from siamese.looks import looks_at
from siamese.roles import Role


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """A checkpoint with a comparison."""
    save_checkpoint(tmp_path / "plain.safetensors")
    checkpoint = load_checkpoint(tmp_path / "plain.safetensors")
    checkpoint.comparison = replace(tiny_comparison(tmp_path), scale=0.5, offset=0.2)
    checkpoint.save(tmp_path / "compared.safetensors")
    return tmp_path / "compared.safetensors"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six products' photos, at home: a garment before a floor."""
    for number in range(6):
        draw_photo(tmp_path / "photos" / f"{number}.png", 25 * number, stripes=number % 4)
    return tmp_path / "photos"


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return draw_photo(tmp_path / "asked.png", hue=47, stripes=2)


@pytest.fixture
def kept(compared: Path, photos: Path, tmp_path: Path, run: Run) -> Path:
    """A catalog that keeps."""
    words = ["--photos", photos, "--catalog", tmp_path / "kept", "--checkpoint", compared]
    assert run("index", *words).code == 0
    return tmp_path / "kept"


def comparison_in(checkpoint: Path) -> Comparison:
    comparison = load_checkpoint(checkpoint).comparison
    assert comparison is not None
    return comparison


def test_an_index_keeps_what_a_search_would_see(kept: Path, compared: Path, photos: Path) -> None:
    comparison, catalog = comparison_in(compared), Catalog.open(kept)
    assert catalog.comparison == comparison.fingerprint
    assert "photo_sight" not in catalog.attribute_types
    snapshot = catalog.snapshot()
    order = np.array([4, 0, 5])
    for name, stored in zip(order, snapshot.sights(order), strict=True):
        pixels = comparison.read(str(photos / f"{name}.png"), None, Role.PRODUCT)
        expected = comparison.sights(pixels[None].copy(), [Role.PRODUCT])
        assert stored == expected.numpy().tobytes()
        assert stored is not None
        assert len(stored) == 108 * 64
    assert "photo_sight" not in snapshot.rows.column_names


def test_a_search_needs_no_product_photos_and_says_what_it_said_with_them(
    kept: Path, compared: Path, photos: Path, asked: Path, tmp_path: Path, run: Run
) -> None:
    other = ["--photos", photos, "--catalog", tmp_path / "other", "--checkpoint", compared]
    assert run("index", *other, "--no-comparison").code == 0
    assert Catalog.open(tmp_path / "other").comparison is None
    words = ["search", asked, "--checkpoint", compared, "--json", "--catalog"]
    before = run(*words, tmp_path / "other")
    (plain,) = run(*words, kept, "--no-comparison").json
    shutil.rmtree(photos)
    found, gone = run(*words, kept), run(*words, tmp_path / "other")
    assert found.json == before.json
    assert found.json[0]["matches"] != plain["matches"]
    assert found.err == ""
    assert "6 of the 6 best products could not be compared" in gone.err


def test_products_that_come_later_are_kept_too(
    kept: Path, compared: Path, photos: Path, asked: Path, run: Run, tmp_path: Path
) -> None:
    words = ["--catalog", kept, "--checkpoint", compared]
    new = draw_photo(tmp_path / "new" / "a.png", 60, stripes=2)
    assert run("add", "new", new, *words, "--set", "colour=red").code == 0
    assert run("update", "3", new, new, *words).code == 0
    assert run("update", "2", "--set", "colour=blue", *words).code == 0
    assert run("remove", "5", "--catalog", kept).code == 0
    snapshot = Catalog.open(kept).snapshot()
    ids = [snapshot.product_ids[place] for place in snapshot.product]
    assert ids == ["0", "1", "2", "3", "3", "4", "new"]
    sights = snapshot.sights(np.arange(7))
    comparison = comparison_in(compared)
    sources = [
        photos / "0.png",
        photos / "1.png",
        photos / "2.png",
        new,
        new,
        photos / "4.png",
        new,
    ]
    for path, stored in zip(sources, sights, strict=True):
        pixels = comparison.read(str(path), None, Role.PRODUCT)
        assert stored == comparison.sights(pixels[None].copy(), [Role.PRODUCT]).numpy().tobytes(), (
            path
        )
    assert [row.get("colour") for _, row in snapshot.describe(np.arange(7))][2] == "blue"
    shutil.rmtree(photos)
    new.unlink()
    assert run("search", asked, *words).err == ""


def test_what_another_comparison_saw_is_not_used(
    kept: Path, compared: Path, photos: Path, asked: Path, run: Run, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    checkpoint = load_checkpoint(compared)
    assert checkpoint.comparison is not None
    with torch.no_grad():
        checkpoint.comparison.head.map.weight.add_(torch.randn(64, 1))
    checkpoint.save(tmp_path / "newer.safetensors")
    newer = tmp_path / "newer.safetensors"
    assert comparison_in(newer).fingerprint != comparison_in(compared).fingerprint
    words = ["--photos", photos, "--catalog", tmp_path / "other", "--checkpoint", newer]
    assert run("index", *words, "--no-comparison").code == 0
    found, expected = (
        run("search", asked, "--checkpoint", newer, "--json", "--catalog", place)
        for place in (kept, tmp_path / "other")
    )
    assert found.json == expected.json
    # A product that came by it has nothing kept: both comparisons look at its photo.
    new = draw_photo(tmp_path / "new" / "a.png", 60, stripes=2)
    assert run("add", "new", new, "--catalog", kept, "--checkpoint", newer).code == 0
    assert Catalog.open(kept).snapshot().sights(np.arange(7))[6] is None
    assert run("search", asked, "--catalog", kept, "--checkpoint", compared).err == ""
    new.unlink()
    told = run("search", asked, "--catalog", kept, "--checkpoint", compared)
    assert "1 of the 7 best products could not be compared" in told.err


def test_a_catalog_that_is_replaced_under_a_search_keeps_other_sights_or_none(
    kept: Path, compared: Path, photos: Path, asked: Path, run: Run, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(compared)
    finder, writer = Finder(checkpoint, kept), Catalog.open(kept)
    (before,) = finder.rank([asked])
    words = ["--photos", photos, "--catalog", kept, "--checkpoint", compared, "--overwrite"]
    assert run("index", *words, "--no-comparison").code == 0
    (after,) = finder.rank([asked])
    assert after.matches == before.matches
    assert after.compared == 6  # by their photos
    made = embed_all(checkpoint, [photos / "0.png"], comparison=checkpoint.comparison)
    late = Product("late", ["x"], made.embeddings.numpy(), {}, made.sights_as_bytes())
    writer.add([late])  # by who thinks that sights are kept still
    other = replace(checkpoint, comparison=replace(comparison_in(compared), cut_out=True))
    other.save(tmp_path / "other.safetensors")
    words[5] = tmp_path / "other.safetensors"
    assert run("index", *words).code == 0
    writer.add([late])
    snapshot = Catalog.open(kept).snapshot()
    assert snapshot.comparison != checkpoint.comparison_of(writer.comparison)
    assert [each is None for each in snapshot.sights(np.arange(7))] == [False] * 6 + [True]
    assert finder.rank([asked])[0].uncompared == 1  # its photo is not there


def test_a_scale_or_a_calibration_does_not_make_it_another(tmp_path: Path) -> None:
    made = tiny_comparison(tmp_path)
    assert replace(made, scale=3.0, offset=1.0).fingerprint == made.fingerprint
    assert replace(made, cut_out=True).fingerprint != made.fingerprint
    save_comparison(made, tmp_path / "one.safetensors")
    assert load_comparison(tmp_path / "one.safetensors").fingerprint == made.fingerprint


def test_codes_are_what_was_seen_but_for_half_a_step(tmp_path: Path) -> None:
    made = tiny_comparison(tmp_path)
    with torch.no_grad():
        made.head.norm.weight.mul_(torch.linspace(-2, 3, 64))
        made.head.norm.bias.add_(torch.linspace(-4, 1, 64))
    maps = 50 * torch.randn(3, 12, made.head.config.channels)
    maps[0, 0] = 1e4
    exact, codes = made.head.positions(maps).detach(), made.head.codes(maps)
    assert codes.dtype == torch.int8
    assert int(codes.abs().max()) <= 127
    off = (made.head.decoded(codes) - exact).abs().max()
    assert float(off) <= made.head.step / 2 * 1.001


def garment_on_wood(path: Path) -> Path:
    """A shirt in the middle of a photo that has another background than white."""
    random = np.random.default_rng(0)
    pixels = random.normal((150, 110, 70), 12, (320, 240, 3))
    pixels[60:270, 60:180] = random.normal((30, 60, 170), 6, (210, 120, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def test_products_are_cut_out_where_the_comparison_was_trained_so(tmp_path: Path) -> None:
    made = replace(tiny_comparison(tmp_path), cut_out=True)
    photo = str(garment_on_wood(tmp_path / "wood.png"))
    whole, cut = looks_at(made.preprocessing, photo, None, Role.PRODUCT, cut_out=True)
    assert (made.read(photo, None, Role.PRODUCT) == cut.pixels).all()
    assert (replace(made, cut_out=False).read(photo, None, Role.PRODUCT) == whole.pixels).all()
    box = (60.0, 60.0, 180.0, 270.0)
    boxed = made.preprocessing.shrink(made.preprocessing.open(photo, box), box)
    assert (made.read(photo, box, Role.PRODUCT) == boxed).all()
    assert (whole.pixels != cut.pixels).any()


@pytest.mark.parametrize("cut_out", [True, False])
def test_photos_are_decoded_once_where_both_look_at_the_same(
    compared: Path, tmp_path: Path, cut_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = replace(load_checkpoint(compared), cut_out=cut_out)
    assert checkpoint.comparison is not None
    comparison = replace(checkpoint.comparison, cut_out=True)
    photo = str(garment_on_wood(tmp_path / "wood.png"))
    pixels = comparison.read(photo, None, Role.PRODUCT)
    expected = comparison.sights(pixels[None].copy(), [Role.PRODUCT])
    looked: list[str] = []
    plain = comparison.read

    def counted(photo: Any, box: Any, role: Role) -> np.ndarray:
        looked.append("again")
        return plain(photo, box, role)

    monkeypatch.setattr(comparison, "read", counted)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    found = embed_all(checkpoint, [photo, str(broken), photo], comparison=comparison)
    assert found.usable == [0, 2]
    assert found.sights is not None
    torch.testing.assert_close(found.sights, expected.expand_as(found.sights), rtol=0, atol=1)
    same = comparison.preprocessing == checkpoint.preprocessing and cut_out
    assert looked == ([] if same else ["again", "again"])


def test_the_server_keeps_them_and_says_what_a_search_says(
    kept: Path, compared: Path, photos: Path, asked: Path, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    shutil.copy(compared, served / "model.safetensors")
    kept.rename(served / "catalog")
    with client_of(served) as client:
        new = draw_photo(tmp_path / "new.png", 60, stripes=2)
        assert put(client, "new", new.read_bytes()).status_code == 201
        shutil.rmtree(photos)
        (found,) = Finder(load_checkpoint(compared), served / "catalog").rank([asked])
        answer = search(client, asked.read_bytes())
    assert Catalog.open(served / "catalog").snapshot().sights(np.arange(7))[6] is not None
    assert (found.compared, found.uncompared) == (7, 0)
    told = answer.json()
    assert (told["compared"], told["uncompared"]) == (7, 0)
    assert ids_of(answer) == [match.product_id for match in found.matches]
