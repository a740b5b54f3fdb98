"""Published backbones by name: from the hub where there is internet, or from a local file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from siamese.errors import UserError


def load_backbone(
    library: str, name: str, pretrained: bool | str | Path, height: int, width: int
) -> tuple[nn.Module, int]:
    """A feature extractor, (B, 3, height, width) → (B, features), and its number of features.

    Args:
        library: `timm` or `torchvision`.
        name: The library's name of the model, for example `resnet50`.
        pretrained: `True` fetches the published weights, a path reads a state dict from a
            `.safetensors`, `.pt` or `.pth` file, `False` starts from random weights.
        height: Of the input in pixels; vision transformers are built for it.
        width: Likewise.

    Raises:
        UserError: Unknown model, weights that do not fit it, or the hub cannot be reached.
    """
    fetch = pretrained is True
    try:
        build = _timm_backbone if library == "timm" else _torchvision_backbone
        backbone = build(name, fetch, (height, width))
    except (ValueError, RuntimeError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "check the name and the connection, or give a local file" if fetch else "check it"
        raise UserError(f"{library}/{name}: cannot be made ({first}); {hint}") from error
    if not isinstance(pretrained, bool):
        _load_weights(backbone, Path(pretrained))
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, height, width)).shape[1]
    return backbone.train(), features


def _timm_backbone(name: str, fetch: bool, size: tuple[int, int]) -> nn.Module:
    import timm

    keywords = {"pretrained": fetch, "num_classes": 0}
    try:  # transformers need the input's size, convolutional networks do not know the argument
        model: nn.Module = timm.create_model(name, img_size=size, **keywords)
    except TypeError:
        model = timm.create_model(name, **keywords)
    return model


def _torchvision_backbone(name: str, fetch: bool, size: tuple[int, int]) -> nn.Module:
    import torchvision

    model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if fetch else None)
    for classifier in ("fc", "classifier", "heads", "head"):
        if hasattr(model, classifier):
            setattr(model, classifier, nn.Flatten())
            return model
    raise UserError(f"torchvision/{name}: its classifier is not known; use the model of timm")


def _load_weights(backbone: nn.Module, path: Path) -> None:
    """Copy a local file's weights; the classifier's, which the backbone has not, are left out."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights; check model.pretrained")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights: dict[str, Tensor] = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
            weights = weights.get("state_dict", weights)  # type: ignore[assignment]
        missing = backbone.load_state_dict(weights, strict=False).missing_keys
    except Exception as error:  # unpickling and copying raise nearly every built-in error
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not weights of this backbone ({first})") from error
    if missing:
        raise UserError(
            f"{path}: lacks {len(missing)} weights of the backbone, among them {missing[0]}; "
            "give the file of that very model"
        )
