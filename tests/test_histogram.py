"""Cosines of colour histograms: the untrained rival, and the one that stands beside encoders."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from siamese.checkpoint_file import load_checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.extractors import extractor
from siamese.histogram import ColourHistogram, LabHistogram, lab_of
from siamese.roles import Role

WHOLE = (0.0, 0.0, 1.0, 1.0)


def test_it_holds_square_roots_of_the_shares_of_each_colour() -> None:
    """Three quarters red, one quarter black; red is bin (7, 0, 0), black bin 0."""
    photo = torch.zeros(1, 3, 8, 8)
    photo[:, 0, :6] = 1.0
    histogram = ColourHistogram(WHOLE)(photo)
    expected = torch.zeros(1, 512)
    expected[0, 7 * 64], expected[0, 0] = 0.75**0.5, 0.25**0.5
    assert torch.allclose(histogram, expected)


def test_it_equals_a_naive_loop() -> None:
    photos = torch.rand(3, 3, 20, 10, generator=torch.Generator().manual_seed(0))
    histogram = ColourHistogram((0.3, 0.25, 0.7, 0.65), bins=4)(photos)
    for photo, row in zip(photos, histogram, strict=True):
        counts = torch.zeros(64)
        pixels = [photo[:, y, x] for y in range(5, 13) for x in range(3, 7)]
        for red, green, blue in (pixel.tolist() for pixel in pixels):
            counts[int(red * 4) * 16 + int(green * 4) * 4 + int(blue * 4)] += 1
        assert torch.allclose(row, (counts / len(pixels)).sqrt())


def test_only_the_box_counts() -> None:
    photo = torch.rand(1, 3, 20, 20)
    changed = photo.clone()
    changed[:, :, :6] = 0.0
    middle = ColourHistogram((0.3, 0.3, 0.7, 0.7))
    assert torch.equal(middle(photo), middle(changed))
    assert not torch.equal(ColourHistogram(WHOLE)(photo), ColourHistogram(WHOLE)(changed))


def test_as_an_encoder_its_cosine_is_the_bhattacharyya_coefficient() -> None:
    """Half red and half black against all red: sqrt(1/2 · 1) = .707; against itself 1."""
    encoder = Encoder(EncoderConfig("colour_histogram", 512), 8, 8)
    photos = torch.zeros(2, 3, 8, 8)
    photos[0, 0, 4:] = 1.0
    photos[1, 0] = 1.0
    encoder.backbone = ColourHistogram(WHOLE)
    cosine = encoder(photos) @ encoder(photos).T
    assert cosine[0, 1] == pytest.approx(0.5**0.5)
    assert cosine.diagonal().tolist() == pytest.approx([1.0, 1.0])


def test_another_embedding_size_is_refused() -> None:
    with pytest.raises(UserError, match="embedding_size 512, not 128"):
        Encoder(EncoderConfig("colour_histogram"), 8, 8)


def test_lab_of_known_colours() -> None:
    """Published values (D65): white, black, red, green, blue, a middle grey."""
    colours = torch.tensor(
        [[1.0] * 3, [0.0] * 3, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5] * 3]
    )
    expected = torch.tensor(
        [
            [100.0, 0.0, 0.0],
            [0.0, 0.0, 0.0],
            [53.24, 80.09, 67.20],
            [87.73, -86.18, 83.18],
            [32.30, 79.19, -107.86],
            [53.39, 0.0, 0.0],
        ]
    )
    assert torch.allclose(lab_of(colours[:, :, None, None])[..., 0, 0], expected, atol=0.03)


def test_lab_is_near_what_opencv_makes_of_the_same_pixels() -> None:
    """Which works with fewer digits."""
    pixels = np.random.default_rng(0).random((1, 500, 3), dtype=np.float32)
    found = lab_of(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert np.allclose(found.numpy(), cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), atol=0.6)


def naive_lab_histogram(photo: torch.Tensor, box: tuple[int, int, int, int]) -> np.ndarray:
    """A loop over the box's pixels: each shares itself among the eight nearest bins."""
    left, top, right, bottom = box
    bins, counts = (8, 4, 4), np.zeros((8, 4, 4))
    pixels = lab_of(photo[None])[0, :, top:bottom, left:right].flatten(1).T
    for lightness, a, b in pixels.tolist():
        shares = [min(max(c, 0.0), 1.0) for c in (lightness / 100, a / 64 + 0.5, b / 64 + 0.5)]
        near: list[dict[int, float]] = []
        for share, count in zip(shares, bins, strict=True):
            place = share * count - 0.5
            low = math.floor(place)
            weights = {min(max(low, 0), count - 1): 1 - (place - low)}
            high = min(max(low + 1, 0), count - 1)
            weights[high] = weights.get(high, 0.0) + place - low
            near.append(weights)
        for i, j, k in itertools.product(*near):
            counts[i, j, k] += near[0][i] * near[1][j] * near[2][k]
    roots: np.ndarray = np.sqrt(counts / counts.sum()).ravel()
    return roots


