"""Published backbones by name: from the hub where there is internet, or from a local file."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from siamese.errors import UserError
from siamese.histogram import HISTOGRAMS
from siamese.levels import LevelStatistics
from siamese.preprocessing import Preprocessing
from siamese.weights import CLASSIFIERS, HUB, load_weights, not_fetched, reason_of

Channels = tuple[float, float, float]
log = logging.getLogger(__name__)


def load_backbone(
    library: str,
    name: str,
    pretrained: bool | str | Path,
    height: int,
    width: int,
    pooling: Literal["max", "levels"] | None = None,
) -> tuple[nn.Module, int]:
    """A feature extractor, (B, 3, height, width) → (B, features), and its number of features.

    Args:
        library: `timm` or `torchvision`.
        name: The library's name of the model, for example `resnet50` or `resnet50.a1_in1k`.
        pretrained: `True` fetches the published weights, a path or `hf-hub:OWNER/REPOSITORY` is
            read by `siamese.weights.load_weights`, `False` starts from random weights.
        height: Of the input in pixels; timm's vision transformers are built for it.
        width: Likewise.
        pooling: Of its feature map, in place of its own; `levels` takes those of all levels, see
            `siamese.levels`.

    Raises:
        UserError: Unknown model, weights that do not fit it, or the hub cannot be reached.
    """
    from siamese.depthwise import train_depthwise_quickly  # which needs timm, slow to import

    called = f"{library}/{name}"
    _check_name(library, name)
    fetch = pretrained is True
    build = _timm_backbone if library == "timm" else _torchvision_backbone
    try:
        own = pooling if pooling != "levels" else None
        backbone = build(name, fetch, (height, width), own)
    except UserError:
        raise
    except Exception as error:  # the hubs' clients raise errors of their own
        if fetch:
            raise not_fetched(called, error, _link(library, name)) from error
        raise UserError(f"{called}: cannot be made ({reason_of(error)}); choose another") from error
    _check_patches(backbone, called, (height, width))
    trunk = backbone
    if pooling == "levels":  # first, for a file need not hold what is cut off the trunk here
        backbone = _levels_of(trunk, called)
    if not isinstance(pretrained, bool):
        load_weights(trunk, pretrained)
    train_depthwise_quickly(backbone)
    return backbone.train(), _features(backbone, called, (height, width))


def normalised_for(
    preprocessing: Preprocessing, backbone: str, pretrained: bool | str | Path = False
) -> Preprocessing:
    """The preprocessing with the mean and std that the backbone was made for.

    They are taken where the defaults were left; others that somebody set are kept, with a warning
    (published weights may have been trained further with them).

    Raises:
        UserError: Other values for a histogram, whose colours would be wrong; or the
            hub cannot be reached.
    """
    needed = _normalisation_of(backbone, pretrained)
    given = preprocessing.mean, preprocessing.std
    if needed is None or given == needed:
        return preprocessing
    mean, std = needed
    if given == (Preprocessing.mean, Preprocessing.std):
        return replace(preprocessing, mean=mean, std=std)
    told = f"{backbone} was made for mean {list(mean)} and std {list(std)}"
    asked = f"not mean {list(given[0])} and std {list(given[1])}; leave both out of preprocessing"
    if backbone in HISTOGRAMS:
        raise UserError(f"{told}, {asked}")
    log.warning("%s, %s unless its weights were trained with them", told, asked)
    return preprocessing


def _normalisation_of(
    backbone: str, pretrained: bool | str | Path
) -> tuple[Channels, Channels] | None:
    """Mean and std of what the weights were trained on; `None` where they are free."""
    library, _, name = backbone.partition("/")
    if backbone in HISTOGRAMS:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if library == "timm":
        import timm

        config: Any = _hub_config(str(pretrained)) if str(pretrained).startswith(HUB) else None
        if config is None and name in timm.list_models() + timm.list_pretrained():
            config = timm.get_pretrained_cfg(name)
        return (_channels(config.mean), _channels(config.std)) if config else None
    if library == "torchvision":
        import torchvision

        if name in torchvision.models.list_models():
            photos = torchvision.models.get_model_weights(name)["DEFAULT"].transforms()
            if hasattr(photos, "mean"):  # those of detection, say, have none
                return _channels(photos.mean), _channels(photos.std)
    return None


def _channels(values: Any) -> Channels:
    red, green, blue = values
    return red, green, blue


def _hub_config(source: str) -> Any:
    """timm's description of the weights in a repository."""
    from timm.models import PretrainedCfg, load_model_config_from_hf

    try:
        config, _, _ = load_model_config_from_hf(source.removeprefix(HUB))
        return PretrainedCfg(**{key: config[key] for key in ("mean", "std")})
    except Exception as error:  # as above; a repository that is not timm's lacks keys
        raise not_fetched(source, error) from error


