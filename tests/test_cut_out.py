"""Products are seen without their background, too: masks of hand-made photos, and every door."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers_explanation import GREEN, RED, colour_checkpoint, trained_like
from helpers_infer import STEMS, Run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import infer
from siamese.adaptation import Adaptation
from siamese.checkpoint_file import load_checkpoint
from siamese.cut_out import SIDE, garment_mask, without_background
from siamese.embedding import embed_all
from siamese.explanation import explain
from siamese.local_embedding import SecondLook, local_embeddings
from siamese.photos import PhotoSource
from siamese.roles import Role

OUTLINE = [(70, 40), (130, 40), (190, 90), (165, 130), (145, 110), (145, 210), (55, 210)]
OUTLINE += [(55, 110), (35, 130), (10, 90)]
SHIRT = np.array(OUTLINE, np.int32) * (0.8, 0.9) + (20, 12)


def at_home(seed: int = 0, scale: float = 1.0) -> tuple[Image.Image, np.ndarray]:
    """A red shirt on a bluish cloth, 200 x 240 times `scale`, and where it is: bool (H, W)."""
    random = np.random.default_rng(seed)
    size = round(240 * scale), round(200 * scale)
    cloth = np.array([70, 90, 150]) + random.normal(0, 12, (*size, 1))
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [(SHIRT * scale).round().astype(np.int32)], 1)
    shirt = np.array([190, 40, 50]) + random.normal(0, 10, (*size, 1))
    pixels = np.where(mask[..., None] > 0, shirt, cloth)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), mask > 0


def encoded(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("scale", [0.7, 1.0, 3.0])
def test_the_garment_is_left_on_white(scale: float) -> None:
    photo, truth = at_home(scale=scale)
    found = without_background(photo)
    assert found is not None
    alone, box = found
    assert max(alone.size) == min(max(photo.size), SIDE)
    shrink = alone.height / photo.height
    pixels = np.asarray(alone)
    white = (pixels == 255).all(axis=2)
    shown = cv2.resize(truth.astype(np.uint8), alone.size, interpolation=cv2.INTER_NEAREST) > 0
    assert (~white & shown).sum() / (~white | shown).sum() > 0.93
    inner = cv2.erode(shown.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if scale <= 1:  # what is not the rim is as it was
        assert (pixels[inner] == np.asarray(photo)[inner]).all()
    left, top = (SHIRT * scale * shrink).min(axis=0)
    right, bottom = (SHIRT * scale * shrink).max(axis=0)
    across, down = 0.05 * (right - left), 0.05 * (bottom - top)
    expected = left - across, top - down, right + across, bottom + down
    assert box == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(("level", "noise", "left"), [
    (255, 0, True), (235, 2, True), (235, 20, False), (150, 2, False),
])  # fmt: skip
def test_a_studios_light_and_even_background_is_left_as_it_is(
    level: int, noise: float, left: bool
) -> None:
    photo, mask = at_home()
    pixels = np.asarray(photo).copy()
    random = np.random.default_rng(1)
    behind = level + noise * random.uniform(-1, 1, (*mask.shape, 1))
    pixels[~mask] = np.broadcast_to(behind, pixels.shape)[~mask].astype(np.uint8)
    assert (without_background(Image.fromarray(pixels)) is None) == left
    assert garment_mask(pixels) is not None  # it could be seen, there is just nothing to paint


@pytest.mark.parametrize("value", [0, 128, 248])
def test_a_photo_of_nothing_is_left_as_it_is(value: int) -> None:
    assert without_background(Image.new("RGB", (120, 160), (value,) * 3)) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 99), st.sampled_from([2, 30, 256]))
def test_any_photo_is_cut_out_or_left(width: int, height: int, seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, levels, (3, 3, 3)) * (255 // max(levels - 1, 1))
    pixels = cv2.resize(coarse.astype(np.uint8), (width, height))
    found = without_background(Image.fromarray(pixels))
    if found is None:
        return
    alone, (x1, y1, x2, y2) = found
    assert alone.size == (width, height)
    assert x1 < x2
    assert y1 < y2
    assert (np.asarray(alone) == 255).all(axis=2).any()


def test_products_alone_are_also_seen_without_their_background() -> None:
    plain = trained_like("small_resnet")
    checkpoint = replace(plain, cut_out=True)
    content = encoded(at_home()[0])
    found = without_background(at_home()[0])
    assert found is not None
    alone = plain.preprocessing.shrink(*found)
    whole = plain.preprocessing.read(content)
    assert (checkpoint.read(content, None, Role.PRODUCT) == [whole, alone]).all()
    assert (plain.read(content, None, Role.PRODUCT) == [whole]).all()
    assert (checkpoint.read(content, None, Role.PERSON) == [whole]).all()
    box = (20.0, 10.0, 150.0, 200.0)
    boxed = plain.preprocessing.read(content, box)
    for role in (Role.PRODUCT, Role.GARMENT):
        assert (checkpoint.read(content, box, role) == [boxed]).all(), "a box always wins"
    looks = plain.embed_pixels(np.stack([whole, alone]))
    mean = looks.mean(dim=0, keepdim=True)
    assert torch.allclose(checkpoint.embed([content]), mean / mean.norm(), atol=1e-6)
    assert torch.allclose(checkpoint.embed([content], people=True), looks[:1], atol=1e-6)


def test_looks_are_averaged_photo_by_photo() -> None:
    """Three photos with one, two and one look, written out; adaptations move the mean."""
    checkpoint = trained_like("small_resnet")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 48, 3), dtype=np.uint8)
    each = checkpoint.embed_pixels(pixels)
    both = each[1] + each[2]
    expected = torch.stack([each[0], both / both.norm(), each[3]])
    found = checkpoint.embed_pixels(pixels, looks=[1, 2, 1])
    assert torch.allclose(found, expected, atol=1e-6)
    size, roles = checkpoint.embedding_size, [Role.PRODUCT, Role.PRODUCT, Role.PERSON]
    axes = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(0))).Q
    adaptation = Adaptation(0.3 * axes[0], 0.2 * axes[1], axes)
    adapted = replace(checkpoint, adaptation=adaptation)
    found = adapted.embed_pixels(pixels, roles, [1, 2, 1])
    assert torch.allclose(found, adaptation(expected, roles), atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_find_what_one_photo_at_a_time_does(threads: int) -> None:
    """GrabCut's mixtures start from random centres, whose seed is the thread's own."""
    checkpoint = replace(trained_like("small_resnet"), cut_out=True)
    photos: list[PhotoSource] = [encoded(at_home(seed)[0]) for seed in range(9)]
    people = [place % 3 == 2 for place in range(9)]
    found = embed_all(checkpoint, photos, batch=4, threads=threads, people=people).embeddings
    for photo, person, embedding in zip(photos, people, found, strict=True):
        (alone,) = checkpoint.embed([photo], people=person)
        assert torch.allclose(embedding, alone, atol=1e-6)


def test_a_checkpoint_remembers_it_and_its_catalogs_differ(tmp_path: Path) -> None:
    plain = trained_like("small_resnet")
    checkpoint = replace(plain, cut_out=True)
    assert checkpoint.fingerprint != plain.fingerprint
    checkpoint.save(tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.cut_out
    assert loaded.fingerprint == checkpoint.fingerprint
    assert replace(loaded, cut_out=False).fingerprint == plain.fingerprint


@pytest.mark.parametrize(("backbone", "exact"), [("small_resnet", True), ("report_cnn", False)])
def test_an_explanation_is_of_both_looks(backbone: str, exact: bool) -> None:
    checkpoint = replace(trained_like(backbone), cut_out=True)
    photo, _ = at_home()
    found = explain(checkpoint, encoded(photo), [encoded(photo)])
    query, product = (
        checkpoint.embed([encoded(photo)], people=True),
        checkpoint.embed([encoded(photo)]),
    )
    assert found.exact == exact
    assert found.cosines[0] == pytest.approx(float(query[0] @ product[0]), abs=1e-5)
    overlay = found.products[0]
    assert overlay is not None
    assert overlay.part == (0, 0, 1, 1)
    if exact:
        assert overlay.contributions.sum() == pytest.approx(found.cosines[0], abs=1e-4)
    once = explain(replace(checkpoint, cut_out=False), encoded(photo), [encoded(photo)])
    assert once.products[0] is not None
    assert not np.allclose(overlay.contributions, once.products[0].contributions, atol=1e-3)


def test_parts_of_a_second_look_lie_where_it_looked() -> None:
    """Red at the left of the first look; the second shows its lower right quarter, all green."""
    checkpoint = colour_checkpoint(32, 32)
    first, second = np.zeros((2, 32, 32, 3), np.uint8)
    first[:, :16], second[:] = RED, GREEN
    box = (0.5, 0.5, 1.0, 1.0)
    found = local_embeddings(checkpoint, first[None], again={0: SecondLook(second, box)})
    root = 0.5**0.5  # red and green, each of length 1, their mean brought to length 1
    assert found.exact
    assert found.whole[0].tolist() == pytest.approx([root, root, 0], abs=1e-6)
    expected = torch.zeros(2, 2, 3)
    expected[:, 0, 0], expected[1, 1, 1] = root / 2, root
    assert torch.allclose(found.parts[0], expected, atol=1e-6)


@pytest.mark.parametrize("size", [(40, 1000), (1200, 60), (50, 800), (8, 8)])
def test_a_strip_has_no_garment_and_is_no_error(size: tuple[int, int]) -> None:
    """Shrunk, it is all border, where GrabCut has nothing to begin with."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    assert without_background(Image.fromarray(noise)) is None


