"""A small residual network that labels every pixel of a photo with a group of garments.

Shapes: B batch, H height, W width, C channels, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from siamese.backbones import ResidualBlock
from siamese.encoder import Encoder
from siamese.errors import UserError

BACKGROUND, SKIN, HAIR = "background", "skin", "hair"
GARMENTS = ("upper", "lower", "full", "shoes", "bag", "other")
# Skin and hair are nobody's garment, but telling them from the background teaches the network
# where the person is.
GROUPS = (BACKGROUND, SKIN, HAIR, *GARMENTS)


@dataclass(frozen=True)
class SegmentationConfig:
    """What a segmentation network is made of; saved with its weights.

    Args:
        widths: Channels of each stage; stage s works on 1/2^(s+2) of the photo's sides.
        depths: Residual blocks of each stage.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    depths: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or min(*self.widths, *self.depths) < 1:
            raise UserError("widths and depths need one number above 0 for each stage")

    @property
    def multiple(self) -> int:
        """The sides of the input are whole multiples of this many pixels."""
        return 2 ** (len(self.widths) + 1)


class SegmentationNetwork(nn.Module):
    """Residual stages down and up again, with shortcuts across (Ronneberger et al. 2015, U-Net).

    As in LinkNet (Chaurasia and Culurciello 2017) the two ways are added, not concatenated, which
    halves the cost of the way up. The stem folds 4x4 pixels into one position, as the encoder's;
    the last layer unfolds each into 2x2 labels (Shi et al. 2016), so that shoes stay shoes.
    The mean of the smallest maps is fed back to each of their positions: whether the photo
    shows a whole person or a part of one decides what a piece of cloth is.
    """

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], kernel_size=6, stride=4, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        self.down = nn.ModuleList()
        channels = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            blocks = [ResidualBlock(channels, width, 2 if stage else 1)]
            blocks += [ResidualBlock(width, width, 1) for _ in range(depth - 1)]
            self.down.append(nn.Sequential(*blocks))
            channels = width
        self.context = nn.Linear(channels, channels)
        self.across = nn.ModuleList(nn.Conv2d(deep, wide, 1) for wide, deep in pairwise(widths))
        self.up = nn.ModuleList(ResidualBlock(width, width, 1) for width in widths[:-1])
        self.classify = nn.Sequential(nn.Conv2d(widths[0], 4 * len(GROUPS), 1), nn.PixelShuffle(2))

    def forward(self, photos: Tensor) -> Tensor:
        """Normalised photos, float (B, 3, H, W), → logits, float (B, G, H/2, W/2).

        H and W are whole multiples of `config.multiple`.
        """
        features = self.stem(photos)  # (B, C, H/4, W/4)
        maps = []
        for stage in self.down:
            features = stage(features)
            maps.append(features)
        features = features + self.context(features.mean(dim=(2, 3)))[:, :, None, None]
        for level in reversed(range(len(self.up))):
            wider = functional.interpolate(
                self.across[level](features), scale_factor=2.0, mode="bilinear"
            )
            features = self.up[level](maps[level] + wider)
        logits: Tensor = self.classify(features)
        return logits


def network_of(encoder: Encoder) -> SegmentationNetwork:
    """A network whose way down is what an encoder has learned; the way up is untrained.

    Raises:
        UserError: The encoder's backbone is not `small_resnet`.
    """
    config = encoder.config
    if config.backbone != "small_resnet":
        raise UserError(
            f"segmentation starts from an encoder with the backbone small_resnet, not "
            f"{config.backbone}"
        )
    depths = (config.depth,) * len(config.widths)
    network = SegmentationNetwork(SegmentationConfig(tuple(config.widths), depths))
    assert isinstance(encoder.backbone, nn.Sequential)
    trunk = encoder.backbone[0]
    assert isinstance(trunk, nn.Sequential)
    blocks = [block for stage in network.down for block in stage.children()]
    stem = list(network.stem)
    for own, learned in zip([*stem, *blocks], trunk, strict=True):
        own.load_state_dict(learned.state_dict())
    return network
