"""Weights of published models, from a local file or the hub, into a backbone."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from siamese.errors import UserError

HUB = "hf-hub:"
CLASSIFIERS = ("fc", "classifier", "heads", "head")  # torchvision's names


class NotFetchedError(UserError):
    """Published weights that the hub did not give: the reason, and where a browser finds them."""

    def __init__(self, source: str, reason: str, link: str) -> None:
        super().__init__(
            f"{source}: cannot be fetched ({reason}); check the connection, or download "
            f"{link} elsewhere and set model.pretrained to that file"
        )
        self.reason, self.link = reason, link


def load_weights(backbone: nn.Module, source: str | Path) -> None:
    """Copy published weights; the classifier's, which a backbone has not, are left out.

    Args:
        backbone: What timm or torchvision built.
        source: A file (`.safetensors`, or any that `torch.save` wrote: `.pth`, `.pt`, `.bin`), or
            `hf-hub:OWNER/REPOSITORY` of a timm model. Names may have a prefix (`module.`,
            `visual.trunk.`, `backbone.`, …); timm translates those of the authors' own files.

    Raises:
        UserError: No such file or repository, damaged, or the weights of another model.
    """
    text = str(source)
    weights = _hub_weights(text) if text.startswith(HUB) else read_weights(Path(source))
    try:
        weights = _without_prefix(weights, list(backbone.state_dict()))
        # timm's transformers stretch the weights of positions to another input size.
        adapt = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
        if adapt is not None:
            weights = adapt(weights, backbone)
        missing, unexpected = backbone.load_state_dict(weights, strict=False)
    except Exception as error:  # copying raises nearly every built-in error
        raise UserError(
            f"{text}: not weights of this backbone ({reason_of(error)}); give the file of that "
            "very model"
        ) from error
    if missing:
        raise UserError(
            f"{text}: lacks {len(missing)} weights of the backbone, among them {missing[0]}; "
            "give the file of that very model, as timm or torchvision publishes it"
        )
    if surplus := _surplus(backbone, unexpected):
        raise UserError(
            f"{text}: is of a larger model, with {len(surplus)} more weights such as {surplus[0]}; "
            "give the file of that very model"
        )


def _hub_weights(source: str) -> dict[str, Tensor]:
    """The state dict of a timm model's repository."""
    from timm.models import load_state_dict_from_hf

    try:
        return load_state_dict_from_hf(source.removeprefix(HUB), weights_only=True)
    except Exception as error:  # the hub's client raises errors of its own
        raise not_fetched(source, error) from error


def not_fetched(
    source: str, error: Exception, link: str = "its model.safetensors"
) -> NotFetchedError:
    """What to do without the hub."""
    return NotFetchedError(source, reason_of(error), link)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file; no code in it is run.

    Raises:
        UserError: No such file, damaged, or not a state dict.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights; check the path")
    remedy = "give a state dict, best as .safetensors"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: damaged, or holds more than weights and is not opened for safety; {remedy}"
        ) from error
    except Exception as error:  # damaged files raise nearly every built-in error
        raise UserError(f"{path}: damaged, or no file of weights; {remedy}") from error
    for wrapping in ("state_dict", "model"):
        content = content.get(wrapping, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(w, Tensor) for w in content.values()):
        raise UserError(f"{path}: is no state dict of tensors; {remedy}")
    return content


def _without_prefix(weights: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """The weights under the prefix that gives most of the names, without it.

    So the trunk is found within a whole model, whatever that was called.
    """
    prefixes = {key.removesuffix(names[0]) for key in weights if key.endswith(names[0])}
    best = max(sorted(prefixes), key=lambda p: sum(p + n in weights for n in names), default="")
    return {key.removeprefix(best): w for key, w in weights.items() if key.startswith(best)}


def _surplus(backbone: nn.Module, unexpected: list[str]) -> list[str]:
    """Weights that lie within the backbone's parts, without being its classifier's."""
    parts = {name.partition(".")[0] for name in backbone.state_dict()}
    published = getattr(backbone, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = (published,) if isinstance(published, str) else tuple(published)
    known = tuple(f"{name}." for name in (*CLASSIFIERS, *classifiers))
    return [n for n in unexpected if n.partition(".")[0] in parts and not n.startswith(known)]


def reason_of(error: Exception) -> str:
    """The first sentence of an error that says something; PyTorch's first line is a heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    heading = len(lines) > 1 and lines[0].startswith("Error(s) in loading")
    return lines[heading].split(". ")[0][:200] if lines else type(error).__name__
