"""Mixing styles moves means and deviations between photos, while training only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from siamese.encoder import Encoder, EncoderConfig
from siamese.errors import UserError
from siamese.module import SiameseModule
from siamese.preprocessing import Preprocessing
from siamese.style_mixing import mix_styles_in, mixed_styles

SMALL = EncoderConfig(widths=(4, 8), depth=1, embedding_size=6)
SIZE = Preprocessing(height=32, width=32)


def test_every_photo_keeps_its_pattern_and_takes_a_style_between_two() -> None:
    """A naive search for the other photo and the share that explain each photo's new style."""
    torch.manual_seed(0)
    spread = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])[:, None, None, None]
    features = torch.randn(5, 1, 12, 10) * spread + 10 * spread
    mixed = mixed_styles(features, 1.0)
    changed = 0
    for photo, new in zip(features.numpy(), mixed.numpy(), strict=True):
        assert np.corrcoef(photo.ravel(), new.ravel())[0, 1] == pytest.approx(1, abs=1e-5)
        fits = []
        for other in features.numpy():
            if other.mean() == photo.mean():
                share = 1.0
            else:
                share = (new.mean() - other.mean()) / (photo.mean() - other.mean())
            deviation = share * photo.std(ddof=1) + (1 - share) * other.std(ddof=1)
            fits.append(-1e-4 < share < 1 + 1e-4 and abs(deviation - new.std(ddof=1)) < 1e-2)
        assert any(fits)
        changed += abs(new.mean() - photo.mean()) > 0.05
    assert changed >= 2


def test_the_share_of_mixed_photos_is_as_asked() -> None:
    features = torch.randn(4000, 1, 3, 3) + torch.arange(4000.0)[:, None, None, None]
    torch.manual_seed(1)
    moved = (mixed_styles(features, 0.3) - features).abs().amax(dim=(1, 2, 3)) > 1e-2
    # With the beta distribution's tails near 1 some of the chosen hardly move.
    assert 0.22 < moved.float().mean() < 0.33
    kept = mixed_styles(features, 0.0)
    assert torch.allclose(kept, features, atol=1e-3)


def test_the_gradient_takes_styles_for_constants() -> None:
    features = torch.randn(3, 2, 4, 4, dtype=torch.float32, requires_grad=True)
    torch.manual_seed(0)
    mixed_styles(features, 0.0).sum().backward()
    assert features.grad is not None
    assert torch.allclose(features.grad, torch.ones_like(features), atol=1e-4)


def test_half_precision_stays_half() -> None:
    features = torch.randn(3, 2, 4, 4, dtype=torch.bfloat16)
    assert mixed_styles(features, 1.0).dtype == torch.bfloat16


def test_an_encoder_mixes_in_training_alone() -> None:
    torch.manual_seed(0)
    photos = torch.randn(8, 3, 32, 32)
    plain = Encoder(SMALL, 32, 32)
    mixing = Encoder(SMALL, 32, 32)
    mixing.load_state_dict(plain.state_dict())
    mix_styles_in(mixing, 1.0)
    assert plain.state_dict().keys() == mixing.state_dict().keys()
    assert not torch.allclose(plain.train()(photos), mixing.train()(photos), atol=1e-3)
    mixing.load_state_dict(plain.state_dict())
    assert torch.equal(plain.eval()(photos), mixing.eval()(photos))


def test_what_cannot_mix_is_refused_in_one_line() -> None:
    histogram = EncoderConfig(backbone="colour_histogram", embedding_size=512)
    with pytest.raises(UserError, match=r"small_resnet only, not 0.5 for colour_histogram"):
        SiameseModule(histogram, SIZE, mix_styles=0.5)
    for wrong in (-0.1, 1.5):
        with pytest.raises(UserError, match="from 0 to 1"):
            SiameseModule(SMALL, SIZE, mix_styles=wrong)
