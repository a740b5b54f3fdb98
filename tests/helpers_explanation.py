"""An encoder whose positions can be worked out by hand: a position is the colour of 16 x 16 pixels.

The embedding is the normalised mean colour, so that only equal colours add to a cosine of pure
red, green and blue.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn

from siamese.backbones import GeneralisedMeanPooling, SmallResNet
from siamese.checkpoint import Checkpoint
from siamese.encoder import Encoder, EncoderConfig
from siamese.pair_score import Calibration
from siamese.preprocessing import Preprocessing

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
Colour = tuple[int, int, int]


class Colours(SmallResNet):
    """(B, 3, H, W) → (B, 3, H/16, W/16): mean colours in place of a trained trunk."""

    def __init__(self) -> None:
        super().__init__((3,), depth=1)
        nn.Sequential.__init__(self, nn.AvgPool2d(16))


def colour_checkpoint(height: int, width: int, gem: bool = False, fit: str = "pad") -> Checkpoint:
    """Photos of that size → the normalised (generalised) mean of their colours."""
    encoder = Encoder(EncoderConfig(embedding_size=3, widths=(3,), depth=1), height, width)
    average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder.backbone = nn.Sequential(Colours(), GeneralisedMeanPooling() if gem else average)
    encoder.neck = nn.Linear(3, 3, bias=False)
    nn.init.eye_(encoder.neck.weight)
    zero, one = (0.0,) * 3, (1.0,) * 3
    preprocessing = Preprocessing(height, width, fit, mean=zero, std=one)  # type: ignore[arg-type]
    return Checkpoint(encoder, preprocessing, Calibration(), "nothing")


def trained_like(
    backbone: str, height: int = 64, width: int = 48, size: int = 16, flip: bool = False
) -> Checkpoint:
    """A random encoder whose batch norms have statistics and constants, as after training."""
    torch.manual_seed(0)
    config = EncoderConfig(backbone, size, (8, 16), 1, flip_average=flip)
    encoder = Encoder(config, height, width)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the statistics of the one batch
            nn.init.normal_(module.bias, std=0.5)
    with torch.no_grad():
        encoder.train()(torch.randn(8, 3, height, width))
    return Checkpoint(encoder, Preprocessing(height, width), Calibration(), "nothing")


def all_but_plain(size: tuple[int, int], colour: Colour) -> Image.Image:
    """A photo of (width, height) of one colour but for one pixel, as a query must have."""
    photo = Image.new("RGB", size, colour)
    photo.putpixel((1, 1), tuple(channel * 9 // 10 for channel in colour))
    return photo


def with_patch(size: tuple[int, int], place: tuple[int, int], colour: Colour) -> Image.Image:
    """A black photo of (width, height) with 16 x 16 pixels of a colour at `left, top`."""
    photo = Image.new("RGB", size, BLACK)
    photo.paste(colour, (*place, place[0] + 16, place[1] + 16))
    return photo
