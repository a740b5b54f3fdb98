"""Depthwise convolutions of published backbones, trained on the CPU without waiting for them.

Under bfloat16 autocast the CPU's library computes the gradients of depthwise convolutions with
strides or with kernels above 3x3 by a plain loop, which takes most of a training's time
(EfficientNet and MobileNet have many of them, ConvNeXt nothing else). In float32 it does not, so
that is what their gradients are computed in; everything else stays in bfloat16. The figures are
in benchmarks/README.md.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional


def train_depthwise_quickly(backbone: nn.Module) -> None:
    """Replace, in place, the depthwise convolutions whose gradients are slow on the CPU.

    Outputs, and the names and values of the weights, stay as they are.
    """
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.Conv2d) and _is_slow(module):
            backbone.set_submodule(name, DepthwiseConv2d(module))


def _is_slow(convolution: nn.Conv2d) -> bool:
    depthwise = convolution.groups == convolution.in_channels == convolution.out_channels > 1
    known = type(convolution) in (nn.Conv2d, Conv2dSame) and convolution.padding_mode == "zeros"
    slow = max(convolution.kernel_size) > 3 or max(convolution.stride) > 1
    return depthwise and known and slow and not isinstance(convolution.padding, str)


class DepthwiseConv2d(nn.Conv2d):
    """Does what another convolution does, with whose weights, (B, C, H, W) → (B, C, H', W').

    Args:
        like: Whose weights and settings are taken. Where it is timm's `Conv2dSame`, the padding
            depends on the input's size as there.
    """

    def __init__(self, like: nn.Conv2d) -> None:
        super().__init__(
            like.in_channels,
            like.out_channels,
            like.kernel_size,  # type: ignore[arg-type]
            like.stride,  # type: ignore[arg-type]
            like.padding,  # type: ignore[arg-type]
            like.dilation,  # type: ignore[arg-type]
            like.groups,
            bias=like.bias is not None,
        )
        self.weight, self.bias = like.weight, like.bias
        self.same = isinstance(like, Conv2dSame)

    def forward(self, features: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.same:
            features = pad_same(
                features, list(self.kernel_size), list(self.stride), list(self.dilation)
            )
            padding = (0, 0)
        settings = (self.stride, padding, self.dilation, self.groups)
        narrow = features.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if narrow and torch.is_grad_enabled():
            output: Tensor = _WideBackward.apply(features, self.weight, self.bias, settings)
            return output
        return functional.conv2d(features, self.weight, self.bias, *settings)


class _WideBackward(torch.autograd.Function):
    """A convolution whose gradients are computed in float32."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Any:
        (ctx.settings,) = rest
        output = functional.conv2d(features, weight, bias, *ctx.settings)
        ctx.save_for_backward(features.to(output.dtype), weight)
        ctx.dtype, ctx.biased = features.dtype, bias is not None
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        features, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        needed = [*ctx.needs_input_grad[:2], ctx.biased and ctx.needs_input_grad[2]]
        of_features, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradients[0].float(),
            features.float(),
            weight.float(),
            [weight.shape[0]] if ctx.biased else None,
            *(list(stride), list(padding), list(dilation)),
            *(False, [0, 0], groups, needed),
        )
        if of_features is not None:
            of_features = of_features.to(ctx.dtype)
        return of_features, of_weight, of_bias, None
