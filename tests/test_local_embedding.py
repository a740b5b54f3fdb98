"""The parts of an embedding: exact values by hand, sums, and the fallback to occlusion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_explanation import BLUE, GREEN, RED, Colour, colour_checkpoint, trained_like
from torch import nn

from siamese.checkpoint import Checkpoint
from siamese.concatenation import concatenated
from siamese.encoder import Encoder, EncoderConfig
from siamese.local_embedding import local_embeddings, occluded_parts
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing
from siamese.roles import Role

EXACT = [
    "small_resnet",
    "timm/resnet18",
    "timm/convnext_atto",
    "timm/vit_small_patch16_dinov3",
    "torchvision/resnet18",
    "torchvision/mobilenet_v2",
]
OCCLUDED = ["report_cnn", "timm/vit_tiny_patch16_224", "torchvision/shufflenet_v2_x0_5"]


def halves(left: Colour, right: Colour) -> np.ndarray:
    """Two positions beside each other, uint8 (1, 16, 32, 3)."""
    pixels = np.zeros((1, 16, 32, 3), np.uint8)
    pixels[:, :, :16], pixels[:, :, 16:] = left, right
    return pixels


def noise(count: int, height: int = 64, width: int = 48) -> np.ndarray:
    shape = (count, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_of_an_average_each_position_adds_its_share() -> None:
    """Mean (1/2, 1/2, 0) has length √½, so that either half adds 1/2 / √½ = √½ of its colour."""
    found = local_embeddings(colour_checkpoint(16, 32), halves(RED, GREEN))
    assert found.exact
    root = 0.5**0.5
    expected = torch.tensor([[[[root, 0, 0], [0, root, 0]]]])
    assert torch.allclose(found.parts, expected)


def test_of_a_generalised_mean_the_strong_positions_add_more() -> None:
    """Of reds 1 and 1/3, cubed 27 : 1, the first adds 27/28; green is the clamp's 1e-4 alone."""
    pixels = halves(RED, (85, 0, 0))
    found = local_embeddings(colour_checkpoint(16, 32, gem=True), pixels)
    assert found.exact
    assert found.parts[0, 0, :, 0].tolist() == pytest.approx([27 / 28, 1 / 28], abs=1e-6)
    assert found.parts[..., 1:].abs().max() < 1e-3


def test_the_necks_constant_is_spread_evenly() -> None:
    """Black has no colour at all: what its embedding is, each position adds the half of."""
    checkpoint = colour_checkpoint(16, 32)
    checkpoint.encoder.neck = nn.Linear(3, 3)
    found = local_embeddings(checkpoint, halves((0, 0, 0), (0, 0, 0)))
    assert found.exact
    assert torch.allclose(found.parts, found.whole[:, None, None].expand(1, 1, 2, 3) / 2)


def test_contributions_equal_activation_times_gradient_by_autograd() -> None:
    """What a position adds to a cosine, through a trained-like neck, written out anew.

    The embedding's length counts as a constant, and so does the part that no position causes.
    """
    checkpoint = trained_like("small_resnet")
    encoder = checkpoint.encoder
    found = local_embeddings(checkpoint, noise(2))
    photos = checkpoint.preprocessing.normalise(torch.from_numpy(noise(2)))
    trunk, pool = encoder.backbone.children()
    features = trunk(photos[:1]).detach().clamp(min=1e-4).requires_grad_()
    raw = encoder.neck(pool(features))[0]
    length = raw.norm().detach()
    other = found.whole[1].clone()  # inference tensors have no gradient
    cosine = raw @ other / length
    (gradient,) = torch.autograd.grad(cosine, features)
    added = (features * gradient).sum(dim=1)[0]
    constant = (cosine - added.sum()) / added.numel()
    contributions = found.parts[0] @ other
    assert torch.allclose(contributions, added + constant, atol=1e-5)


@pytest.mark.parametrize("backbone", EXACT)
def test_where_a_map_is_pooled_the_parts_sum_to_the_embedding(backbone: str) -> None:
    checkpoint = trained_like(backbone)
    found = local_embeddings(checkpoint, noise(2))
    assert found.exact
    assert torch.equal(found.whole, checkpoint.embed_pixels(noise(2)))
    assert torch.allclose(found.parts.sum(dim=(1, 2)), found.whole, atol=1e-5)
    cosine = found.whole[0] @ found.whole[1]
    assert (found.parts[0] @ found.whole[1]).sum() == pytest.approx(float(cosine), abs=1e-5)
    assert found.parts.std(dim=(1, 2)).max() > 1e-4  # they differ: not the constant alone


