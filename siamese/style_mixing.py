"""Styles of training photos mixed, so that an encoder finds garments in styles it never saw.

The mean and the deviation of a feature map's channels tell how a photo was made, drawn or taken,
rather than what it shows. Giving a photo those of another one, in part, makes new styles.

Source: Zhou et al. 2021, Domain Generalization with MixStyle. Shapes: B photos, C channels.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from siamese.backbones import SmallResNet
from siamese.encoder import Encoder
from siamese.errors import UserError

CONCENTRATION = 0.3  # of the beta distribution that shares are drawn from: most near 0 or near 1


def mix_styles_in(encoder: Encoder, probability: float) -> None:
    """From now on `encoder` mixes styles while it trains: after its stem and its first stage.

    Args:
        encoder: With the backbone `small_resnet`.
        probability: Of each photo to be mixed with another one, 0 to 1.

    Raises:
        UserError: Another backbone, or no probability.
    """
    trunk = next((part for part in encoder.modules() if isinstance(part, SmallResNet)), None)
    if trunk is None or not 0 <= probability <= 1:
        raise UserError(
            "model.mix_styles is from 0 to 1, and above 0 for small_resnet only, not "
            f"{probability:g} for {encoder.config.backbone}"
        )
    for place in (trunk[2], trunk[2 + encoder.config.depth]):
        place.register_forward_hook(partial(_mix_output, probability))


def _mix_output(probability: float, module: nn.Module, _: object, output: Tensor) -> Tensor:
    return mixed_styles(output, probability) if module.training else output


def mixed_styles(features: Tensor, probability: float) -> Tensor:
    """Each photo's features, some with mean and deviation moved towards another photo's.

    Args:
        features: Float (B, C, H, W).
        probability: Of each photo to be mixed.

    Returns:
        The same shape and type. The gradient takes means and deviations for constants.
    """
    exact = features.float()
    mean = exact.mean(dim=(2, 3), keepdim=True).detach()
    deviation = (exact.detach().var(dim=(2, 3), keepdim=True) + 1e-5).sqrt()
    count = len(features)
    beta = torch.distributions.Beta(CONCENTRATION, CONCENTRATION)
    chosen = torch.rand(count, 1, 1, 1) < probability
    share = torch.where(chosen, beta.sample((count, 1, 1, 1)), torch.ones(())).to(exact)
    other = torch.randperm(count).to(features.device)
    new_mean = share * mean + (1 - share) * mean[other]
    new_deviation = share * deviation + (1 - share) * deviation[other]
    mixed: Tensor = (exact - mean) / deviation * new_deviation + new_mean
    return mixed.to(features.dtype)