def test_the_lab_histogram_equals_a_naive_loop() -> None:
    photos = torch.rand(3, 3, 40, 20, generator=torch.Generator().manual_seed(0))
    photos[1] = photos[1] * 0.1 + 0.45  # nearly grey, as most garments are
    photos[2] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]  # beyond the reach of a* and b*
    found = LabHistogram((0.3, 0.3, 0.7, 0.7))(photos)
    for photo, row in zip(photos, found, strict=True):
        expected = naive_lab_histogram(photo, (6, 12, 14, 28))
        assert np.allclose(row.numpy(), expected, atol=1e-4)
    assert found.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_a_little_more_light_moves_a_little() -> None:
    """At the edge of two bins, where a histogram of whole pixels has nothing in common."""
    photos = torch.stack([torch.full((3, 16, 16), grey) for grey in (0.4985, 0.5015)])
    sharp, soft = ColourHistogram(WHOLE)(photos), LabHistogram(WHOLE)(photos)
    assert sharp[0] @ sharp[1] == 0
    assert soft[0] @ soft[1] > 0.999


def test_cells_share_the_lab_histogram_by_what_they_show() -> None:
    """Left half red, right half black: each colour's number belongs to its half alone."""
    photos = torch.zeros(1, 3, 32, 32)
    photos[:, 0, :, :16] = 1.0
    histogram = LabHistogram(WHOLE)
    shares = histogram.shares(photos)
    assert shares.shape == (1, 2, 2, 128)
    assert torch.allclose(shares.sum(dim=(1, 2)), histogram(photos))
    left, right = shares[0, :, 0], shares[0, :, 1]
    assert ((left > 0) & (right > 0)).sum() == 0
    assert torch.allclose(left[0], left[1])
    assert left.sum(dim=0).norm() == pytest.approx(0.5**0.5, abs=1e-5)


def test_the_lab_histogram_is_an_encoder_by_name_and_beside_others(tmp_path: Path) -> None:
    alone = extractor("lab_histogram")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 128, 96, 3), np.uint8)
    exact = alone.embed_pixels(pixels, [Role.PRODUCT, Role.PERSON])
    assert exact.shape == (2, 128)
    alone.save(tmp_path / "colours.safetensors")
    kept = load_checkpoint(tmp_path / "colours.safetensors")
    assert torch.equal(kept.embed_pixels(pixels, [Role.PRODUCT, Role.PERSON]), exact)
    both = extractor("lab_histogram + 0.5*colour_histogram")
    assert both.embed_pixels(pixels, [Role.PRODUCT] * 2).shape == (2, 640)
    with pytest.raises(UserError, match="lab_histogram needs embedding_size 128, not 64"):
        Encoder(EncoderConfig("lab_histogram", 64), 8, 8)