def _check_name(library: str, name: str) -> None:
    """Raise with names that are near, before the libraries say less."""
    if name.startswith(HUB):  # a checkpoint must make its encoder again without the hub
        raise UserError(
            f"{library}/{name}: name the architecture as backbone, such as timm/resnet50, and set "
            f"model.pretrained to {name}"
        )
    if library == "timm":
        import timm

        names = timm.list_models() + timm.list_pretrained()
    else:
        import torchvision

        names = torchvision.models.list_models()
    if name not in names:
        near = [n for n in names if n.startswith(name)] or get_close_matches(name, names, 4)
        raise UserError(
            f"{library}/{name}: no such model; near it: {', '.join(near[:4]) or 'nothing'}"
        )


def _link(library: str, name: str) -> str:
    """Where a browser finds the weights."""
    if library == "timm":
        import timm

        config: Any = timm.get_pretrained_cfg(name)
        repository = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"
        return repository if config.hf_hub_id else config.url or "its weights"
    import torchvision

    return str(torchvision.models.get_model_weights(name)["DEFAULT"].url)


def _timm_backbone(name: str, fetch: bool, size: tuple[int, int], pooling: str | None) -> nn.Module:
    import timm

    pool: dict[str, Any] = {"global_pool": pooling} if pooling else {}
    try:  # transformers need the input's size, convolutional networks do not know the argument
        return timm.create_model(name, pretrained=fetch, num_classes=0, img_size=size, **pool)
    except TypeError:
        return timm.create_model(name, pretrained=fetch, num_classes=0, **pool)


def _torchvision_backbone(
    name: str, fetch: bool, size: tuple[int, int], pooling: str | None
) -> nn.Module:
    import torchvision

    with warnings.catch_warnings():  # of Inception, about random weights
        warnings.simplefilter("ignore", FutureWarning)
        model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if fetch else None)
    if hasattr(model, "aux_logits"):  # GoogLeNet and Inception answer in training with a tuple
        model.aux_logits = False  # type: ignore[assignment]
        # They were published for another normalisation, and torchvision translates its own into
        # it, but only where it fetches the weights itself: not from a file or a checkpoint.
        model.transform_input = True  # type: ignore[assignment]
    if pooling:
        if not hasattr(model, "avgpool"):
            raise UserError(f"torchvision/{name}: its pooling cannot be changed; use that of timm")
        model.avgpool = nn.AdaptiveMaxPool2d(1)
    for classifier in CLASSIFIERS:
        if hasattr(model, classifier):
            setattr(model, classifier, nn.Flatten())
            return model
    raise UserError(f"torchvision/{name}: its classifier is not known; use the model of timm")


def _levels_of(backbone: nn.Module, called: str) -> LevelStatistics:
    """What a model of timm sees at all levels; not every one tells them."""
    if not hasattr(backbone, "forward_intermediates"):
        raise UserError(f"{called}: its levels cannot be seen; choose another model of timm")
    return LevelStatistics(backbone)


def _check_patches(backbone: nn.Module, called: str, size: tuple[int, int]) -> None:
    """Transformers cut the photo into patches, and drop what does not fill one."""
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and any(s % p for s, p in zip(size, patch, strict=True)):
        raise UserError(
            f"{called}: an input of {size[0]}x{size[1]} pixels is not cut into whole patches of "
            f"{patch[0]}x{patch[1]}; choose a multiple in preprocessing"
        )


def _features(backbone: nn.Module, called: str, size: tuple[int, int]) -> int:
    """Length of its output; evaluation mode keeps the statistics of its batch norms."""
    was_training = backbone.training
    try:
        with torch.inference_mode():
            output = backbone.eval()(torch.zeros(1, 3, *size))
        if not isinstance(output, Tensor) or output.ndim != 2:
            raise UserError("it does not answer with one vector per photo")
    except Exception as error:  # asserts and shape errors of foreign code
        raise UserError(
            f"{called}: does not take an input of {size[0]}x{size[1]} pixels ({reason_of(error)}); "
            "choose another size or model"
        ) from error
    backbone.train(was_training)
    return output.shape[1]
