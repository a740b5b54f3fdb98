"""Files of an isolation: its networks and all that decides what they find."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from siamese.files import Kind, read_kind, write_tensors
from siamese.isolation import Isolation, IsolationError
from siamese.preprocessing import Preprocessing
from siamese.segmentation import GROUPS, SegmentationConfig, SegmentationNetwork

KIND = Kind(
    "isolation",
    "siamese-isolation-1",
    "datasets.isolation_training",
    "train it with `python -m datasets.isolation_training --folder STREET_PHOTOS --out {path}`, or "
    "mark the garment with --box x1,y1,x2,y2",
    IsolationError,
)
BESIDE = "beside."  # names of the weights of further networks begin so


def save_isolation(isolation: Isolation, path: str | Path) -> None:
    """Write networks and card whole or not at all.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    card = {
        "groups": GROUPS,
        **_description(isolation),
        "trained_on": isolation.trained_on,
        "figures": isolation.figures,
        "beside": [_description(other) for other in isolation.beside],
        "scales": isolation.scales,
    }
    weights = {
        prefix + name: weight.detach().contiguous()
        for prefix, each in zip(
            _prefixes(len(isolation.beside)), (isolation, *isolation.beside), strict=True
        )
        for name, weight in each.network.state_dict().items()
    }
    write_tensors(path, weights, KIND.form, card)


def load_isolation(path: str | Path) -> Isolation:
    """Read what `save_isolation` wrote; no code in the file is run.

    Raises:
        IsolationError: Missing, damaged, or not of this version.
    """
    return read_kind(path, KIND, _assemble)


def _assemble(card: dict[str, Any], weights: dict[str, Tensor]) -> Isolation:
    """What a card and weights describe; any built-in error if they do not fit."""
    if tuple(card["groups"]) != GROUPS:
        raise ValueError(f"its groups are {card['groups']}, not {GROUPS}")
    beside = card.get("beside", [])  # older files hold one network
    known = [
        _described(description, _below(prefix, weights))
        for prefix, description in zip(_prefixes(len(beside)), (card, *beside), strict=True)
    ]
    return replace(
        known[0],
        trained_on=str(card["trained_on"]),
        figures=dict(card["figures"]),
        beside=known[1:],
        scales=tuple(map(float, card.get("scales", (1.0,)))),
    )


def _prefixes(others: int) -> list[str]:
    """Of the weights' names: none for the first network's."""
    return ["", *(f"{BESIDE}{number}." for number in range(others))]


def _below(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of one network, by their own names."""
    if not prefix:
        return {name: each for name, each in weights.items() if not name.startswith(BESIDE)}
    return {
        name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)
    }


def _description(isolation: Isolation) -> dict[str, Any]:
    """Of one network."""
    return {
        "network": asdict(isolation.network.config),
        "preprocessing": asdict(isolation.preprocessing),
    }


def _described(description: dict[str, Any], weights: dict[str, Tensor]) -> Isolation:
    """What `_description` and weights describe; any built-in error if they do not fit."""
    settings = description["preprocessing"]
    preprocessing = Preprocessing(
        **settings | {name: tuple(settings[name]) for name in ("mean", "std")}
    )
    settings = description["network"]
    network = SegmentationNetwork(SegmentationConfig(**{k: tuple(v) for k, v in settings.items()}))
    network.load_state_dict(weights)
    return Isolation(network, preprocessing)
