"""Depthwise convolutions with gradients in float32: the same outputs, right gradients, same names.

The oracle is the convolution that was replaced, without autocast.
"""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from siamese.depthwise import DepthwiseConv2d, train_depthwise_quickly
from siamese.pretrained import load_backbone

SLOW = [
    nn.Conv2d(8, 8, 5, padding=2, groups=8),
    nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
    nn.Conv2d(8, 8, (3, 7), padding=(1, 3), groups=8),
    nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=8),
    Conv2dSame(8, 8, 3, stride=2, groups=8, bias=False),
    Conv2dSame(8, 8, 5, stride=2, groups=8),
]
QUICK = [
    nn.Conv2d(8, 8, 3, padding=1, groups=8),
    nn.Conv2d(8, 8, 5, padding=2, groups=4),
    nn.Conv2d(8, 16, 5, padding=2, groups=8),
    nn.Conv2d(8, 8, 5, padding=2),
    nn.Conv2d(8, 8, 5, padding="same", groups=8),
    nn.Conv2d(8, 8, 5, padding=2, groups=8, padding_mode="reflect"),
]


def gradients(network: nn.Module, photos: Tensor, narrow: bool) -> list[Tensor]:
    """The output, and the gradients of the input and all weights for a fixed sum of it."""
    network.zero_grad()
    photos = photos.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        output = network(photos)
    (output.float() * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum().backward()
    wanted = [photos.grad, *(weight.grad for weight in network.parameters())]
    return [output.detach(), *(gradient for gradient in wanted if gradient is not None)]


@pytest.mark.parametrize("convolution", SLOW, ids=str)
def test_outputs_are_equal_and_gradients_those_of_the_convolution(convolution: nn.Conv2d) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Identity(), copy.deepcopy(convolution))
    photos = torch.randn(2, 8, 11, 9)
    narrow, exact = (gradients(network, photos, narrow) for narrow in (True, False))
    train_depthwise_quickly(network)
    assert isinstance(network[1], DepthwiseConv2d)
    found = gradients(network, photos, True)
    assert torch.equal(found[0], narrow[0])
    assert found[0].dtype == torch.bfloat16
    assert len(found) == len(exact) == (4 if convolution.bias is not None else 3)
    for of_ours, of_exact in zip(found[1:], exact[1:], strict=True):
        assert of_ours.dtype == of_exact.dtype
        torch.testing.assert_close(
            of_ours, of_exact, rtol=0.02, atol=0.02 * float(of_exact.abs().max())
        )
    for ours, theirs in zip(gradients(network, photos, False), exact, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("convolution", QUICK, ids=str)
def test_convolutions_that_are_not_slow_stay_as_they_are(convolution: nn.Conv2d) -> None:
    network = nn.Sequential(convolution)
    train_depthwise_quickly(network)
    assert network[0] is convolution


def test_frozen_weights_get_no_gradient_and_the_photo_does() -> None:
    network = nn.Sequential(copy.deepcopy(SLOW[0])).requires_grad_(False)
    train_depthwise_quickly(network)
    photos = torch.randn(2, 8, 9, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        network(photos).float().sum().backward()
    assert photos.grad is not None
    assert network[0].weight.grad is None


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto"])
def test_a_published_backbone_has_them_under_its_own_names(name: str) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=0).eval()
    backbone, _ = load_backbone("timm", name, False, 64, 64)
    assert any(isinstance(module, DepthwiseConv2d) for module in backbone.modules())
    backbone.load_state_dict(plain.state_dict())  # strictly: no name is new, none is missing
    photos = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone.eval()(photos), plain(photos))