def test_the_parts_of_a_photo_and_its_mirror_image_are_put_over_each_other() -> None:
    """Of flip averaging: the parts sum to the embedding, and those of the mirrored photo are the
    same, mirrored."""
    checkpoint = trained_like("small_resnet", flip=True)
    pixels = np.concatenate([noise(1), noise(1)[:, :, ::-1]])
    found = local_embeddings(checkpoint, pixels)
    assert found.exact
    assert torch.allclose(found.parts.sum(dim=(1, 2)), found.whole, atol=1e-5)
    assert torch.allclose(found.parts[0].flip(1), found.parts[1], atol=1e-5)
    plain = local_embeddings(trained_like("small_resnet"), pixels)
    assert not torch.allclose(plain.parts[0].flip(1), plain.parts[1], atol=1e-3)


def test_the_parts_of_encoders_side_by_side_stand_side_by_side() -> None:
    """Each with its own flips; where their positions are not the same, occlusion is asked."""
    alone = [trained_like("small_resnet", flip=flip) for flip in (False, True)]
    both = local_embeddings(concatenated(alone), noise(2))
    assert both.exact
    assert torch.allclose(both.parts.sum(dim=(1, 2)), both.whole, atol=1e-5)
    expected = [local_embeddings(each, noise(2)).parts / 2**0.5 for each in alone]
    assert torch.allclose(both.parts, torch.cat(expected, dim=3), atol=1e-5)
    mixed = [alone[0], trained_like("small_resnet", 32, 16)]
    assert not local_embeddings(concatenated(mixed), noise(1)).exact
    mixed = [alone[0], trained_like(OCCLUDED[0])]
    assert not local_embeddings(concatenated(mixed), noise(1)).exact


@pytest.mark.parametrize("backbone", OCCLUDED)
def test_other_encoders_are_asked_by_occlusion(backbone: str) -> None:
    checkpoint = trained_like(backbone)
    found = local_embeddings(checkpoint, noise(1))
    assert not found.exact
    assert found.parts.shape == (1, 8, 6, 16)
    assert found.parts.abs().max() > 0


def test_a_neck_that_is_not_affine_is_asked_by_occlusion() -> None:
    """A map is there, but its shares do not sum to the embedding any more; that is noticed."""
    checkpoint = trained_like("small_resnet")
    checkpoint.encoder.neck = nn.Sequential(checkpoint.encoder.neck, nn.Tanh()).eval()
    assert not local_embeddings(checkpoint, noise(1)).exact


def test_occlusion_is_the_difference_that_black_and_white_patches_make() -> None:
    """8 x 4 patches of 4 x 4 pixels, each hidden by hand in a loop."""
    checkpoint = trained_like("small_resnet", 32, 16)
    pixels = noise(1, 32, 16)
    whole = checkpoint.embed_pixels(pixels)
    parts = occluded_parts(checkpoint, pixels, whole)
    assert parts.shape == (1, 8, 4, 16)
    for row, column in ((0, 0), (3, 2), (7, 3)):
        hidden = pixels.repeat(2, axis=0)
        for photo, shade in zip(hidden, (0, 255), strict=True):
            photo[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = shade
        expected = whole[0] - checkpoint.embed_pixels(hidden).mean(dim=0)
        assert torch.allclose(parts[0, row, column], expected, atol=1e-6)


def test_the_parts_of_a_lab_histogram_beside_a_network_are_exact() -> None:
    """Both have positions of 16 x 16 pixels; the first and second look of a person, too."""
    network = trained_like("small_resnet", 64, 48)
    network.encoder = Encoder(EncoderConfig(widths=(8, 16, 16), depth=1, embedding_size=16), 64, 48)
    network.encoder.eval()
    colours = Checkpoint(
        Encoder(EncoderConfig("lab_histogram", 128), 64, 48),
        Preprocessing(64, 48, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        Calibration(),
        "nothing",
    )
    both = replace(concatenated([network, colours], [1.0, 0.3]), second_look=True)
    found = local_embeddings(both, noise(2), [Role.PRODUCT, Role.PERSON])
    assert found.exact
    assert found.parts.shape == (2, 4, 3, 144)
    assert torch.allclose(found.parts.sum(dim=(1, 2)), found.whole, atol=1e-3)


def test_the_histogram_does_not_care_what_is_outside_of_its_box() -> None:
    checkpoint = trained_like("colour_histogram", 80, 80, 512)
    pixels = noise(1, 80, 80) // 2 + 64
    parts = occluded_parts(checkpoint, pixels, checkpoint.embed_pixels(pixels))
    strength = parts[0].norm(dim=2)
    assert strength[0].max() == strength[:, 0].max() == strength[7].max() == 0
    assert strength[3:5, 3:5].min() > 0


def test_a_photo_of_one_colour_finds_that_colour_wherever_it_is() -> None:
    """The same photo in another place of the batch has the same parts."""
    pixels = np.concatenate([halves(RED, BLUE), halves(BLUE, RED)])
    parts = local_embeddings(colour_checkpoint(16, 32), pixels).parts
    assert torch.equal(parts[0].flip(1), parts[1])