def test_calibrate_keeps_it_and_search_finds_by_it(
    shop: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "at_home"
    place.mkdir()
    rows = ["path,product_id,role,split"]
    for number, stem in enumerate(STEMS):
        turned = at_home(number)[0].rotate(6 * number, fillcolor=(70, 90, 150))
        turned.save(place / f"{stem}.png")
        turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(place / f"{stem}_worn.png")
        rows += [
            f"{stem}.png,{stem},product,validation",
            f"{stem}_worn.png,{stem},person,validation",
        ]
    (place / "all.csv").write_text("\n".join(rows))
    out = tmp_path / "cut.safetensors"
    words = [place / "all.csv", "--encoder", shop / "model.safetensors", "--cut-out", "--out", out]
    assert infer.main(["calibrate", *map(str, words)]) == 0
    capsys.readouterr()
    assert load_checkpoint(out).cut_out
    told = run("search", place / f"{STEMS[0]}.png", "--checkpoint", out)
    assert told.code == 1, "its catalog was made of whole photos"
    assert "index" in told.err
    catalog = ["--checkpoint", out, "--catalog", tmp_path / "new"]
    assert run("index", place / "all.csv", *catalog).code == 0
    photo = place / f"{STEMS[1]}_worn.png"
    found = run("search", photo, *catalog, "--json").json[0]["matches"]
    checkpoint = load_checkpoint(out)
    products = checkpoint.embed([place / f"{stem}.png" for stem in STEMS])
    cosines = (products @ checkpoint.embed([photo], people=True)[0]).tolist()
    told_cosines = {match["product_id"]: match["cosine"] for match in found}
    expected = dict(zip(STEMS, cosines, strict=True))
    assert told_cosines == pytest.approx({p: expected[p] for p in told_cosines}, abs=1e-4)
