"""The untrained rival: cosines of colour histograms."""

from __future__ import annotations

import pytest
import torch

from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.histogram import ColourHistogram

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
