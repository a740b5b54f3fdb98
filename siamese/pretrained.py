"""Published backbones by name: from the hub where there is internet, or from a local file."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

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
        height: Of the input in pixels; timm's vision transformers are built for it.
        width: Likewise.

    Raises:
        UserError: Unknown model, weights that do not fit it, or the hub cannot be reached.
    """
    fetch = pretrained is True
    called = f"{library}/{name}"
    try:
        build = _timm_backbone if library == "timm" else _torchvision_backbone
        backbone = build(name, fetch, (height, width))
    except UserError:
        raise
    except Exception as error:  # the hubs' clients raise errors of their own
        hint = "check the name and the connection, or give a local file" if fetch else "check it"
        raise UserError(f"{called}: cannot be made ({_reason(error)}); {hint}") from error
    _check_patches(backbone, called, (height, width))
    if not isinstance(pretrained, bool):
        _load_weights(backbone, Path(pretrained))
    return backbone.train(), _features(backbone, called, (height, width))


def _timm_backbone(name: str, fetch: bool, size: tuple[int, int]) -> nn.Module:
    import timm

    try:  # transformers need the input's size, convolutional networks do not know the argument
        return timm.create_model(name, pretrained=fetch, num_classes=0, img_size=size)
    except TypeError:
        return timm.create_model(name, pretrained=fetch, num_classes=0)


def _torchvision_backbone(name: str, fetch: bool, size: tuple[int, int]) -> nn.Module:
    import torchvision

    model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if fetch else None)
    if hasattr(model, "aux_logits"):  # GoogLeNet and Inception answer in training with a tuple
        model.aux_logits = False  # type: ignore[assignment]
    for classifier in ("fc", "classifier", "heads", "head"):
        if hasattr(model, classifier):
            setattr(model, classifier, nn.Flatten())
            return model
    raise UserError(f"torchvision/{name}: its classifier is not known; use the model of timm")


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
            f"{called}: does not take an input of {size[0]}x{size[1]} pixels ({_reason(error)}); "
            "choose another size or model"
        ) from error
    backbone.train(was_training)
    return output.shape[1]


def _load_weights(backbone: nn.Module, path: Path) -> None:
    """Copy a local file's weights; the classifier's, which the backbone has not, are left out."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights; check model.pretrained")
    try:
        weights = _read_weights(path)
        # timm's transformers stretch the weights of positions to another input size.
        adapt = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
        if adapt is not None:
            weights = adapt(weights, backbone)
        missing = backbone.load_state_dict(weights, strict=False).missing_keys
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: damaged, or holds more than weights and is not opened for safety; "
            "give a state dict, best as .safetensors"
        ) from error
    except Exception as error:  # damaged files and copying raise nearly every built-in error
        raise UserError(f"{path}: not weights of this backbone ({_reason(error)})") from error
    if missing:
        raise UserError(
            f"{path}: lacks {len(missing)} weights of the backbone, among them {missing[0]}; "
            "give the file of that very model"
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; no code in it is run."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(w, Tensor) for w in content.values()):
        raise UserError("is no state dict of tensors")
    return content


def _reason(error: Exception) -> str:
    """The first line of an error that says something; PyTorch's first one is a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    heading = len(lines) > 1 and lines[0].startswith("Error(s) in loading")
    return lines[heading][:200] if lines else type(error).__name__
